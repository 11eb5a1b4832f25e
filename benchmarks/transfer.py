"""Does a pretrained binary network help on few pictures? QuickNet on some classes of Fashion-MNIST, then on 20 pictures of others.

    python benchmarks/transfer.py [--scratch build/transfer] [--results docs/results/transfer.csv]
    python benchmarks/transfer.py --list       what would run, in order
    python benchmarks/transfer.py --table      accuracies and paired differences as Markdown

For each division of the ten classes into source and target classes, and for each seed: `quicknet_small` with method `binary` at a
quarter of its width is trained on all training images of the source classes. Then 20 training images per target class are drawn,
and the same network is trained on them in three ways, each for the same number of steps, and tested on all test images of the
target classes:

    scratch     random initialization, recipe `standard`
    finetune    initialized from the source, recipe `finetune`
    head        the same with a frozen backbone (`--freeze backbone`), so without augmentation and on features computed once

No image of a target class is used before that. A line is added to the results when a run ends; runs that have one are skipped, and
one that was stopped or killed resumes from its folder in the scratch folder. Fashion-MNIST is Debian's dataset-fashion-mnist.

The table has the mean accuracy over seeds, and the mean and 95 % interval of the differences to "scratch", in pairs of the same
seed, hence the same 80 images (`recorded_runs.paired`). One row is one division: the interval says nothing about other divisions.
"""

import gc
import shutil
import statistics
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from recorded_runs import announce, append, begin, commit, machine, paired, parser, points, read

import el_larq

NETWORK, METHOD, WIDTH = "quicknet_small", "binary", 0.25
PER_CLASS = 20
SEEDS = 3
SOURCE_EPOCHS, SOURCE_BATCH = 2, 128
EPOCHS, BATCH = 50, 20
"""Of the target classes: 4 steps an epoch, 200 steps."""

SOURCE, SCRATCH, FINETUNE, HEAD = "source", "scratch", "finetune", "head"
ARMS = (SCRATCH, FINETUNE, HEAD)
DIVISIONS = {"0-5 to 6-9": (0, 1, 2, 3, 4, 5), "4-9 to 0-3": (4, 5, 6, 7, 8, 9), "others to 1, 3, 5, 7": (0, 2, 4, 6, 8, 9)}
"""Source classes by the name of the division; the target classes are the other four. So the source's classifier never fits."""

COLUMNS: tuple[str, ...] = (
    "division",
    "seed",
    "arm",
    "network",
    "method",
    "width",
    "images",
    "steps",
    "accuracy",
    "seconds",
    "commit",
    "machine",
)


@dataclass(frozen=True)
class Run:
    division: str
    seed: int
    arm: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.division, str(self.seed), self.arm

    @property
    def folder(self) -> str:
        return "-".join(part.replace(" ", "_").replace(",", "") for part in self.key)


def plan() -> list[Run]:
    return [Run(name, seed, arm) for name in DIVISIONS for seed in range(SEEDS) for arm in (SOURCE, *ARMS)]


def key_of(row: dict[str, str]) -> tuple[str, str, str]:
    return row["division"], row["seed"], row["arm"]


Arrays = tuple[np.ndarray, np.ndarray]
"""Images, uint8 (N, 28, 28), and labels (N,)."""


def target_classes(division: str) -> tuple[int, ...]:
    return tuple(label for label in range(10) if label not in DIVISIONS[division])


def of_classes(split: Arrays, classes: tuple[int, ...], per_class: int | None = None, seed: int = 0) -> Arrays:
    """The images of these classes with labels counted from 0 in their order; of each class all, or ``per_class`` drawn by seed."""
    images, labels = split
    random = np.random.default_rng(seed)
    chosen, numbers = [], []
    for number, label in enumerate(classes):
        index = np.flatnonzero(labels == label)
        if per_class is not None:
            index = np.sort(random.choice(index, per_class, replace=False))
        chosen.append(index)
        numbers.append(np.full(len(index), number))
    return images[np.concatenate(chosen)], np.concatenate(numbers)


