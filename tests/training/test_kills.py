"""SIGKILL at random moments of real processes that run the real `train` and `resume`.

Each process is forked from one that has imported everything and run no operation, so that a start costs a second and not eight.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

KILLS = 25

# Forks for each line of its input, "OUT MILLISECONDS FILE": trains or resumes in a child, kills it after that time (-1: never), or
# when half of a file is written ("2:NAME" for the second time, - for none), and answers "killed" or the exit status.
SERVER = """
import el_larq
import os, signal, sys, time
import tensorflow, tf_keras, larq, h5py, sklearn.datasets
from pathlib import Path
import el_larq.training.train as module
import el_larq.loading.load, el_larq.data.digits, el_larq.data.in_memory, el_larq.loading.user_network, el_larq.models.build

network = sys.argv[1]

def work(folder):
    from el_larq.training.recipe import Recipe
    every = {"checkpoint_steps": 2}
    if folder.exists():
        module.resume(folder, notify=print, **every)
    else:
        recipe = Recipe("tiny", "", epochs=8, batch_size=64, learning_rate=1e-2)
        module.train(network, dataset="digits", recipe=recipe, seed=5, out=folder, **every)

def die_in(name):
    # SIGKILL when Keras has written half of a file, whatever its temporary name is: for the COUNT-th time of "COUNT:NAME".
    count, name = name.split(":")
    times = []
    def halved(save):
        def write(self, path, *arguments, **more):
            save(self, path, *arguments, **more)
            times.extend([path] if str(path).endswith(f".{name}") else [])
            if len(times) == int(count):
                os.truncate(path, os.path.getsize(path) // 2)
                os.kill(os.getpid(), signal.SIGKILL)
        return write
    tf_keras.Model.save_weights = halved(tf_keras.Model.save_weights)
    tf_keras.Model.save = halved(tf_keras.Model.save)

print("ready", flush=True)
for line in sys.stdin:
    folder, delay, name = line.split()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if name != "-":
                die_in(name)
            work(Path(folder))
            status = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    end = time.monotonic() + int(delay) / 1000 if int(delay) >= 0 else float("inf")
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            print("killed" if code == -signal.SIGKILL else f"exit {code}", flush=True)
            break
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            print("killed" if os.waitstatus_to_exitcode(status) == -signal.SIGKILL else "exit 0", flush=True)
            break
        time.sleep(0.002)
"""


class Server:
    def __init__(self, network: str, log: Path):
        self._log = open(log, "w")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER, network], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        self.answer("ready")

    def answer(self, *wanted: str) -> str:
        """The next of these answers; what children print is passed over."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() in wanted:
                return line.strip()
        raise AssertionError(f"the server has ended: {Path(self._log.name).read_text()[-3000:]}")

    def run(self, folder: Path, milliseconds: int = -1, name: str = "-") -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{folder} {milliseconds} {name}\n")
        self._process.stdin.flush()
        return self.answer("killed", "exit 0", "exit 1")

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()


def _files(folder: Path) -> dict[str, bytes]:
    """What must be equal: everything but clocks, and the names and times inside the archives."""
    import h5py

    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*.h5")):
        with h5py.File(path) as file:
            file.visititems(
                lambda name, item, path=path: (
                    found.update({f"{path.name}:{name}": item[()].tobytes()}) if isinstance(item, h5py.Dataset) else None
                )
            )
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    found["metrics"] = json.dumps([{k: v for k, v in line.items() if k != "seconds"} for line in lines]).encode()
    found["names"] = " ".join(
        sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if "tfevents" not in p.name and p.is_file())
    ).encode()
    return found


@pytest.mark.slow
def test_kills_at_any_moment_change_nothing(tiny_network: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin = time.monotonic()
    server = Server(tiny_network, tmp_path / "log")
    try:
        whole = tmp_path / "whole"
        started = time.monotonic()
        assert server.run(whole) == "exit 0", (tmp_path / "log").read_text()[-3000:]
        duration = int((time.monotonic() - started) * 1000)
        wanted = _files(whole)
        chance = random.Random(0)
        killed, finished, steps = 0, 0, []
        while killed < KILLS:
            folder = tmp_path / f"run{finished}"
            # Now and then a process gets time to the end, so that the last files are among what is interrupted.
            longest = duration * (1.2 if chance.random() < 0.15 else 0.7)
            answer = server.run(folder, round(chance.uniform(0, longest)))
            if answer == "killed":
                killed += 1
                steps.append(_step(folder))
            else:
                assert answer == "exit 0", (tmp_path / "log").read_text()[-3000:]
            if (folder / "result.json").exists() or killed == KILLS:
                assert server.run(folder) == "exit 0", (tmp_path / "log").read_text()[-3000:]
                assert _files(folder) == wanted
                assert not list(tmp_path.glob(".*"))
                finished += 1
    finally:
        server.close()
    with capsys.disabled():
        print(f"\n{killed} kills of {finished} runs in {time.monotonic() - begin:.0f} s; last states at steps {steps}")
    assert finished >= 2


@pytest.mark.slow
def test_a_kill_in_the_middle_of_a_file_leaves_the_one_before_it_or_none(tiny_network: str, tmp_path: Path) -> None:
    server = Server(tiny_network, tmp_path / "log")
    try:
        assert server.run(tmp_path / "whole") == "exit 0", (tmp_path / "log").read_text()[-3000:]
        wanted = _files(tmp_path / "whole")
        for file in ("1:last.weights.h5", "2:last.weights.h5", "2:best.weights.h5", "1:model.h5", "1:model.keras"):
            folder = tmp_path / file
            count, name = file.split(":")
            assert server.run(folder, name=file) == "killed", (tmp_path / "log").read_text()[-3000:]
            (half,) = folder.rglob(f".*.part.{name}")
            kept = half.parent / name
            assert kept.exists() == (count == "2")
            if count == "2":
                assert _names(kept) == _names(tmp_path / "whole" / "checkpoints" / name)
                assert half.stat().st_size < kept.stat().st_size
            assert server.run(folder) == "exit 0", (tmp_path / "log").read_text()[-3000:]
            assert _files(folder) == wanted
            assert not list(folder.rglob(".*.part.*"))
    finally:
        server.close()


def _names(path: Path) -> list[str]:
    """The data sets of an HDF5 file; raises for one that is not whole."""
    import h5py

    found: list[str] = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.append(f"{name} {item[()].shape}") if isinstance(item, h5py.Dataset) else None)
    return sorted(found)


def _step(folder: Path) -> int | None:
    """The newest state when the process died; None before there was a folder."""
    found = [int(path.stem.rpartition("-")[2]) for path in (folder / "checkpoints").glob("state-*.ckpt")]
    return max(found, default=None)


@pytest.mark.slow
def test_the_command_itself_survives_a_kill(tiny_network: str, tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "el-larq"
    folder = tmp_path / "run"
    command = [program, "train", tiny_network, "--dataset", "digits", "--epochs", "40", "-o", folder, "--checkpoint-every", "0"]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (folder / "metrics.jsonl").exists():
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert not (folder / "result.json").exists()
    result = subprocess.run(
        [str(program), "train", "--resume", str(folder)], capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    assert f"continuing {folder} at step" in result.stderr
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 40
