import hashlib
import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from el_larq.devices import local
from el_larq.devices.measurement import Measurement
from el_larq.devices.targets import TARGETS, check_target
from el_larq.errors import ElLarqError, UsageError


def test_every_model_and_number_of_threads_is_measured(small: Any, data_folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    paths = [small.tflite, data_folder / "t1.tflite"]
    results = local.measure(paths, threads=(1, 2), runs=4, warmup=1, notify=lambda done, total: seen.append((done, total)))
    assert [(result.model, result.threads) for result in results] == [(str(p), t) for t in (1, 2) for p in paths]
    for result in results:
        assert result.sha256 == hashlib.sha256(Path(result.model).read_bytes()).hexdigest()
        assert result.target == "local"
        assert result.warmup == 1
        assert len(result.latencies_ms) == 4
        assert all(latency > 0 for latency in result.latencies_ms)
    assert seen == [(done, 20) for done in range(1, 21)]


def test_an_int8_model_is_measured(data_folder: Path) -> None:
    (result,) = local.measure([data_folder / "int8.tflite"], runs=2, warmup=0)
    assert len(result.latencies_ms) == 2


def test_models_are_interleaved_run_by_run(monkeypatch: pytest.MonkeyPatch, data_folder: Path) -> None:
    order: list[str] = []
    run = local.Interpreter.run
    monkeypatch.setattr(local.Interpreter, "run", lambda self, x: (order.append(Path(self.source).stem), run(self, x))[1])
    local.measure([data_folder / "t1.tflite", data_folder / "binpool.tflite"], runs=3, warmup=1)
    assert order == ["t1", "binpool"] * 4


@pytest.mark.parametrize("content", [None, b"", b"text\n"])
def test_a_bad_file_is_named_before_anything_is_measured(data_folder: Path, tmp_path: Path, content: bytes | None) -> None:
    bad = tmp_path / "bad.tflite"
    if content is not None:
        bad.write_bytes(content)
    seen: list[int] = []
    with pytest.raises(ElLarqError, match=r"bad\.tflite"):
        local.measure([data_folder / "t1.tflite", bad], notify=lambda done, total: seen.append(done))
    assert seen == []


def _measurement(*latencies: float) -> Measurement:
    return Measurement("m.tflite", "0" * 64, "local", 1, "indirect, XNNPACK", 5, latencies)


def test_figures_of_a_measurement() -> None:
    result = _measurement(4.0, 1.0, 3.0, 2.0, 100.0)
    assert result.median_ms == 3.0
    assert result.iqr_ms == 2.0
    fields = json.loads(json.dumps(result.to_dict()))
    assert fields["latencies_ms"] == [4.0, 1.0, 3.0, 2.0, 100.0]
    assert (fields["min_ms"], fields["max_ms"], fields["num_runs"]) == (1.0, 100.0, 5)
    assert fields["avg_ms"] == pytest.approx(statistics.fmean(result.latencies_ms))


def test_a_single_run_has_no_spread() -> None:
    assert _measurement(2.0).iqr_ms == 0.0
    assert _measurement(2.0).median_ms == 2.0


@pytest.mark.parametrize(("machine", "warns"), [("x86_64", True), ("AMD64", True), ("aarch64", False), ("arm64", False)])
def test_numbers_of_a_pc_come_with_their_caveat(monkeypatch: pytest.MonkeyPatch, machine: str, warns: bool) -> None:
    monkeypatch.setattr(local.platform, "machine", lambda: machine)
    assert ("x86 latency is not ARM latency" in local.caveat()) == warns


def test_an_unknown_target_offers_the_nearest() -> None:
    assert check_target("local") == "local"
    assert TARGETS
    with pytest.raises(UsageError, match="did you mean local"):
        check_target("locale")
