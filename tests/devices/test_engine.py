import dataclasses
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stand_in

from el_larq.devices import engine
from el_larq.devices.benchmark import BenchmarkPlan, BenchmarkSession, parse_cores
from el_larq.devices.engine_check import build_model, check, judge
from el_larq.devices.latency_comparison import compare_latencies
from el_larq.devices.local_shell import LocalTarget
from el_larq.devices.probe import Device, check_threads, parse
from el_larq.devices.record import Record, read, write
from el_larq.errors import ElLarqError, UsageError
from el_larq.tflite.reader import parse as parse_tflite

PI4 = Device("aarch64", bits=64)
PI4_32 = Device("aarch64", bits=32)
PI3 = Device("armv7l", bits=32)
PHONE = Device("aarch64", bits=64, android="13", abis=("arm64-v8a", "armeabi-v7a"))


@pytest.mark.parametrize(
    ("device", "android", "kind"),
    [(PI4, False, "aarch64"), (PI4_32, False, "aarch32"), (PI3, False, "aarch32"), (PHONE, True, "android_arm64")],
)
def test_the_binary_that_fits(device: Device, android: bool, kind: str) -> None:
    assert engine.choose_asset(device, android=android) == kind
    assert engine.release_asset(kind).address.endswith(f"/v0.16.0/lce_benchmark_model_{kind}")


@pytest.mark.parametrize(
    ("device", "android"),
    [(Device("x86_64", bits=64), False), (Device("armv7l", bits=32, abis=("armeabi-v7a",)), True), (Device("armv6l"), False)],
)
def test_devices_without_a_released_binary(device: Device, android: bool) -> None:
    with pytest.raises(ElLarqError, match=r"not released a benchmark binary.*--binary"):
        engine.choose_asset(device, android=android)


def _elf(path: Path, machine: int, bits: int = 64, loader: str = "") -> Path:
    head = bytearray(256)
    head[:6] = b"\x7fELF" + bytes([2 if bits == 64 else 1, 1])
    struct.pack_into("<H", head, 18, machine)
    name = loader.encode() + b"\0"
    if bits == 64:
        struct.pack_into("<Q", head, 32, 64)
        struct.pack_into("<HH", head, 54, 56, 1)
        struct.pack_into("<I", head, 64, 3 if loader else 1)
        struct.pack_into("<Q", head, 72, 150)
        struct.pack_into("<Q", head, 96, len(name))
    head[150 : 150 + len(name)] = name
    path.write_bytes(bytes(head))
    return path


@pytest.mark.parametrize(
    ("device", "android", "machine", "loader", "refused"),
    [
        (PI4, False, 0xB7, "/lib/ld-linux-aarch64.so.1", ""),
        (PI4_32, False, 0xB7, "", "32-bit userland; el-larq engine fetch aarch32"),
        (PI4, False, 0x3E, "", "is for x86_64"),
        (PI4, False, 0xB7, "/system/bin/linker64", "is for Android"),
        (PHONE, True, 0xB7, "/system/bin/linker64", ""),
        (PHONE, True, 0xB7, "/lib/ld-linux-aarch64.so.1", "is for Linux.*fetch android_arm64"),
        (PHONE, True, 0xB7, "", ""),
        (Device("x86_64", bits=64), False, 0x3E, "", ""),
        (Device("riscv64", bits=64), False, 0xF3, "", ""),
    ],
)
def test_a_binary_that_does_not_fit_is_refused(
    tmp_path: Path, device: Device, android: bool, machine: int, loader: str, refused: str
) -> None:
    path = _elf(tmp_path / "binary", machine, loader=loader)
    assert engine.read_elf(path) is not None
    if refused:
        with pytest.raises(ElLarqError, match=refused):
            engine.check_fits(path, device, android=android)
    else:
        engine.check_fits(path, device, android=android)


def test_a_file_that_is_not_a_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("hello")
    with pytest.raises(UsageError, match="neither an ELF"):
        engine.check_fits(path, PI4, android=False)
    with pytest.raises(UsageError, match="cannot read"):
        engine.check_fits(tmp_path / "none", PI4, android=False)


def test_a_binary_that_was_not_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ElLarqError, match="run el-larq engine fetch aarch64, or give one with --binary"):
        engine.choose_binary(PI4, android=False, binary=None)
    path = engine.cached_path("aarch64")
    path.parent.mkdir(parents=True)
    _elf(path, 0xB7)
    assert engine.choose_binary(PI4, android=False, binary=None) == path


@pytest.mark.parametrize("tag", ["../../x", "v1", "main", "v0.16.0/../x"])
def test_an_invalid_tag_is_refused(tag: str) -> None:
    with pytest.raises(UsageError, match="not a release of LCE"):
        engine.check_tag(tag)