def write_idx(folder: Path, train: Arrays, test: Arrays) -> None:
    """Write the four files of an IDX data set."""
    folder.mkdir(parents=True, exist_ok=True)
    for role, (images, labels) in (("train", train), ("t10k", test)):
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">2x2B{array.ndim}I", 8, array.ndim, *array.shape)
            (folder / f"{role}-{kind}-ubyte").write_bytes(header + array.astype(np.uint8).tobytes())


def make_data(run: Run, folder: Path) -> None:
    data: Any = el_larq.load_dataset("fashion_mnist")
    train, test = ((split.images[..., 0], split.labels) for split in (data.train, data.test))
    if run.arm == SOURCE:
        classes = DIVISIONS[run.division]
        write_idx(folder, of_classes(train, classes), of_classes(test, classes))
    else:
        classes = target_classes(run.division)
        write_idx(folder, of_classes(train, classes, PER_CLASS, run.seed), of_classes(test, classes))


def train(run: Run, scratch: Path) -> Any:
    """Train, or continue a run that was stopped."""
    import tf_keras as keras

    keras.backend.clear_session()
    gc.collect()
    folder = scratch / run.folder
    data = scratch / f"{folder.name}-data"
    if (folder / "config.json").exists():
        return el_larq.resume(folder, notify=print)
    shutil.rmtree(folder, ignore_errors=True)
    make_data(run, data)
    settings: dict[str, Any] = {"recipe": "standard", "epochs": EPOCHS, "batch_size": BATCH}
    name = f"idx:{data}"
    if run.arm == SOURCE:
        settings |= {"epochs": SOURCE_EPOCHS, "batch_size": SOURCE_BATCH}
    elif run.arm != SCRATCH:
        source = replace(run, arm=SOURCE)
        if not (scratch / source.folder / "result.json").exists():
            train(source, scratch)
        settings |= {"recipe": "finetune", "init_from": scratch / source.folder}
    if run.arm == HEAD:
        name += ",augment=none"
        settings["freeze"] = "backbone"
    return el_larq.train(
        NETWORK,
        method=METHOD,
        width=WIDTH,
        dataset=name,
        seed=run.seed,
        validation=0.0,
        out=folder,
        notify=print,
        **settings,
    )


def steps_and_images(run: Run) -> tuple[int, int]:
    if run.arm != SOURCE:
        images = PER_CLASS * len(target_classes(run.division))
        return EPOCHS * (images // BATCH), images
    images = 6000 * len(DIVISIONS[run.division])
    return SOURCE_EPOCHS * (images // SOURCE_BATCH), images


def table(rows: list[dict[str, str]]) -> str:
    found = {key_of(row): float(row["accuracy"]) for row in rows}
    lines = [
        "| source to target classes | seeds | from scratch | fine-tuned | difference | head only | difference |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for division in DIVISIONS:
        seeds = [seed for seed in map(str, range(SEEDS)) if all((division, seed, arm) in found for arm in ARMS)]
        if not seeds:
            continue
        accuracy = {arm: [found[division, seed, arm] for seed in seeds] for arm in ARMS}
        cells = [division, str(len(seeds)), f"{100 * statistics.fmean(accuracy[SCRATCH]):.1f} %"]
        for arm in (FINETUNE, HEAD):
            differences = [own - other for own, other in zip(accuracy[arm], accuracy[SCRATCH], strict=True)]
            cells += [f"{100 * statistics.fmean(accuracy[arm]):.1f} %", points(*paired(differences))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    options = parser(__doc__, "transfer").parse_args()
    if options.table:
        print(table(read(options.results)))
        return
    done = {key_of(row) for row in read(options.results)}
    runs = [run for run in plan() if run.key not in done]
    if options.list:
        print(*(run.folder for run in runs), sep="\n")
        return
    begin(options.scratch)
    for run in announce(runs):
        trained = train(run, options.scratch)
        steps, images = steps_and_images(run)
        values = (*run.key, NETWORK, METHOD, WIDTH, images, steps, round(trained.accuracy, 4), round(trained.seconds))
        append(options.results, COLUMNS, dict(zip(COLUMNS, (*values, commit(), machine()), strict=True)))
        print(f"accuracy {trained.accuracy:.4f} in {trained.seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
