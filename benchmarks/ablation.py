"""Ablation of the Elastic-Link: one factor at a time around the default, on Fashion-MNIST and on `photos`.

    python benchmarks/ablation.py [--only TEXT] [--scratch build/ablation] [--results docs/results/ablation.csv]
    python benchmarks/ablation.py --list       what would run, in order
    python benchmarks/ablation.py --table      paired differences as Markdown
    python benchmarks/ablation.py --plot docs/ablation.svg    the same as a picture

One training at a time, at the lowest priority. A line is added to the results when a run ends; runs that have one are skipped,
and one that was stopped or killed resumes from its folder in the scratch folder. Before it starts, a step of each size is
measured and the hours that are left are printed. Fashion-MNIST is Debian's package dataset-fashion-mnist.

A run uses the recipe `demo` with a batch size of 128 and all training images, unless recipes are compared; those of several stages
share out the same number of epochs, teacher included. The accuracy is that of the last epoch's model on the test split. The default
is method `el`: an elastic link behind the norm, one trained gamma per link, real-valued downsampling. ResNet26 appears twice on
Fashion-MNIST, at width 0.25: with the default stem, whose maps are 28x28, to compare links, and with the stem "mobile", whose maps
are 14x14 and which takes a quarter of the time, for all factors. BBG's two parts, balanced kernels and gates, are taken apart
around Bi-Real Net, the plain sign with identity links.

The table. Runs of one seed start from the same random numbers and see the same batches, so they are compared in pairs. For a value
v of a factor and the reference r, with accuracies a of the n seeds that both have, d_s = a_v,s - a_r,s; the table has their mean
and its 95 % interval (`recorded_runs.paired`). The interval says nothing about other data sets, sizes or numbers of epochs. Each
interval is computed separately: among 20 rows without any effect, one interval is expected to exclude 0 by chance.
"""

import gc
import itertools
import json
import shutil
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recorded_runs import announce, append, begin, commit, machine, paired, parser, points, read

import el_larq

BATCH = 128
COLUMNS: tuple[str, ...] = (
    "factor",
    "value",
    "network",
    "stem",
    "dataset",
    "method",
    "options",
    "seed",
    "epochs",
    "width",
    "accuracy",
    "seconds",
    "commit",
    "machine",
)
KEY = ("factor", "value", "network", "stem", "dataset", "seed", "epochs", "width")
"""What identifies a run."""

DEFAULT = "elastic"
"""The value that the others of a factor are compared with, or those of factor "link" if a factor does not have it."""
SINGLE = "single stage"
BINARY = "binary, single stage"
REFERENCES = {"bbg": "neither", "el": SINGLE, "reactnet": SINGLE, "real_to_binary": BINARY}
"""In place of `DEFAULT`. A factor with the name of a method is that method's recipe."""


@dataclass(frozen=True)
class Setting:
    """A network on a data set, and how many epochs it is trained; an empty stem is the network's default."""

    network: str
    dataset: str
    width: float
    epochs: int
    seeds: int
    stem: str = ""


@dataclass(frozen=True)
class Run:
    factor: str
    value: str
    setting: Setting
    seed: int
    method: str = "el"
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, ...]:
        s = self.setting
        return tuple(map(str, (self.factor, self.value, s.network, s.stem, s.dataset, self.seed, s.epochs, s.width)))

    @property
    def folder(self) -> str:
        return "-".join("".join(c if c.isalnum() or c == "." else "_" for c in part) for part in self.key)


RESNET = Setting("resnet26", "fashion_mnist", 0.25, 3, 3)
RESNET_14 = Setting("resnet26", "fashion_mnist", 0.25, 3, 3, "mobile")
MOBILENET = Setting("mobilenet", "fashion_mnist", 0.5, 3, 3)
PHOTOS = Setting("resnet26", "photos", 0.125, 8, 5)
VGG = Setting("vgg_small", "fashion_mnist", 0.25, 3, 3)
RESNET20 = Setting("resnet20", "fashion_mnist", 0.5, 3, 3)
RESNET18 = Setting("resnet18", "fashion_mnist", 0.125, 8, 3, "mobile")

