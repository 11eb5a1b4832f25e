import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["fetch", "aarch46"], 2, "unknown benchmark binary 'aarch46'; did you mean aarch64"),
        (["fetch", "--tag", "../x", "aarch64"], 2, "not a release of LCE"),
        (["fetch", "--sha256", "0" * 64], 2, "--sha256 and --from-file apply to one file"),
        (["check", "nowhere"], 2, "unknown target 'nowhere'"),
        (["check", "ssh://a b"], 2, "not a valid host name"),
    ],
)
def test_wrong_uses(el_larq_command: Command, arguments: list[str], status: int, message: str) -> None:
    done = el_larq_command("engine", *arguments)
    assert done.returncode == status
    assert message in done.stderr.splitlines()[-1]


def test_a_profile_needs_the_benchmark_binary(el_larq_command: Command, data_folder: Path, tmp_path: Path) -> None:
    done = el_larq_command("benchmark", data_folder / "t1.tflite", "--profile", cwd=tmp_path)
    assert done.returncode == 2
    assert "--profile needs a benchmark binary" in done.stderr


@pytest.mark.slow
def test_a_baseline_is_built_and_marked(el_larq_command: Command, data_folder: Path, tmp_path: Path) -> None:
    done = el_larq_command(
        "benchmark",
        data_folder / "float.tflite",
        "--against",
        "int8-mobilenetv2",
        "--runs",
        "3",
        "--json",
        cwd=tmp_path,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    baseline = json.loads(Path(tmp_path / json.loads(done.stdout)["results"][1]).read_text())
    assert "random weights" in baseline["marks"][0]
    assert baseline["model"]["name"].startswith("int8-mobilenetv2-32x32x3-")