PHONE_PROBE = """machine=aarch64
kernel=Linux 5.10.149
time=1000
elf_class=2
cpus=8
capacity.0=250
max_khz.0=1803000
governor.0=schedutil
capacity.1=250
capacity.4=620
capacity.6=1024
capacity.7=1000
governor.6=schedutil
temp.battery=99000
temp.BIG=41500
temp.LITTLE=39
temp.broken=-273150
mem_kb=2048000
disk_kb=1024
features= fp asimd asimddp
android=13
sdk=33
abis=arm64-v8a,armeabi-v7a
board=Google Pixel 6
taskset=yes
"""


def test_a_phone_s_probe() -> None:
    device = parse(PHONE_PROBE, now=1000 + 86400)
    assert (device.machine, device.bits, device.cpus, device.android, device.android_sdk) == ("aarch64", 64, 8, "13", 33)
    assert device.big_cores == (6, 7)
    assert device.celsius == 41.5
    assert device.governors == ("schedutil",)
    assert (device.mem_available_mb, device.disk_free_mb) == (2000.0, 1.0)
    assert device.board == "Google Pixel 6"
    assert device.taskset
    assert device.clock_offset_s == -86400
    assert any("clock is off by 24 h" in note for note in device.notes)
    assert any("schedutil" in note for note in device.notes)
    assert parse(PHONE_PROBE.replace("\n", "\r\n"), now=1000 + 86400) == device


@pytest.mark.parametrize("text", ["", "machine=\nbits=\n", "nonsense", "time=x\ncpus=many\ntemp.a=hot\ncapacity.x=1\n"])
def test_a_probe_that_tells_nothing(text: str) -> None:
    device = parse(text, 0)
    assert device.machine == "unknown"
    assert device.celsius is None


@pytest.mark.parametrize(("text", "cores"), [("4-7", (4, 5, 6, 7)), ("0,2", (0, 2)), ("3", (3,)), ("1-2,2", (1, 2))])
def test_lists_of_cores(text: str, cores: tuple[int, ...]) -> None:
    assert parse_cores(text) == cores


@pytest.mark.parametrize("text", ["", "a", "4-", "-1", "3-1", "1,,2", "9999"])
def test_an_invalid_list_of_cores_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--cores"):
        parse_cores(text)


def test_pinning(tmp_path: Path, data_folder: Path) -> None:
    script = stand_in.write(tmp_path / "engine.sh")
    plan = BenchmarkPlan((data_folder / "t1.tflite",), binary=script, cores="0", repeat=1)
    with BenchmarkSession(LocalTarget(), plan) as session:
        record, _logs = session.run(session.models[0], 1)
        assert record.command[:2] == ("taskset", "1")
        assert record.runtime["cores"] == [0]
        session.device = dataclasses.replace(session.device, big_cores=(2, 3), cpus=4, taskset=True)
        session.plan = dataclasses.replace(plan, cores="auto")
        assert session._choose_cores(2) == ((2, 3), ["taskset", "c"])
        assert session._choose_cores(4) == ((), [])
    with (
        pytest.raises(UsageError, match="the device has cores 0 to"),
        BenchmarkSession(LocalTarget(), dataclasses.replace(plan, cores="500")) as session,
    ):
        session.run_all(lambda record, logs: None)


def test_an_engine_that_is_not_lce_s(tmp_path: Path, data_folder: Path) -> None:
    script = stand_in.write(tmp_path / "engine.sh")
    script.write_text(script.read_text().replace("--use_reference_bconv", "--use_something"))
    with (
        pytest.raises(ElLarqError, match="not a benchmark binary of LCE"),
        BenchmarkSession(LocalTarget(), BenchmarkPlan((data_folder / "t1.tflite",), binary=script)),
    ):
        pass
    with BenchmarkSession(LocalTarget(), BenchmarkPlan((data_folder / "float.tflite",), binary=script)):
        pass


