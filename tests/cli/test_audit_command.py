import json
from pathlib import Path
from typing import Any


def test_inspect_audits_any_tflite(el_larq_command: Any, data_folder: Path) -> None:
    done = el_larq_command("inspect", "--audit", "--json", data_folder / "t1.tflite")
    assert done.returncode == 0
    findings = json.loads(done.stdout)["findings"]
    assert all({"rule", "severity", "subject", "reason", "remedy"} <= set(finding) for finding in findings)


def test_only_a_tflite_can_be_audited_so(el_larq_command: Any, tmp_path: Path) -> None:
    model = tmp_path / "model.h5"
    model.write_bytes(b"")
    done = el_larq_command("inspect", "--audit", model)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "convert the model first" in done.stderr