Variant = tuple[str, str, str, dict[str, Any]]
"""Factor, value, method, and further arguments of `el_larq.train`."""

LINKS: list[Variant] = [
    ("link", DEFAULT, "el", {}),
    ("link", "identity", "el", {"link": "identity"}),
    ("link", "none", "binary", {}),
]
BIREAL: list[Variant] = [("link", "identity (bireal)", "bireal", {})]

_BINARY = {"network_options": {"downsample": "binary"}}
DOWNSAMPLE: list[Variant] = [
    ("link at binary downsample", DEFAULT, "el", _BINARY),
    ("link at binary downsample", "identity", "el", {"link": "identity", **_BINARY}),
    ("link at binary downsample", "none", "binary", _BINARY),
]


BBG: list[Variant] = [("bbg", "neither", "bireal", {}), ("bbg", "balanced kernels and gates", "bbg", {})]
PARTS_OF_BBG: list[Variant] = [
    ("bbg", "balanced kernels", "bbg", {"link": "identity"}),
    ("bbg", "gates", "bireal", {"link": "gated"}),
    ("bbg", "balanced by the median, and gates", "bbg", {"method_options": {"center": "median"}}),
]


# The rates of these recipes are for ten times as many epochs and more.
_FAST = {"learning_rate": 0.01}
RECIPES: list[Variant] = [
    ("el", SINGLE, "el", {}),
    ("el", "el-dagger", "el", {"recipe": "el-dagger", **_FAST}),
    ("reactnet", SINGLE, "reactnet", {}),
    ("reactnet", "two-stage", "reactnet", {"recipe": "two-stage", **_FAST}),
    ("real_to_binary", BINARY, "binary", {}),
    ("real_to_binary", SINGLE, "real_to_binary", {}),
    ("real_to_binary", "real-to-binary", "real_to_binary", {"recipe": "real-to-binary", **_FAST}),
]


def _start(value: float) -> dict[str, Any]:
    return {"link_options": {"gamma_initializer": {"class_name": "Constant", "config": {"value": value}}}}


FACTORS: list[Variant] = [
    ("placement", "before_norm", "el", {"placement": "before_norm"}),
    ("placement", "before_norm, alpha", "el", {"placement": "before_norm", "method_options": {"alpha": True}}),
    ("placement", "before_norm, alpha, K", "el", {"placement": "before_norm", "method_options": {"alpha": True, "k": "all"}}),
    ("gamma", "fixed", "el", {"link_options": {"trainable": False}}),
    ("gamma", "per channel", "el", {"link_options": {"per_channel": True}}),
    ("start of gamma", "0", "el", _start(0.0)),
    ("start of gamma", "1", "el", _start(1.0)),
    ("alpha", "on", "el", {"method_options": {"alpha": True}}),
    ("K", "all", "el", {"method_options": {"k": "all"}}),
]


def plan() -> list[Run]:
    """All runs, the most important ones first; the seeds of a comparison follow each other."""
    blocks: list[list[tuple[Setting, list[Variant]]]] = [
        [(MOBILENET, LINKS)],
        [(RESNET_14, [*LINKS, *DOWNSAMPLE])],
        [(VGG, BBG), (RESNET20, BBG)],
        [(RESNET18, RECIPES)],
        [(RESNET, LINKS)],
        [(RESNET_14, [*FACTORS, *BIREAL])],
        [(VGG, PARTS_OF_BBG), (RESNET20, PARTS_OF_BBG)],
        [(MOBILENET, [*FACTORS, *BIREAL])],
        [(RESNET, [*DOWNSAMPLE, *BIREAL])],
        [(PHOTOS, [*LINKS, *(variant for variant in FACTORS if variant[0] in ("placement", "gamma"))])],
    ]
    return [
        Run(factor, value, setting, seed, method, options)
        for block in blocks
        for seed in range(max(setting.seeds for setting, _ in block))
        for setting, variants in block
        for factor, value, method, options in variants
        if seed < setting.seeds
    ]


# --- Results --------------------------------------------------------------------------------------------------------------


