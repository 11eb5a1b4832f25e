import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from el_larq.devices.benchmark_log import parse

LOGS = Path(__file__).parents[1] / "data" / "logs"
STATUS = {
    (folder, line.split()[0]): int(re.search(r"rc=(\d+)", line)[1])  # pyright: ignore[reportOptionalSubscript]
    for folder in ("aarch64", "x86_64", "adb")
    for line in (LOGS / folder / "INDEX.txt").read_text().splitlines()
    if "rc=" in line
}
TOOL = [key for key in STATUS if key[0] != "adb" or key[1].startswith("bench")]


def read(folder: str, name: str) -> tuple[str, str]:
    path = LOGS / folder / name
    return tuple(Path(f"{path}.{stream}").read_bytes().decode() for stream in ("stdout", "stderr"))  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize(("folder", "name"), TOOL, ids="-".join)
def test_authentic_logs(folder: str, name: str) -> None:
    stdout, stderr = read(folder, name)
    log = parse(stdout, stderr)
    # -x of adb returns 0 for a failed run.
    assert log.complete == (STATUS[folder, name] == 0 and name != "bench_noshellv2")
    final = re.search(r"Inference \(avg\): (\S+)", stdout)
    assert (log.avg_us is not None) == (final is not None)
    if log.complete:
        assert final is not None
        assert log.avg_us == float(final[1])
        metrics = log.latency_metrics()
        assert {"init_ms", "first_inference_ms", "average_warm_up_ms", "avg_ms", "min_ms", "max_ms", "stddev_ms"} <= set(metrics)
        assert metrics["min_ms"] <= metrics["avg_ms"] <= metrics["max_ms"]
        assert log.misc_metrics()["num_runs"] >= 1
        assert {"init_footprint_kb", "overall_footprint_kb"} <= set(log.memory_metrics())
    else:
        assert log.reason
        assert "\n" not in log.reason


def test_every_field_of_one_log() -> None:
    log = parse(*read("aarch64", "peakmem_t1"))
    assert log.latency_metrics() == pytest.approx(
        {
            "init_ms": 40.203,
            "first_inference_ms": 58.681,
            "average_warm_up_ms": 46.889,
            "avg_ms": 46.4769,
            "min_ms": 44.719,
            "max_ms": 57.391,
            "stddev_ms": 2.954,
        }
    )
    assert log.memory_metrics() == pytest.approx(
        {"init_footprint_kb": 2.66797 * 1024, "overall_footprint_kb": 7.30078 * 1024, "peak_mem_mb": 25.0664}
    )
    assert log.misc_metrics() == {"model_size_mb": 0.044048, "num_runs": 22, "num_warmup_runs": 11}


OLD = """STARTING!
Loaded model quicknet.tflite
The input model file size (MB): 4.80795
Initialized session in 5.373ms.
Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
count=3 first=206847 curr=207657 min=174807 max=207657 avg=196437 std=15298

Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
count=50 first=205194 curr=196761 min=195713 max=205852 avg=198612 std=2465

Inference timings in us: Init: 5373, First inference: 206847, Warmup (avg): 196437, Inference (avg): 198612
Peak memory footprint (MB): init=1.47266 overall=30.4531
"""
NEW = OLD.replace("std=2465", "std=2465 p5=195900 median=198500 p95=201000").replace("\nI", "\nINFO: I")
OLDEST = OLD.replace(
    "Inference timings in us: Init: 5373, First inference: 206847, Warmup (avg): 196437, Inference (avg): 198612",
    "Average inference timings in us: Warmup: 196437, Init: 5373, no stats: 198612",
)
BLOCK = """STARTING!
INFO: count=3 first=206847 curr=207657 min=174807 max=207657 avg=196437 std=15298 p5=1 median=2 p95=3
INFO: count=50 first=205194 curr=196761 min=195713 max=205852 avg=198612 std=2465 p5=195900 median=198500 p95=201000

INFO: [litert/tools/x.cc:1] ========== BENCHMARK RESULTS ==========
INFO: [litert/tools/x.cc:1] Model initialization: 5.37 ms
INFO: [litert/tools/x.cc:1] Warmup (first):       206.85 ms
INFO: [litert/tools/x.cc:1] Warmup (avg):         196.44 ms (3 runs)
INFO: [litert/tools/x.cc:1] Inference (avg):      198.61 ms (50 runs)
INFO: [litert/tools/x.cc:1] Inference (min):      195.71 ms
INFO: [litert/tools/x.cc:1] Inference (max):      205.85 ms
INFO: [litert/tools/x.cc:1] Inference (std):      2465.00
INFO: [litert/tools/x.cc:1] Overall footprint:    30.45 MB
"""
LOGCAT = "".join(f"10:04:31.319  2638-2638  tflite  org.tensorflow.lite.benchmark  I  {x}\n" for x in OLD.splitlines() if x)


