"""Training curves of MobileNet with binary depthwise and pointwise convolutions, with Elastic-Links and without links.

    python benchmarks/mobilenet_curves.py FOLDER [-o docs/mobilenet.png]

Each is trained with three seeds on `photos`, as by `el-larq compare`; if stopped, it resumes from FOLDER. The plot shows the loss
on the training crops and the accuracy on the validation crops by epoch: the mean over the seeds, and their range.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from el_larq.comparison.compare import execute
from el_larq.comparison.comparison_plan import Pair, plan_comparison
from el_larq.comparison.results_folder import ResultsFolder
from el_larq.files import atomic_path, check_writable
from el_larq.training.recipes import get_recipe

SEEDS = 3
METHODS = {"el": ("with Elastic-Links", "#0072b2", "-"), "binary": ("without links", "#d55e00", "--")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/mobilenet.png"))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--image-size", type=int, default=24)
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    check_writable(arguments.out)
    recipe = get_recipe("demo").with_changes(epochs=arguments.epochs, batch_size=128)
    plan = plan_comparison(
        ["mobilenet"],
        list(METHODS),
        SEEDS,
        recipe=recipe,
        width=arguments.width,
        image_size=arguments.image_size,
        network_options={"depthwise": "binary"},
    )
    result = execute(plan, arguments.folder, jobs=arguments.jobs, notify=lambda line: print(line, file=sys.stderr, flush=True))
    folder = ResultsFolder(arguments.folder, plan)
    curves = {pair.method.name: [_epochs(folder, pair, seed) for seed in range(SEEDS)] for pair in plan.pairs}
    draw(curves, arguments.out)
    for row in result.rows:
        values = ", ".join("failed" if value is None else f"{value:.4f}" for value in row.accuracies)
        print(f"{row.method:8} {values}; mean {'' if row.mean is None else format(row.mean, '.4f')}")
        for seed, epochs in enumerate(curves[row.method]):
            losses = ", ".join(f"{epoch['loss']:.3f}" for epoch in epochs)
            print(f"         seed {seed}: training loss by epoch {losses}")
    for row in result.rows:
        for error in row.errors:
            print(f"{row.method}: {error}", file=sys.stderr)
    sys.exit(1 if result.failed else 0)


def _epochs(folder: ResultsFolder, pair: Pair, seed: int) -> list[dict[str, Any]]:
    """The records in a run's metrics.jsonl; empty if the run failed before the end of its first epoch."""
    path = folder.run(pair, seed) / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []


def draw(curves: dict[str, list[list[dict[str, Any]]]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, field, label in zip(panels, ("loss", "val_accuracy"), ("training loss", "validation accuracy"), strict=True):
        for method, runs in curves.items():
            name, colour, line = METHODS[method]
            values = [[run[epoch][field] for run in runs if epoch < len(run)] for epoch in range(max(map(len, runs), default=0))]
            epochs = range(1, len(values) + 1)
            axes.plot(epochs, [statistics.fmean(found) for found in values], color=colour, linestyle=line, marker="o", label=name)
            axes.fill_between(epochs, [min(found) for found in values], [max(found) for found in values], color=colour, alpha=0.2)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.grid(True, alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=110)


if __name__ == "__main__":
    main()
