"""Measurements on a device over real ssh and real adb. On the device, a script replays authentic logs of the benchmark binary."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import stand_in
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers import Far

from el_larq.devices.targets import open_target
from el_larq.devices.workspace import RemoteWorkspace

PROGRAM = Path(sys.executable).parent / "el-larq"


def arguments(far: Far, *more: object) -> list[str]:
    return [str(PROGRAM), "benchmark", "--target", far.target, *far.options, *map(str, more)]


def benchmark(far: Far, folder: Path, *more: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    command = arguments(far, "-o", folder / "results", *more)
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def refused(done: subprocess.CompletedProcess[str], pattern: str) -> None:
    """Check that a command failed with a one-line error."""
    assert done.returncode == 1, done.stdout + done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("el-larq: ")]
    assert len(said) == 1, done.stderr
    assert re.search(pattern, said[0]), said[0]
    assert "Traceback" not in done.stderr


@contextlib.contextmanager
def started(far: Far, folder: Path, *more: object) -> Iterator[subprocess.Popen[str]]:
    """A benchmark in the background; returns when its binary runs on the device."""
    command = arguments(far, "-o", folder / "results", *more)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not any("sleep-long" in line for line in far.running()):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


# Its name shows in the list of processes, and the second process of the group too must go.
HANG = 'sh -c "sleep 600; : $0" "$(pwd)/sleep-long"'


def test_models_are_measured_and_nothing_stays(far: Far, tmp_path: Path, data_folder: Path) -> None:
    engine = stand_in.write(tmp_path / "engine.sh")
    t1, bin4 = data_folder / "t1.tflite", data_folder / "bin4.tflite"
    more = ("--binary", engine, "--threads", "1,2", "--repeat", "2", "--profile", "--json")
    done = benchmark(far, tmp_path, t1, bin4, *more)
    assert done.returncode == 0, done.stderr
    far.wait_until_clean(1)
    answer = json.loads(done.stdout)
    assert answer["device"]["machine"] == os.uname().machine
    assert [(row["model"], row["threads"], row["repeats"]) for row in answer["comparison"]] == [
        (str(path), threads, 2) for threads in (1, 2) for path in (t1, bin4)
    ]
    first = answer["comparison"][0]
    assert first["latency_ms"] == pytest.approx(46.6208)
    assert (first["ratio"], first["within_noise"]) == (1.0, None)
    assert answer["comparison"][1]["within_noise"] is True
    records = answer["records"]
    plain = [record for record in records if not record["runtime"]["profile"]]
    order = [(r["runtime"]["num_threads"], r["runtime"]["repeat"], r["model"]["name"]) for r in plain]
    assert order == [(t, r, n) for t in (1, 2) for r in (0, 1) for n in ("t1.tflite", "bin4.tflite")]
    assert records[0]["latency_metrics"]["avg_ms"] == pytest.approx(46.6208)
    assert records[0]["engine"]["copy_checked_by"] == "sha256"
    profiled = next(record for record in records if record["runtime"]["profile"])
    assert "--use_xnnpack=false" in profiled["command"]
    assert len(profiled["layers"]) == 28
    assert sum(layer["share"] for layer in profiled["layers"]) == pytest.approx(1)
    # One file per run, with the unchanged raw logs next to it.
    files = [json.loads(Path(path).read_text()) for path in answer["results"]]
    assert len(files) == len(records) == 10
    raw = Path(answer["results"][0]).with_suffix(".stdout.txt").read_text()
    assert raw == (data_folder / "logs/aarch64/plain_t1.stdout").read_text()


@pytest.mark.slow
def test_a_table_is_printed(far: Far, tmp_path: Path, data_folder: Path) -> None:
    engine = stand_in.write(tmp_path / "engine.sh")
    done = benchmark(far, tmp_path, data_folder / "t1.tflite", "--binary", engine, "--repeat", "1")
    assert done.returncode == 0, done.stderr
    assert "46.621" in done.stdout
    assert "baseline" in done.stdout


@pytest.mark.parametrize(
    ("log", "pattern"),
    [
        pytest.param("aarch64/bad_garbage", "not a .tflite, or a damaged one", marks=pytest.mark.slow),
        ("aarch64/unsupported_custom", "does not support the operator MatrixInverse"),
        pytest.param("aarch64/unsupported_flex", r"TensorFlow \(flex\) operators", marks=pytest.mark.slow),
    ],
)
def test_a_model_that_the_engine_refuses(far: Far, tmp_path: Path, data_folder: Path, log: str, pattern: str) -> None:
    engine = stand_in.write(tmp_path / "engine.sh", plain=log, status=1)
    refused(benchmark(far, tmp_path, data_folder / "t1.tflite", "--binary", engine), pattern)
    far.wait_until_clean(1)
    assert not (tmp_path / "results").exists()


def test_an_incomplete_log_with_status_0_is_not_a_success(far: Far, tmp_path: Path, data_folder: Path) -> None:
    engine = stand_in.write(tmp_path / "engine.sh", plain="adb/daemon_killed")
    refused(benchmark(far, tmp_path, data_folder / "t1.tflite", "--binary", engine), "ends before the final timings line")
    far.wait_until_clean(1)


@pytest.mark.slow
def test_a_crash_is_named(far: Far, tmp_path: Path, data_folder: Path) -> None:
    engine = stand_in.write(tmp_path / "engine.sh", plain="adb/daemon_killed", before="kill -SEGV $$")
    refused(benchmark(far, tmp_path, data_folder / "t1.tflite", "--binary", engine), "crashed.*SIGSEGV")


def test_a_hang_is_ended(far: Far, tmp_path: Path, data_folder: Path) -> None:
    engine = stand_in.write(tmp_path / "engine.sh", before=HANG)
    done = benchmark(far, tmp_path, data_folder / "t1.tflite", "--binary", engine, "--timeout", "2")
    refused(done, "did not end within 2 seconds and was stopped")
    far.wait_until_clean(1)


def test_a_binary_for_another_processor(far: Far, tmp_path: Path, data_folder: Path) -> None:
    content = bytearray(64)
    content[:6] = b"\x7fELF\x02\x01"
    content[18:20] = (0xB7 if os.uname().machine == "x86_64" else 0x3E).to_bytes(2, "little")
    binary = tmp_path / "lce_benchmark_model"
    binary.write_bytes(bytes(content))
    refused(benchmark(far, tmp_path, data_folder / "t1.tflite", "--binary", binary), "cannot run on")
    far.wait_until_clean(1)


def test_a_full_disk(far: Far, tmp_path: Path, data_folder: Path) -> None:
    engine = stand_in.write(tmp_path / "engine.sh")
    filler = Path(f"{far.root}{far.folder}/filler")
    if far.kind == "ssh":
        disk = Path(far.folder) / "small"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "none", disk], check=False).returncode:
            pytest.skip("no small disk can be mounted here")
        more = ("--folder", disk)
    else:
        disk, more = None, ()
        with contextlib.suppress(OSError):
            filler.write_bytes(bytes(16 * 2**20 - 150_000))
    try:
        done = benchmark(far, tmp_path, data_folder / "bin4.tflite", "--binary", engine, *more)
        refused(done, "no space left")
        far.wait_until_clean(1)
    finally:
        if disk is not None:
            subprocess.run(["umount", disk], check=True)
            disk.rmdir()
        else:
            filler.unlink()


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow), pytest.param(signal.SIGHUP, marks=pytest.mark.slow)],
)
def test_an_interruption_leaves_nothing(far: Far, tmp_path: Path, data_folder: Path, number: int) -> None:
    engine = stand_in.write(tmp_path / "engine.sh", before=HANG)
    with started(far, tmp_path, data_folder / "t1.tflite", "--binary", engine) as process:
        process.send_signal(number)
        _stdout, stderr = process.communicate(timeout=30)
        assert process.returncode == 130
        assert stderr.splitlines()[-1] == "el-larq: interrupted"
        far.wait_until_clean(2)


def test_el_larq_itself_is_killed(far: Far, tmp_path: Path, data_folder: Path) -> None:
    engine = stand_in.write(tmp_path / "engine.sh", before=HANG)
    with started(far, tmp_path, data_folder / "t1.tflite", "--binary", engine) as process:
        process.kill()
        process.wait()
        far.wait_until_clean()


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30) | st.sampled_from(
    [
        "-rf",
        "--",
        "$(touch pwned)",
        "`id`",
        "a b",
        "it's",
        'say "no"',
        "line\nbreak",
        "\\",
        "$HOME",
        "*",
        "!!",
        "%s",
        "~",
        "\\0101",
        "-n",
        "",
    ]
)


def test_arguments_reach_the_device_as_data(far: Far) -> None:
    with RemoteWorkspace(open_target(far.target, ssh_config=config(far)), far.folder) as folder:

        @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(st.lists(NAMES, min_size=1, max_size=4))
        def check(words: list[str]) -> None:
            done = folder.target.execute("""for word; do printf '%s\\0' "$word"; done""", *words)
            assert done.stdout.split("\0")[:-1] == words

        check()
    far.wait_until_clean(1)


@pytest.mark.parametrize(
    "name",
    [
        'it\'s a "$(touch pwned)"\n-x:y ü*.tflite',
        "-rf.tflite",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("a b.tflite", "$(touch pwned).tflite", "c:d.tflite", "`id`.tflite")
        ),
    ],
)
def test_files_of_any_name_are_measured(far: Far, tmp_path: Path, data_folder: Path, name: str) -> None:
    engine = stand_in.write(tmp_path / f"-engine {name}")
    model = tmp_path / name
    model.write_bytes((data_folder / "t1.tflite").read_bytes())
    command = [*arguments(far, "-o", tmp_path / "results", "--repeat", "1", "--json", "--binary", engine, "--"), model.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["records"][0]["model"]["name"] == name
    assert not list(tmp_path.rglob("pwned"))
    far.wait_until_clean(1)


def config(far: Far) -> Path | None:
    return Path(far.options[far.options.index("--ssh-config") + 1]) if far.kind == "ssh" else None


def test_folders_of_any_name_hold_the_work(far: Far) -> None:
    base = f'{far.folder}/it\'s a "$(touch pwned)" -place'
    target = open_target(far.target, ssh_config=config(far))
    with RemoteWorkspace(target, far.folder) as outer:
        outer.target.execute('mkdir "$1"', base)
        with RemoteWorkspace(open_target(far.target, ssh_config=config(far)), base) as folder:
            assert folder.path.startswith(base)
            assert folder.upload(Path(__file__), "-x y") == "sha256"
        outer.target.execute('rmdir "$1"', base)
