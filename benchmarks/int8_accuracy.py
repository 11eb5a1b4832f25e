"""What int8 costs trained networks in accuracy: the files that `convert` makes of each, scored on the whole test split.

    python benchmarks/int8_accuracy.py                    five networks, three seeds; continues where it stopped
    python benchmarks/int8_accuracy.py --only el-0        runs whose name contains the text
    python benchmarks/int8_accuracy.py --only el-0 --epochs 10 --modes float32    what a longer training gives
    python benchmarks/int8_accuracy.py --table            the table of docs/int8.md, from the results so far

Networks are trained on Fashion-MNIST, converted as float32, with `--int8 weights`, and with `--int8 full` on 256 training images;
then they are trained further with int8 simulated (`--qat-bits 8`), and converted with `--int8 full` again. The control,
`continued`, is trained further by the same recipe without int8, and converted as float32. The seed of a training determines its
weights but for rounding (`deterministic` is off, which is faster).
"""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recorded_runs import announce, append, begin, commit, machine, paired, parser, points, read

import el_larq

NETWORKS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "el": ("resnet26", "el", {"width": 0.25, "network_options": {"downsample": "binary", "stem": "mobile"}}),
    "bireal": ("resnet18", "bireal", {"width": 0.25, "network_options": {"stem": "mobile"}}),
    "reactnet": ("reactnet_resnet18", "reactnet", {"width": 0.25, "network_options": {"stem": "mobile"}}),
    "bbg": ("resnet18", "bbg", {"width": 0.25, "network_options": {"stem": "mobile"}}),
    "quicknet": ("quicknet_small", "el", {"width": 0.25}),
}
SEEDS = (0, 1, 2)
DATASET, EPOCHS, EPOCHS_OF_INT8, BATCH = "fashion_mnist", 3, 1, 128
MODES: dict[str, dict[str, Any]] = {
    "float32": {},
    "weights": {"int8": "weights"},
    "full": {"int8": "full", "calibrate": DATASET},
    "trained": {"int8": "full", "calibrate": DATASET},
    "continued": {},
}
"""`trained` is `full` after the training with int8, `continued` is `float32` after the same training without it."""
FURTHER = {"trained": {"qat_bits": 8}, "continued": {"recipe": "int8", "qat_bits": 0}}
COLUMNS = ("name", "network", "method", "seed", "epochs", "mode", "accuracy", "images", "bytes", "commit", "machine")


@dataclass(frozen=True)
class Run:
    name: str
    seed: int
    epochs: int = EPOCHS

    @property
    def folder(self) -> str:
        return f"{self.name}-{self.seed}" + (f"-{self.epochs}-epochs" if self.epochs != EPOCHS else "")


def train(run: Run, scratch: Path, mode: str) -> Path:
    """The folder of the finished training, which is begun or continued if need be."""
    network, method, options = NETWORKS[run.name]
    start = scratch / run.folder
    out = start.with_name(f"{start.name}-{mode}") if mode in FURTHER else start
    if (out / "result.json").exists():
        return out
    if (out / "config.json").exists():
        el_larq.resume(out)
        return out
    given: dict[str, Any] = {"epochs": run.epochs} | options
    if mode in FURTHER:
        given |= {"init_from": train(run, scratch, "float32") / "model.h5", "epochs": EPOCHS_OF_INT8} | FURTHER[mode]
    el_larq.train(network, method=method, dataset=DATASET, batch_size=BATCH, seed=run.seed, deterministic="off", out=out, **given)
    return out


def measure(run: Run, scratch: Path, mode: str) -> dict[str, Any]:
    from el_larq.converters.job import Options

    folder = train(run, scratch, mode)
    file = scratch / f"{run.folder}-{mode}.tflite"
    el_larq.convert(folder / "model.h5", file, options=Options(verify_images=64, **MODES[mode]))
    found = el_larq.evaluate(file, DATASET, out=scratch / f"{run.folder}-{mode}-evaluation")
    network, method, _ = NETWORKS[run.name]
    values = (run.name, network, method, run.seed, run.epochs, mode, round(found.scores.top1, 4), found.scores.images)
    return dict(zip(COLUMNS, (*values, file.stat().st_size, commit(), machine()), strict=True))


def table(rows: list[dict[str, str]]) -> str:
    by_run: dict[str, dict[str, dict[str, float]]] = {}
    for row in (row for row in rows if int(row["epochs"]) == EPOCHS):
        by_run.setdefault(row["name"], {}).setdefault(row["mode"], {})[row["seed"]] = float(row["accuracy"])
    lines = ["| network | seeds | float32 | " + " | ".join(f"`{mode}`, points" for mode in list(MODES)[1:]) + " |"]
    lines.append("| --- " * (len(MODES) + 2) + "|")
    for name, modes in by_run.items():
        real, cells = modes.get("float32", {}), []
        for mode in list(MODES)[1:]:
            differences = [value - real[seed] for seed, value in modes.get(mode, {}).items() if seed in real]
            cells.append(points(*paired(differences)) if differences else "")
        network, method, _ = NETWORKS[name]
        accuracy = f"{100 * statistics.fmean(real.values()):.2f} %" if real else ""
        lines.append(f"| {network}, {method} | {len(real)} | {accuracy} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    command_line = parser(__doc__, "int8")
    command_line.add_argument("--only", default="", help="only runs whose name contains this text")
    command_line.add_argument("--epochs", type=int, default=EPOCHS, help=f"of each training from scratch; the table is of {EPOCHS}")
    command_line.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    options = command_line.parse_args()
    if options.table:
        print(table(read(options.results)))
        return
    runs = [run for seed in SEEDS for name in NETWORKS if options.only in (run := Run(name, seed, options.epochs)).folder]
    done = {(row["name"], row["seed"], row["epochs"], row["mode"]) for row in read(options.results)}
    if options.list:
        print(*(run.folder for run in runs), sep="\n")
        return
    begin(options.scratch)
    for run in announce(runs):
        for mode in options.modes:
            if (run.name, str(run.seed), str(run.epochs), mode) not in done:
                row = measure(run, options.scratch, mode)
                append(options.results, COLUMNS, row)
                print(f"{run.folder} {mode}: {row['accuracy']}, {row['bytes']:,} bytes", flush=True)


if __name__ == "__main__":
    main()
