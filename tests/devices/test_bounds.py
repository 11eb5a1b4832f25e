"""Programs that print endlessly or leave processes behind: memory stays limited, the processes are ended, the error is one line."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
import stand_in
from peak_memory import measured
from servers import Far
from test_far import arguments, benchmark, config, refused, started

from el_larq.devices import benchmark_log, process, profile_log, supervisor, workspace
from el_larq.devices.local_shell import LocalTarget
from el_larq.devices.process import TimeOutError, TooMuchOutputError
from el_larq.devices.targets import open_target
from el_larq.devices.workspace import RemoteWorkspace
from el_larq.errors import ElLarqError

# The memory of el-larq that prints one line is some 40 MiB; a second of such output is hundreds.
PEAK_MIB = 200
ENDLESS = "yes 'more output of a benchmark binary'"
# Away from its process group and its session, and with no stream of the run open. Its name shows in the list of processes.
DETACHED = 'setsid sh -c "sleep 600; : $0" "$(pwd)/sleep-long" > /dev/null 2>&1 &\n'
FORGETFUL = DETACHED.replace("setsid", 'env -i "PATH=$PATH" setsid')


def _on_every_target(*fast: str) -> pytest.MarkDecorator:
    """Run a test on each kind of target: those in ``fast`` in every test run, the others with the slow tests."""
    kinds = [pytest.param(kind, marks=() if kind in fast else pytest.mark.slow) for kind in ("local", "ssh", "android")]
    return pytest.mark.parametrize("anywhere", kinds, indirect=True)


@pytest.fixture
def anywhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Far:
    """A device, or this machine as a target."""
    if request.param == "local":
        place = tmp_path / "device"
        place.mkdir()
        return Far("local", "local", str(place), ["--folder", str(place)])
    found: Far = request.getfixturevalue(f"{request.param}_far")
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    return found


# --- What is printed ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in other units elsewhere")
@_on_every_target("local")
@pytest.mark.parametrize(
    "before",
    [
        ENDLESS,
        pytest.param(f"{ENDLESS} >&2", marks=pytest.mark.slow),
        pytest.param("tr '\\0' x < /dev/zero", marks=pytest.mark.slow, id="a line without end"),
        pytest.param(f"{DETACHED}trap '' TERM; {ENDLESS}", marks=pytest.mark.slow, id="detached"),
    ],
)
def test_output_without_end_is_bounded(anywhere: Far, before: str, tmp_path: Path, data_folder: Path) -> None:
    engine = stand_in.write(tmp_path / "engine.sh", before=before)
    more = ("-o", tmp_path / "results", data_folder / "t1.tflite", "--binary", engine)
    done, peak = measured(arguments(anywhere, *more))
    refused(done, "the benchmark printed more than 1 MiB and was stopped; check that it is a benchmark binary")
    assert peak < PEAK_MIB << 20
    anywhere.wait_until_clean(1)
    assert not (tmp_path / "results").exists()


def test_output_without_end_of_the_first_question_is_bounded(tmp_path: Path, data_folder: Path) -> None:
    engine = tmp_path / "engine.sh"
    engine.write_text(f"#!/bin/sh\n{ENDLESS}\n")
    far = Far("local", "local", str(tmp_path), ["--folder", str(tmp_path)])
    refused(benchmark(far, tmp_path, data_folder / "t1.tflite", "--binary", engine), "printed more than 1 MiB")
    far.wait_until_clean(1)


@pytest.mark.parametrize("stream", ["", " >&2"])
def test_what_a_program_prints_is_kept_up_to_the_limit(stream: str) -> None:
    def run(size: int) -> process.Completed:
        return process.run(["sh", "-c", f"head -c {size} /dev/zero | tr '\\0' x{stream}"], timeout=60, limit=100_000)

    done = run(100_000)
    assert done.stdout + done.stderr == "x" * 100_000
    with pytest.raises(TooMuchOutputError, match="sh printed more than 100,000 bytes"):
        run(100_001)


def test_a_small_script_is_bounded_too() -> None:
    with pytest.raises(TooMuchOutputError):
        LocalTarget().execute(ENDLESS)


def test_input_and_output_of_any_size_go_at_the_same_time() -> None:
    content = bytes(range(256)) * 1000
    assert process.run_bytes(["cat"], timeout=60, stdin=content).stdout == content
    # One that does not read is not an error here; its status says what it was.
    assert process.run_bytes(["sh", "-c", "exit 3"], timeout=60, stdin=bytes(1 << 20)).returncode == 3


def test_a_program_that_is_ended_takes_its_group_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the binary ignores --help and its child keeps the output open."""
    monkeypatch.setattr(process, "_GRACE_SECONDS", 0.1)
    mark = tmp_path / "mark"
    script = f"trap '' TERM; sh -c 'echo $$ > {mark}; trap \"\" TERM; while :; do sleep 1; done'"
    with pytest.raises(TimeOutError, match="sh did not end within 1 seconds"):
        process.run(["sh", "-c", script], timeout=1)
    child = int(mark.read_text())
    for _ in range(100):
        if not _runs(child):
            return
        time.sleep(0.1)
    pytest.fail("the child runs on")


