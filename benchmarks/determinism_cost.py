"""What determinism and el-larq's own loop cost: a training step, deterministic and not, compared with plain `Model.fit`.

    python benchmarks/determinism_cost.py [NETWORK WIDTH ...]

Fashion-MNIST (28x28), batch size 128, with augmentation and metrics as in `el-larq train`. The three trainings run in their own
processes and take turns of a few steps each, so that a change of the machine's load affects all of them alike. `fit` trains
the same model with the same optimizer, loss and batches, without determinism. Results are medians of turns, and of the ratios
of neighbouring turns. On a busy machine only the CPU time of all threads means much.
"""

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import el_larq  # noqa: F401  (before TensorFlow: it selects Keras 2)

NETWORKS = ["resnet26", "0.25", "mobilenet", "0.5"]
MODES = ("on", "off", "fit")
BATCH = 128


class _Turns:
    """Lets a training run as many steps as the parent process asks for, and answers with the seconds a step took."""

    def __init__(self) -> None:
        self.left = 0
        self.steps = 0
        self.began = _clocks()

    def step(self) -> None:
        """Called after each step."""
        self.left -= 1
        if self.left > 0:
            return
        taken = [now - began for now, began in zip(_clocks(), self.began, strict=True)]
        print("seconds", *(seconds / max(1, self.steps) for seconds in taken), flush=True)
        line = sys.stdin.readline()
        if not line.strip():
            sys.exit()
        self.left = self.steps = int(line)
        self.began = _clocks()


def _clocks() -> tuple[float, float]:
    """Time, and the CPU time of all threads of this process, in seconds."""
    return time.perf_counter(), time.process_time()


def train(network: str, width: float, mode: str) -> None:
    """Train in this process, with el-larq's loop or with `Model.fit`, controlled by the parent process."""
    from el_larq.training import execution
    from el_larq.training.progress import TrainingProgress
    from el_larq.training.train import train as run_training

    turns = _Turns()

    class Progress(TrainingProgress):
        def step(self, step: int, logs: Any) -> None:
            super().step(step, logs)
            turns.step()

    settings: Any = {"dataset": "fashion_mnist", "width": width, "batch_size": BATCH, "epochs": 3}
    if mode == "fit":
        _fit(network, settings, turns)
        return
    execution.TrainingProgress = Progress
    with tempfile.TemporaryDirectory() as folder:
        run_training(network, out=Path(folder) / "run", deterministic=mode, checkpoint_seconds=1e9, **settings)


def _fit(network: str, settings: Any, turns: _Turns) -> None:
    import tf_keras as keras

    from el_larq.data.dataset_registry import load_dataset
    from el_larq.models.build import build
    from el_larq.training.optimizer import make_loss, make_optimizer
    from el_larq.training.training_plan import make_plan

    recipe = make_plan(network, **settings).recipe
    data = load_dataset(settings["dataset"]).hold_out(0.1)
    shape = data.preprocessing.input_shape
    model = build(network, "el", input_shape=shape, num_classes=data.num_classes, width=settings["width"])
    steps = data.steps_per_epoch(BATCH)
    model.compile(make_optimizer(recipe, model, steps * 3), make_loss(recipe, data.num_classes), metrics=["accuracy"])

    class Callback(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            turns.step()

    model.fit(data.training_batches(BATCH, 3, seed=0), steps_per_epoch=steps, epochs=3, verbose=0, callbacks=[Callback()])  # pyright: ignore[reportArgumentType]


def compare(network: str, width: str, turns: int, steps: int) -> None:
    children = {
        mode: subprocess.Popen(
            [sys.executable, __file__, "--child", network, width, mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for mode in MODES
    }

    def ask(mode: str, count: int) -> list[float]:
        child = children[mode]
        assert child.stdin is not None
        print(count, file=child.stdin, flush=True)
        return answer(mode)

    def answer(mode: str) -> list[float]:
        lines = iter(children[mode].stdout or ())
        return next([float(value) for value in line.split()[1:]] for line in lines if line.startswith("seconds"))

    for mode in MODES:
        answer(mode)
        ask(mode, 5)  # the first steps fill the queues of the data
    found: dict[str, list[list[float]]] = {mode: [] for mode in MODES}
    orders = itertools.cycle(itertools.permutations(MODES))
    for _ in range(turns):
        for mode in next(orders):
            found[mode].append(ask(mode, steps))
    for child in children.values():
        assert child.stdin is not None
        child.stdin.close()
        child.wait()
    for clock, what in enumerate(("time", "CPU time")):
        times = {mode: [turn[clock] for turn in turns] for mode, turns in found.items()}
        seconds = ", ".join(f"{mode} {statistics.median(of):.4f} s" for mode, of in times.items())
        print(f"{network}, width {width}, {what} of a step: {seconds}")
        for mode, base in (("on", "fit"), ("off", "fit"), ("on", "off")):
            ratios = sorted(a / b for a, b in zip(times[mode], times[base], strict=True))
            low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
            print(f"  {mode} / {base}: {statistics.median(ratios):.3f} (quartiles {low:.3f} to {high:.3f})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK WIDTH")
    parser.add_argument("--turns", type=int, default=18)
    parser.add_argument("--steps", type=int, default=5, help="steps per turn")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        train(given.child[0], float(given.child[1]), given.child[2])
        return
    for network, width in zip(given.networks[::2], given.networks[1::2], strict=True):
        compare(network, width, given.turns, given.steps)


if __name__ == "__main__":
    main()
