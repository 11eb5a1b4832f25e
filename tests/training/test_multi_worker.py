"""Two real processes on this machine, as `el-larq train` starts them."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from loopback import cluster_of

from el_larq import load_model
from el_larq.training import multi_worker
from el_larq.training.cluster import Cluster
from el_larq.training.train import train
from el_larq.training.training_plan import make_plan
from el_larq.worker_process import Died

NETWORK = """
import os, signal

import tf_keras as keras

from el_larq import Conv
from el_larq.training.training_state import TrainingState


def dying(advance):
    def advanced(self, train_step):
        logs = advance(self, train_step)
        if self.step == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return logs

    return advanced


def build(input_shape, num_classes, method):
    if "DIE" in os.environ:
        TrainingState.advance = dying(TrainingState.advance)
    image = keras.Input(input_shape)
    x = keras.layers.Conv2D(8, 3, 2, "same", use_bias=False, name="stem")(image)
    x = keras.layers.BatchNormalization(momentum=0.9, name="stem_norm")(x)
    x = method.unit(x, Conv("unit", 16, 3))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, keras.layers.Dense(num_classes, name="logits")(x))
"""

# 1,211 training images: 20 steps of a float network, and one step of a binary one.
RECIPE = """
name: two
stages:
  - {name: real, epochs: 1, batch_size: 60, learning_rate: 0.01, binarize: nothing}
  - {name: binary, epochs: 1, batch_size: 1200, learning_rate: 0.01}
"""

STAGES = ("1-real", "2-binary")


class Workers:
    """Starts `el-larq train` once per worker, and waits for all."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "network.py").write_text(NETWORK)
        (folder / "two.yaml").write_text(RECIPE)

    def run(self, *arguments: str, dying: bool = False, second: Sequence[str] = ()) -> list[subprocess.CompletedProcess[str]]:
        """``second``: further arguments of worker 1."""
        addresses = cluster_of(2)[0].workers
        program = str(Path(sys.executable).parent / "el-larq")
        processes = []
        for index in (0, 1):
            command = [program, "train", *arguments, "--workers", ",".join(addresses), "--worker-index", str(index)]
            command += ["--checkpoint-every", "0", *(second if index else ())]
            environment = dict(os.environ) | ({"DIE": "1"} if dying and index == 1 else {})
            processes.append(
                subprocess.Popen(
                    command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
                )
            )
        results = []
        for process in processes:
            out, err = process.communicate(timeout=600)
            results.append(subprocess.CompletedProcess(process.args, process.returncode, out, err))
        return results

    def train(self, name: str, dying: bool = False) -> list[subprocess.CompletedProcess[str]]:
        recipe = ["--recipe", "two.yaml", "--dataset", "digits", "--method", "bireal", "--seed", "5"]
        return self.run("network.py:build", *recipe, "--strategy", "multi-worker", "-o", name, dying=dying)


def weights(run: Path) -> list[np.ndarray]:
    return [variable.numpy() for variable in load_model(run / "model.h5").variables]


@pytest.mark.slow
def test_two_processes_train_like_one_and_continue_after_one_was_killed(tmp_path: Path) -> None:
    workers = Workers(tmp_path)
    for result in (done := workers.train("undisturbed")):
        assert result.returncode == 0, result.stderr
    assert "strategy multi-worker: 2 replicas in 2 workers; global batch 60, 30 for each replica" in done[0].stderr
    assert "is done; worker 0 has written undisturbed" in done[1].stderr

    alone = train(
        f"{tmp_path / 'network.py'}:build",
        method="bireal",
        dataset="digits",
        recipe=tmp_path / "two.yaml",
        seed=5,
        out=tmp_path / "alone",
    )
    for stage in STAGES:
        for one, two in zip(weights(alone.folder / stage), weights(tmp_path / "undisturbed" / stage), strict=True):
            np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-4)

    killed = workers.train("killed", dying=True)
    lines = {result.stderr.splitlines()[-1] for result in killed}
    assert [result.returncode for result in killed] == [1, 1]
    (line,) = lines
    assert "worker 1 (127.0.0.1:" in line
    assert "its process died by SIGKILL; memory may have run out; to continue, on every worker: " in line
    assert "el-larq train --resume killed --workers HOST:PORT,... --worker-index INDEX" in line

    for result in workers.run("--resume", "killed"):
        assert result.returncode == 0, result.stderr
    for stage in STAGES:
        for a, b in zip(weights(tmp_path / "undisturbed" / stage), weights(tmp_path / "killed" / stage), strict=True):
            np.testing.assert_array_equal(a, b)
    environment = json.loads((tmp_path / "killed" / STAGES[0] / "environment.json").read_text())
    assert [entry["step"] <= 5 for entry in environment["resumed"]] == [True]


@pytest.mark.slow
def test_a_worker_with_other_data_is_named_before_the_first_step(tmp_path: Path) -> None:
    for name, labels in (("idx", [0, 1] * 30), ("other", [1, 0] * 30)):
        write_idx(tmp_path / name, labels)
    here = ["--dataset", f"idx:{tmp_path / 'idx'}", "--batch-size", "20", "--validation", "0", "-o", "run"]
    there = ["--dataset", f"idx:{tmp_path / 'other'}"]
    found = Workers(tmp_path).run("network.py:build", *here, "--strategy", "multi-worker", second=there)
    assert [result.returncode for result in found] == [1, 1]
    for result in found:
        line = result.stderr.splitlines()[-1]
        assert "has another data set than worker 0 (127.0.0.1:" in line
        assert "; give all workers the same files" in line
    assert not (tmp_path / "run").exists()