def key_of(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in KEY)


# --- Training -------------------------------------------------------------------------------------------------------------


def step_seconds(setting: Setting, steps: int = 8) -> tuple[float, float, int]:
    """Seconds and CPU seconds of one training step of the default method, and the number of steps in an epoch."""
    import tf_keras as keras

    from el_larq.methods.method_registry import get_method
    from el_larq.models.build import build

    data = el_larq.load_dataset(setting.dataset).without_validation()
    shape = data.preprocessing.input_shape
    model = build(
        setting.network, get_method("el"), input_shape=shape, num_classes=data.num_classes, width=setting.width, **_stem(setting)
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    batches = list(itertools.islice(data.training_batches(BATCH, 1, 0), steps + 2))
    for images, labels in batches[:2]:
        model.train_on_batch(images, labels)
    began, cpu = time.perf_counter(), time.process_time()
    for images, labels in batches[2:]:
        model.train_on_batch(images, labels)
    return (time.perf_counter() - began) / steps, (time.process_time() - cpu) / steps, data.steps_per_epoch(BATCH)


def print_budget(runs: list[Run]) -> None:
    """Hours of the given runs, from a measured step of each size; evaluation and start are counted as a tenth."""
    total = idle = 0.0
    for setting in dict.fromkeys(run.setting for run in runs):
        wall, cpu, steps = step_seconds(setting)
        count = sum(run.setting == setting for run in runs)
        hours = 1.1 * count * setting.epochs * steps / 3600
        total, idle = total + hours * wall, idle + hours * cpu / 2
        size = f"{_label(setting.network, setting.stem)}, width {setting.width:g}, {setting.dataset}"
        print(f"{size}: {count} runs, {wall:.2f} s a step ({cpu:.2f} s of CPU): {hours * wall:.1f} hours", flush=True)
    print(f"{len(runs)} runs, about {total:.1f} hours at the present load, at least {idle:.1f} on two idle cores", flush=True)


def _stem(setting: Setting) -> dict[str, Any]:
    return {"stem": setting.stem} if setting.stem else {}


def _label(network: str, stem: str) -> str:
    return f'{network}, stem "{stem}"' if stem else network


def settings(run: Run) -> dict[str, Any]:
    """The arguments of `el_larq.train` but for the network and the folder."""
    setting = run.setting
    return {
        "method": run.method,
        "dataset": setting.dataset,
        "recipe": "demo",
        "epochs": setting.epochs,
        "batch_size": BATCH,
        "width": setting.width,
        "seed": run.seed,
        "validation": 0.0,
        **run.options,
        "network_options": run.options.get("network_options", {}) | _stem(setting),
    }


def train(run: Run, scratch: Path) -> tuple[float, float]:
    """Train, or continue a run that was stopped; returns the test accuracy and the seconds."""
    import tf_keras as keras

    keras.backend.clear_session()
    gc.collect()
    folder, setting = scratch / run.folder, run.setting
    if (folder / "config.json").exists():
        trained = el_larq.resume(folder, notify=print)
    else:
        shutil.rmtree(folder, ignore_errors=True)
        trained = el_larq.train(setting.network, out=folder, **settings(run))
    return trained.accuracy, trained.seconds


# --- The table ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """A row of the table, in accuracy from 0 to 1; ``half`` is half the width of the 95 % interval, None for one seed."""

    factor: str
    value: str
    seeds: int
    accuracy: float
    mean: float
    half: float | None
    is_reference: bool = False


def compare(rows: list[dict[str, str]]) -> Iterator[tuple[tuple[str, ...], list[Difference]]]:
    """The differences of each (network, dataset, width, epochs); the reference itself has a difference of 0 and no interval."""
    groups: dict[tuple[str, ...], dict[tuple[str, str], dict[str, float]]] = {}
    for row in rows:
        group = groups.setdefault((_label(row["network"], row["stem"]), row["dataset"], row["width"], row["epochs"]), {})
        group.setdefault((row["factor"], row["value"]), {})[row["seed"]] = float(row["accuracy"])
    for title, group in groups.items():
        found = []
        for (factor, value), by_seed in group.items():
            own = (factor, REFERENCES[factor]) if factor in REFERENCES else (factor, DEFAULT)
            reference = group.get(own, {} if factor in REFERENCES else group.get(("link", DEFAULT), {}))
            seeds = sorted(by_seed.keys() & reference.keys())
            accuracy = statistics.fmean(by_seed.values())
            if by_seed is reference:
                found.append(Difference(factor, value, len(by_seed), accuracy, 0.0, None, is_reference=True))
            elif seeds:
                mean, half = paired([by_seed[seed] - reference[seed] for seed in seeds])
                found.append(Difference(factor, value, len(seeds), accuracy, mean, half))
        yield title, found


def table(rows: list[dict[str, str]]) -> str:
    lines = []
    for (network, dataset, width, epochs), differences in compare(rows):
        lines += [f"### {network}, width {width}, {dataset}, {epochs} epochs", ""]
        lines += [
            "| factor | value | seeds | accuracy | difference to the reference, points, 95 % interval |",
            "| --- | --- | --- | --- | --- |",
        ]
        for row in differences:
            difference = "reference" if row.is_reference else points(row.mean, row.half)
            lines.append(f"| {row.factor} | {row.value} | {row.seeds} | {100 * row.accuracy:.2f} % | {difference} |")
        lines.append("")
    return "\n".join(lines)


def plot(rows: list[dict[str, str]], path: Path) -> None:
    """A panel per network and data set: the mean difference of each value, with its 95 % interval if there are several seeds."""
    from el_larq.figure_file import figure_file
    from el_larq.printable import counted

    found = [(title, [one for one in differences if not one.is_reference]) for title, differences in compare(rows)]
    panels = [(title, differences) for title, differences in found if differences]
    heights = [len(differences) + 1.5 for _, differences in panels]
    with figure_file(path, (8, 0.32 * sum(heights) + 0.4)) as figure:
        axes = figure.subplots(len(panels), 1, height_ratios=heights, squeeze=False, sharex=True)[:, 0]
        for axis, ((network, dataset, width, epochs), differences) in zip(axes, panels, strict=True):
            for position, one in enumerate(differences):
                half = None if one.half is None else 100 * one.half
                axis.errorbar(100 * one.mean, -position, xerr=half, fmt="x" if half is None else "o", color="#1f5fa8", capsize=3)
            axis.axvline(0, color="0.6", linewidth=1)
            names = [f"{one.factor}: {one.value} ({counted(one.seeds, 'seed')})" for one in differences]
            axis.set_yticks([-position for position in range(len(names))], names)
            axis.set_ylim(0.7 - len(names), 0.7)
            axis.set_title(f"{network}, width {width}, {dataset}, {epochs} epochs", loc="left", fontsize=10)
        axes[-1].set_xlabel("difference to the reference, points, with 95 % intervals")


def main() -> None:
    command_line = parser(__doc__, "ablation")
    command_line.add_argument("--only", default="", help="only runs whose folder's name contains this text, as in mobilenet")
    command_line.add_argument("--plot", type=Path, metavar="FILE", help="draw the table to this .svg, .png or .pdf, and end")
    options = command_line.parse_args()
    if options.plot is not None:
        plot(read(options.results), options.plot)
        return
    if options.table:
        print(table(read(options.results)))
        return
    done = {key_of(row) for row in read(options.results)}
    runs = [run for run in plan() if run.key not in done and options.only in run.folder]
    if options.list:
        print(*(run.folder for run in runs), sep="\n")
        return
    begin(options.scratch)
    print_budget(runs)
    for run in announce(runs):
        accuracy, seconds = train(run, options.scratch)
        setting = run.setting
        values = (*run.key[:5], run.method, json.dumps(run.options, sort_keys=True), run.seed, setting.epochs, setting.width)
        values = (*values, round(accuracy, 4), round(seconds), commit(), machine())
        append(options.results, COLUMNS, dict(zip(COLUMNS, values, strict=True)))
        shutil.rmtree(options.scratch / run.folder)
        print(f"accuracy {accuracy:.4f} in {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