def _runs(number: int) -> bool:
    """Whether a process has not ended. A zombie has ended."""
    try:
        return Path(f"/proc/{number}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


class _Printing(LocalTarget):
    """A device that prints something other than what the watchdog prints."""

    supervisor = ()

    def __init__(self, script: str):
        self.script = script

    def command(self, source: str, *, watchdog: bool = False) -> list[str]:
        return super().command(self.script if watchdog else source)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in other units elsewhere")
@pytest.mark.parametrize(
    "script", ["exec tr '\\0' x < /dev/zero", pytest.param("exec yes folder /nowhere", marks=pytest.mark.slow)]
)
def test_what_a_watchdog_prints_is_bounded(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.setattr(workspace, "COMMAND_TIMEOUT", 0.5)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ElLarqError), RemoteWorkspace(_Printing(script)):
        pass
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < PEAK_MIB * 1024


@pytest.mark.parametrize(
    "line",
    [
        "\r" * 500_000 + "x",
        "=" * 500_000 + " x",
        "===== x" * 100_000,
        "Profiling Info for " + " " * 500_000 + "x",
        "count=1 " + "x" * 500_000,
        "Inference timings in us: Init: " + "1" * 500_000 + "x",
        "#threads used for CPU inference: [" + "1" * 500_000 + "]",
        "ERROR: " * 100_000,
    ],
    ids=lambda line: line[:20].strip(),
)
def test_a_long_line_is_read_in_linear_time(line: str) -> None:
    """With a parser that takes quadratic time, this test would not end."""
    text = f"{line}\nSTARTING!\n{line}\n"
    assert not benchmark_log.parse(text, text).complete
    assert profile_log.parse(f"===== Run Order =====\n\t[node type]\t[avg ms]\t[name]\n{text}") == []


# --- What is started ------------------------------------------------------------------------------------------------------


@_on_every_target("ssh", "android")
def test_a_process_that_leaves_its_session_is_ended(anywhere: Far, tmp_path: Path, data_folder: Path) -> None:
    engine = stand_in.write(tmp_path / "engine.sh", before=DETACHED)
    done = benchmark(anywhere, tmp_path, data_folder / "t1.tflite", "--binary", engine, "--repeat", "1")
    assert done.returncode == 0, done.stderr
    anywhere.wait_until_clean(1)


@_on_every_target("local")
@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGKILL])
def test_it_is_ended_too_when_el_larq_is(anywhere: Far, number: int, tmp_path: Path, data_folder: Path) -> None:
    engine = stand_in.write(tmp_path / "engine.sh", before=f"{DETACHED}sleep 600")
    with started(anywhere, tmp_path, data_folder / "t1.tflite", "--binary", engine) as running:
        running.send_signal(number)
        running.wait()
        anywhere.wait_until_clean()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt orphans")
@pytest.mark.parametrize(
    "end", ["", pytest.param("sleep 600", marks=pytest.mark.slow), pytest.param(ENDLESS, marks=pytest.mark.slow)]
)
def test_on_this_machine_nothing_escapes(end: str, tmp_path: Path, data_folder: Path) -> None:
    """Not even a process that has discarded its environment."""
    far = Far("local", "local", str(tmp_path), ["--folder", str(tmp_path)])
    engine = stand_in.write(tmp_path / "engine.sh", before=FORGETFUL + end)
    benchmark(far, tmp_path, data_folder / "t1.tflite", "--binary", engine, "--repeat", "1", "--timeout", "2")
    far.wait_until_clean(1)


def _without_killing(script: str) -> str:
    """The script with one search for processes, and without ending them."""
    for code, other in (("for round in 1 2 3 4 5;", "for round in 1;"), ("kill -9 $found", ":")):
        assert code in script
        script = script.replace(code, other)
    return script


@_on_every_target("ssh")
def test_what_cannot_be_ended_is_named(anywhere: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for script in ("_WATCHDOG", "_RUN", "_KILL"):
        monkeypatch.setattr(workspace, script, _without_killing(getattr(workspace, script)))
    said: list[str] = []
    target = open_target(anywhere.target, ssh_config=config(anywhere))
    monkeypatch.setattr(type(target), "supervisor", ())
    with RemoteWorkspace(target, anywhere.folder, said.append) as work:
        work.run(["sh", "-c", "setsid sleep 20 > /dev/null 2>&1 &"], timeout=30)
        pattern = "cannot be ended"
    assert len(said) == 1
    assert said[0].startswith(f"warning: {anywhere.target}: the benchmark left a process that {pattern}: ")
    number, name = said[0].partition(f"{pattern}: ")[2].split(";")[0].split()
    assert name == "sleep"
    open_target(anywhere.target, ssh_config=config(anywhere)).execute('kill -9 "$1"', number)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt orphans")
def test_what_the_supervisor_cannot_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(supervisor.__file__).parent)!r})\n"
        "import supervisor\nkill, supervisor._SECONDS_TO_END = supervisor.os.kill, 0.1\n"
        "supervisor.os.kill = lambda *_: None\nsupervisor.main(sys.argv[1:])\n"
    )
    said: list[str] = []
    monkeypatch.setattr(LocalTarget, "supervisor", (sys.executable, "-c", code))
    monkeypatch.setattr(workspace, "_RUN", _without_killing(workspace._RUN))
    with RemoteWorkspace(LocalTarget(), str(tmp_path), said.append) as work:
        done = work.run(["sh", "-c", "env -i sleep 20 > /dev/null 2>&1 & echo said >&2; exit 5"], timeout=30)
    assert (done.status, done.stderr) == (5, "said\n")
    assert len(said) == 1
    number, name = said[0].partition("cannot be ended: ")[2].split(";")[0].split()
    assert name == "sleep"
    os.kill(int(number), signal.SIGKILL)