@pytest.mark.parametrize("text", [OLD, NEW, OLDEST, BLOCK, LOGCAT, OLD.replace("\n", "\r\n"), OLD.replace("\n", "\r\r\n")])
def test_older_and_newer_formats(text: str) -> None:
    log = parse(text)
    assert log.complete, log.reason
    metrics = log.latency_metrics()
    assert metrics["avg_ms"] == pytest.approx(198.612)
    assert metrics["init_ms"] == pytest.approx(5.373, abs=0.01)
    assert metrics["first_inference_ms"] == pytest.approx(206.847, abs=0.01)
    assert metrics["average_warm_up_ms"] == pytest.approx(196.437, abs=0.01)
    assert metrics["min_ms"] == pytest.approx(195.713)
    assert metrics["stddev_ms"] == pytest.approx(2.465)
    assert log.memory_metrics()["overall_footprint_kb"] == pytest.approx(30.4531 * 1024, rel=1e-3)
    assert ("median_ms" in metrics) == ("median=198500" in text)
    assert log.misc_metrics()["num_runs"] == 50


def _log(runs: list[int], warmup: list[int], *, final: str | None = None) -> str:
    def line(values: list[int]) -> str:
        if len(values) == 1:
            return f"count=1 curr={values[0]}"
        if len(set(values)) == 1:
            return f"count={len(values)} curr={values[0]}(all same)"
        mean = sum(values) / len(values)
        std = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))
        return (
            f"count={len(values)} first={values[0]} curr={values[-1]} min={min(values)} max={max(values)} "
            f"avg={mean:g} std={int(std)}"
        )

    mean, first = sum(runs) / len(runs), warmup[0]
    end = f"Init: 1, First inference: {first}, Warmup (avg): {sum(warmup) / len(warmup):g}, Inference (avg): {mean:g}"
    return f"{line(warmup)}\n\n{line(runs)}\n\nInference timings in us: {final or end}\n"


TIMES = st.lists(st.integers(1, 10**9), min_size=1, max_size=5)


@given(TIMES, TIMES, st.sampled_from(["", "INFO: ", "I/tflite (123): "]), st.sampled_from(["\n", "\r\n"]))
def test_any_times_come_back(runs: list[int], warmup: list[int], prefix: str, end: str) -> None:
    text = "".join(prefix + line + end for line in _log(runs, warmup).splitlines())
    log = parse(text)
    assert log.complete, log.reason
    metrics = log.latency_metrics()
    assert metrics["avg_ms"] == pytest.approx(sum(runs) / len(runs) / 1e3, rel=1e-5)
    assert metrics["min_ms"] == pytest.approx(min(runs) / 1e3)
    assert metrics["max_ms"] == pytest.approx(max(runs) / 1e3)
    assert log.misc_metrics()["num_runs"] == len(runs)
    assert metrics["first_inference_ms"] == pytest.approx(warmup[0] / 1e3)


@given(st.sampled_from([key for key in TOOL if STATUS[key] == 0]), st.floats(0, 1))
def test_a_log_cut_before_the_end_of_its_final_line_never_counts(key: tuple[str, str], where: float) -> None:
    stdout, stderr = read(*key)
    found = re.search(r"Inference timings in us: .*?\n", stdout)
    if found is None:
        return
    assert not parse(stdout[: int(where * (found.end() - 1))], stderr).complete
    assert not parse(stdout[: found.end() - 1], stderr).complete
    assert parse(stdout[: found.end()], stderr).complete


@given(st.text(max_size=300), st.text(max_size=100))
def test_nothing_raises(stdout: str, stderr: str) -> None:
    assert parse(stdout, stderr).complete or parse(stdout, stderr).reason


@given(st.sampled_from(TOOL), st.integers(0, 5000), st.binary(min_size=1, max_size=20))
def test_damage_never_raises_and_never_invents(key: tuple[str, str], at: int, damage: bytes) -> None:
    stdout, stderr = read(*key)
    content = stdout.encode()
    changed = (content[:at] + damage + content[at + len(damage) :]).decode(errors="replace")
    log = parse(changed, stderr)
    if log.complete:
        assert log.avg_us is not None
        assert log.avg_us > 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "ends before the final timings line"),
        (_log([5, 7], [9]).replace("Inference (avg): 6\n", "Inference (avg): 60\n"), "contradicts"),
        (_log([5, 7], [9]).replace("(avg): 6\n", "(avg): nan\n"), "nan"),
        (
            "count=0\ncount=0\nInference timings in us: Init: 5, First inference: 0, Warmup (avg): 0, Inference (avg): 0\n",
            "count=0",
        ),
        (_log([5, 7], [9]) + "ERROR: Benchmarking failed.\n", "failed"),
    ],
)
def test_runs_that_do_not_count(text: str, reason: str) -> None:
    log = parse(text)
    assert not log.complete
    assert reason in log.reason


def test_the_profile_s_statistics_are_not_the_run_s() -> None:
    log = parse(*read("aarch64", "profile_noxnn_binpool"))
    assert log.regular is not None
    assert (log.regular.count, log.regular.avg) == (85, 11681.5)


def test_the_last_of_several_runs_counts() -> None:
    first, second = read("aarch64", "plain_t1")[0], read("aarch64", "plain_int8")[0]
    assert parse(first + second).avg_us == parse(second).avg_us
    assert not parse(first + second[:600]).complete


def test_warnings_are_kept() -> None:
    assert parse(*read("aarch64", "unknown_flag")).warnings == ("Unconsumed cmdline flags: --no_such_flag=1",)