def test_the_reference_kernel_shows(tmp_path: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("el_larq.devices.benchmark.probe", lambda *_: PI4)
    script = stand_in.write(tmp_path / "engine.sh", profile="aarch64/indirect_t1")
    verdict = check(LocalTarget(), data_folder / "t1.tflite", binary=script, repeat=2)
    assert verdict.kernel == "optimized"
    assert verdict.of == "binary convolutions"
    same = stand_in.write(tmp_path / "same.sh", profile="aarch64/refbconv_t1")
    verdict = check(LocalTarget(), data_folder / "t1.tflite", binary=same, repeat=2)
    assert verdict.kernel == "reference"
    assert "RUY" in verdict.sentence
    with pytest.raises(ElLarqError, match="contains no binary convolution"):
        check(LocalTarget(), data_folder / "float.tflite", binary=script)


def test_verdicts() -> None:
    assert judge([1.0, 1.1], [5.0, 5.1], "aarch64", "x").kernel == "optimized"
    assert judge([1.0, 1.3], [1.2, 1.4], "aarch64", "x").kernel == "reference"
    assert judge([5.0], [2.0], "x86_64", "x").kernel == "none"


@pytest.mark.slow
def test_a_model_to_check_with_is_built(tmp_path: Path) -> None:
    graph = parse_tflite(build_model(tmp_path / "m.tflite").read_bytes())
    assert [operator.name for operator in graph.operators].count("LceBconv2d") == 4


def _record(model: str, latency: float, repeat: int, std: float = 0.0, **runtime: object) -> Record:
    return Record(
        time="2026-01-01T00:00:00.000+00:00",
        target="local",
        model={"path": model, "name": model, "sha256": "0" * 64, "bytes": 1},
        device={},
        engine={},
        runtime={"num_threads": 1, "repeat": repeat} | runtime,
        latency_metrics={"avg_ms": latency, "min_ms": latency, "stddev_ms": std},
        misc_metrics={"num_runs": 100},
    )


def test_differences_within_noise_are_called_so() -> None:
    records = [
        _record(m, ms, r) for r in range(3) for m, ms in (("a", 10 + 0.1 * r), ("b", 10.15 + 0.1 * r), ("c", 12.0 + 0.1 * r))
    ]
    a, b, c = compare_latencies([*records, _record("a", 99, 0, profile=True)])
    assert (a.latency_ms, a.noise_ms, a.ratio, a.within_noise) == (10.1, pytest.approx(0.1), 1.0, None)
    assert b.within_noise is True
    assert c.within_noise is False
    assert c.ratio == pytest.approx(12.1 / 10.1)
    noisy = compare_latencies([_record("a", 10, 0, std=5.0), _record("b", 11, 0, std=5.0)])
    assert noisy[1].within_noise is True
    assert noisy[0].noise_ms == 1.0


def test_a_latency_far_above_the_minimum_is_marked() -> None:
    record = _record("a", 30.2, 0)
    disturbed, quiet = (
        dataclasses.replace(record, latency_metrics=record.latency_metrics | {"min_ms": least}) for least in (10.0, 11.0)
    )
    assert compare_latencies([quiet])[0].marks == ()
    (mark,) = compare_latencies([disturbed])[0].marks
    assert mark.startswith("the latency is 3 times the minimum: other programs used the processor")


def test_more_threads_than_cores_are_refused(data_folder: Path, tmp_path: Path, el_larq_here: Callable[..., Any]) -> None:
    check_threads((1, 4), 4, "armv7l")
    with pytest.raises(UsageError, match=r"--threads 64: armv7l has 4 cores; give at most 4"):
        check_threads((1, 64), 4, "armv7l")
    check_threads((64,), 0, "unknown")
    refused = el_larq_here("benchmark", data_folder / "t1.tflite", "--threads", "4096", "-o", tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "--threads 4096: this machine has" in refused.stderr


def test_results_are_only_ever_added(tmp_path: Path) -> None:
    record = _record("a b/$(x).tflite", 1.5, 0)
    paths = [write(tmp_path / "results", record, {"stdout": f"log {i}\n"}) for i in range(3)]
    assert len(set(paths)) == 3
    for number, path in enumerate(paths):
        assert read(path) == record
        assert path.with_suffix(".stdout.txt").read_text() == f"log {number}\n"
    assert {"latency_metrics", "memory_metrics", "misc_metrics"} <= set(json.loads(paths[0].read_text()))


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"schema": 1, "latency_metrics": {"avg_ms": "x"}}', "null"])
def test_damaged_results_are_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(content)
    with pytest.raises(ElLarqError, match="is not a result of el-larq benchmark"):
        read(path)


@pytest.mark.parametrize(
    ("content", "registered"),
    [
        # A binary with symbols; one without, which has the path that the kernel's checks print; one that only knows the name.
        (b"\x7fELF _ZN6tflite3ops7builtin16Register_RESHAPEEv _ZN6tflite3ops7builtin16Register_BITCASTEv", True),
        (b"\x7fELF tensorflow/lite/kernels/reshape.cc external/org_tensorflow/tensorflow/lite/kernels/bitcast.cc %s:%d", True),
        (b"\x7fELF BITCAST tensorflow/lite/kernels/cast.cc Register_RESHAPE", False),
        (b"#!/bin/sh\nexec ./benchmark", None),
    ],
)
def test_a_binary_with_and_without_bitcast(tmp_path: Path, content: bytes, registered: bool | None) -> None:
    path = tmp_path / "binary"
    path.write_bytes(content)
    assert engine.registers_bitcast(path) == registered
    sentence = dataclasses.replace(judge([1.0], [5.0], "aarch64", "x"), bitcast=registered).about_views
    assert ("--views reshape" in sentence) == (registered is False)