def write_idx(folder: Path, labels: list[int]) -> None:
    folder.mkdir()
    images = np.zeros((len(labels), 16, 16), np.uint8)
    for part in ("train", "t10k"):
        for name, array in (("images-idx3", images), ("labels-idx1", np.array(labels, np.uint8))):
            header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
            (folder / f"{part}-{name}-ubyte").write_bytes(header + array.tobytes())


class _Worker:
    """A process that trains, as `wait_for_end` sees it: what happens at each wait for a message."""

    def __init__(self, *events: Any):
        self.process, self._events = self, list(events)
        self.terminated = 0

    def terminate(self) -> None:
        self.terminated += 1

    def receive(self, _seconds: float | None, _notice: Any) -> str:
        event = self._events.pop(0)
        if isinstance(event, BaseException):
            raise event
        if event in (signal.SIGTERM, signal.SIGHUP):
            signal.raise_signal(event)
            return self.receive(None, None)
        return event


def wait_for(*events: Any) -> str:
    worker: Any = _Worker(*events)
    try:
        return multi_worker.wait_for_end(worker, lambda *_: None)
    finally:
        assert worker.terminated == sum(isinstance(event, KeyboardInterrupt) for event in events[:1])


def test_one_interruption_waits_for_the_state_whatever_else_is_signalled() -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert wait_for("finished") == "finished"
    assert wait_for(KeyboardInterrupt(), signal.SIGTERM, signal.SIGHUP, "interrupted") == "interrupted"
    assert signal.getsignal(signal.SIGTERM) is before
    for second in (KeyboardInterrupt(), Died("died by SIGTERM")):  # Ctrl-C again; or TensorFlow was still being imported
        with pytest.raises(KeyboardInterrupt):
            wait_for(KeyboardInterrupt(), second)


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (tf.errors.UnavailableError(None, None, "failed to connect to all addresses"), True),
        (tf.errors.InternalError(None, None, "Collective ops is aborted by: Socket closed"), True),
        (tf.errors.FailedPreconditionError(None, None, "Device x current incarnation doesn't match"), True),
        (tf.errors.InternalError(None, None, "Blas GEMM launch failed"), False),
        (tf.errors.FailedPreconditionError(None, None, "Could not find variable dense/kernel"), False),
        (tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"), False),
    ],
)
def test_only_errors_of_connections_count_as_lost_connections(error: Exception, lost: bool) -> None:
    assert multi_worker.is_lost_connection(error) == lost


def test_workers_agree_on_the_contents_of_files_and_not_on_their_paths(tmp_path: Path) -> None:
    def agreement(folder: str, network: str = NETWORK, model: str = "weights", **settings: Any) -> dict[str, Any]:
        here = tmp_path / folder
        here.mkdir()
        (here / "network.py").write_text(network)
        (here / "model.h5").write_text(model)
        plan = make_plan(f"{here}/network.py:build", init_from=here / "model.h5", out="run", dataset="digits", **settings)
        job = multi_worker.new_job(plan, Cluster(("a:1", "b:2"), 0), trust=False, modules=(), checkpoint_seconds=60.0)
        return job.agreement() | {"network": ""}

    first = agreement("first")
    assert agreement("second") == first
    for folder, change, name in (("third", {"network": "# other"}, "network_file"), ("fourth", {"model": "other"}, "init_from")):
        other = agreement(folder, **change)
        assert {key for key in first if first[key] != other[key]} == {name}


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--strategy", "multi-worker", "--workers", "a:1,b:2", "--worker-index", 0], "multi-worker training needs -o RUN"),
        (["--strategy", "multi-worker", "--workers", "a:1,a:1", "--worker-index", 0, "-o", "run"], "--workers names a:1 twice"),
        (
            ["--strategy", "multi-worker", "--workers", "a:1,b:2", "--worker-index", 2, "-o", "run"],
            "--worker-index 2 is out of range",
        ),
        (["--workers", "a:1,b:2", "--worker-index", 0], "--workers and --worker-index need --strategy multi-worker"),
        (
            ["--strategy", "multi-worker", "--workers", "a:1,b:2", "--worker-index", 0, "-o", "run", "--batch-size", 33],
            "batch size 33 is not divisible by the 2 workers",
        ),
    ],
)
def test_workers_that_cannot_train_are_refused(
    arguments: list[str], message: str, el_larq_here: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    result = el_larq_here("train", "resnet26", *arguments, cwd=tmp_path)
    assert result.returncode != 0
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_resumed_by_as_many_workers(data_folder: Path, el_larq_here: Command, tmp_path: Path) -> None:
    run = Path(shutil.copytree(data_folder / "run_schema2", tmp_path / "run"))
    config = json.loads((run / "config.json").read_text())
    config["distribution"] = {"strategy": "multi-worker", "workers": 2, "replicas": 2, "scaled_by": 1}
    (run / "config.json").write_text(json.dumps(config))
    result = el_larq_here("train", "--resume", run, "--workers", "a:1,b:2,c:3", "--worker-index", 0)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert f"{run} was started with 2 workers, and 3 are given; give as many addresses" in result.stderr
    result = el_larq_here("train", "--resume", run, "--strategy", "mirrored")
    assert "--strategy mirrored contradicts" in result.stderr
    assert "which was started with multi-worker" in result.stderr


def test_a_worker_that_does_not_come_is_named(tmp_path: Path) -> None:
    """Before TensorFlow is imported, so this takes a second."""
    program, addresses = str(Path(sys.executable).parent / "el-larq"), cluster_of(2)[0].workers
    command = [program, "train", "resnet26", "--strategy", "multi-worker", "-o", "run", "--workers", ",".join(addresses)]
    command += ["--worker-index", "0", "--worker-timeout", "0.1"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (f"el-larq: worker 1 ({addresses[1]}) did not come within 0.1 seconds; start it there")
    assert not (tmp_path / "run").exists()
