import hashlib
import json
import shutil
import struct
import subprocess
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
        (["fetch", "--sha256", "0" * 64], 2, "--sha256 applies to one file; name its kind"),
        (["install", "none"], 2, "none: no such file; give a benchmark binary of LCE"),
        (["install", "--kind", "aarch46", "none"], 2, "unknown benchmark binary 'aarch46'; did you mean aarch64"),
        (["install", "--tag", "16", "none"], 2, "not a release of LCE"),
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


TOOL = b"\0use_reference_bconv\0LceBconv2d\0num_runs\0"
"""Texts of LCE's benchmark tool."""

AARCH64, ARM, X86_64 = 0xB7, 0x28, 0x3E


def write_program(path: Path, machine: int, bits: int = 64, loader: str = "", texts: bytes = TOOL) -> Path:
    """A header of an ELF file, with one program header, and texts."""
    head = bytearray(256)
    head[:6] = b"\x7fELF" + bytes([2 if bits == 64 else 1, 1])
    struct.pack_into("<H", head, 18, machine)
    kind = 3 if loader else 1
    if bits == 64:
        struct.pack_into("<Q", head, 32, 64)
        struct.pack_into("<HH", head, 54, 56, 1)
        struct.pack_into("<IIQQQQ", head, 64, kind, 0, 150, 0, 0, len(loader) + 1)
    else:
        struct.pack_into("<I", head, 28, 64)
        struct.pack_into("<HH", head, 42, 32, 1)
        struct.pack_into("<IIIII", head, 64, kind, 150, 0, 0, len(loader) + 1)
    head[150 : 150 + len(loader)] = loader.encode()
    path.write_bytes(bytes(head) + texts)
    return path


def test_a_binary_is_installed_from_a_file(el_larq_here: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `benchmark` looks for it; a file with another SHA-256 takes its place only if that is given."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kinds = {"/lib/ld-linux-aarch64.so.1": "aarch64", "/system/bin/linker64": "android_arm64"}
    for number, (loader, kind) in enumerate(kinds.items()):
        file = write_program(tmp_path / f"download{number}", AARCH64, loader=loader)
        done = el_larq_here("engine", "install", file, "--json")
        assert done.returncode == 0, done.stderr
        facts = json.loads(done.stdout)
        expected = tmp_path / "cache" / "el-larq" / "engine" / "v0.16.0" / f"lce_benchmark_model_{kind}"
        assert (facts["kind"], facts["path"]) == (kind, str(expected))
        assert facts["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert facts["checked"].startswith("unknown: LCE publishes no checksums")
        assert expected.read_bytes() == file.read_bytes()
        assert expected.stat().st_mode & 0o100
    again = el_larq_here("engine", "install", tmp_path / "download0")
    assert "as pinned at an earlier download" in again.stdout

    other = write_program(tmp_path / "other", AARCH64, loader="/lib/ld-linux-aarch64.so.1", texts=TOOL + b"of another build")
    installed = tmp_path / "cache" / "el-larq" / "engine" / "v0.16.0" / "lce_benchmark_model_aarch64"
    refused = el_larq_here("engine", "install", other)
    assert refused.returncode == 1
    assert "give the new SHA-256 with --sha256" in refused.stderr
    assert installed.read_bytes() == (tmp_path / "download0").read_bytes()
    given = el_larq_here("engine", "install", other, "--sha256", hashlib.sha256(other.read_bytes()).hexdigest())
    assert "as given with --sha256" in given.stdout
    assert installed.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("program", "arguments", "message"),
    [
        ({"machine": X86_64, "loader": "/lib64/ld-linux-x86-64.so.2"}, [], "is for x86_64 (64 bits); LCE releases binaries for"),
        ({"machine": ARM, "bits": 32, "loader": "/system/bin/linker"}, [], "is for arm (32 bits, Android); LCE releases"),
        ({"machine": AARCH64, "loader": "/lib/ld.so", "texts": b"hello"}, [], "is not LCE's benchmark tool"),
        (
            {"machine": AARCH64, "loader": "/lib/ld.so", "texts": b"num_runs"},
            [],
            "not LCE's benchmark tool: it does not contain LCE's",
        ),
        ({"machine": ARM, "bits": 32}, ["--kind", "aarch64"], "is for 32-bit ARM Linux (Raspberry Pi OS 32-bit), not 64-bit ARM"),
        ({"machine": AARCH64}, [], "may be for Linux or for Android; name it with --kind aarch64 or --kind android_arm64"),
        ({"machine": AARCH64}, ["--kind", "aarch64", "--sha256", "12"], "'12' is not a SHA-256"),
    ],
)
def test_a_file_that_is_not_such_a_binary_is_refused(
    el_larq_here: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: dict[str, Any],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    done = el_larq_here("engine", "install", write_program(tmp_path / "file", **program), *arguments)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert not list((tmp_path / "cache").rglob("lce_benchmark_model*"))


def test_the_page_of_a_failed_download_is_not_installed(el_larq_here: Command, tmp_path: Path) -> None:
    (tmp_path / "lce_benchmark_model_aarch64").write_text("<html>Not Found</html>")
    done = el_larq_here("engine", "install", "lce_benchmark_model_aarch64", cwd=tmp_path)
    assert done.returncode == 1
    assert "is not a program (no ELF header)" in done.stderr


@pytest.mark.skipif(shutil.which("aarch64-linux-gnu-gcc") is None, reason="no cross compiler")
def test_a_compiled_program_is_read(el_larq_here: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The header as a linker writes it, not as this test does."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "tool.c").write_text(
        '#include <stdio.h>\nint main(void) { puts("use_reference_bconv LceBconv2d num_runs"); return 0; }\n'
    )
    subprocess.run(["aarch64-linux-gnu-gcc", "tool.c", "-o", "tool"], cwd=tmp_path, check=True)
    done = el_larq_here("engine", "install", "tool", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "aarch64, 64-bit ARM Linux" in done.stdout


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
