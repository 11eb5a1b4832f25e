"""Few bits and few weights: MobileNetV2 on Fashion-MNIST, with 4 bits simulated, and pruned in an int8 file.

    python benchmarks/low_bits.py [--only TEXT] [--scratch build/low_bits] [--results docs/results/low_bits.csv]
    python benchmarks/low_bits.py --list     what would run, in order
    python benchmarks/low_bits.py --table    the table of docs/guideline.md

Each seed trains a float parent, and from it, for as many further epochs, each of `MODES`. The control is `continued`, the parent
trained as long in float32. Width and number of training images are reduced, so that all runs together take minutes; a training that
was stopped resumes. Accuracies are of the whole test split: of the .tflite, or of the simulation where a mode has fewer than 8 bits
and no file. The file with int4 kernels is measured of a training that is finished already, if the folder of `--scratch` has it.
"""

import gzip
import json
import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from recorded_runs import announce, append, commit, machine, paired, parser, points, read

import el_larq
from el_larq.converters.guideline.guideline_options import Guideline
from el_larq.tflite.reader import parse
from el_larq.training.recipe import Recipe
from el_larq.training.recipes import RECIPES

NETWORK, DATASET, WIDTH, BATCH, IMAGES = "mobilenet_v2", "fashion_mnist", 0.35, 64, 6_400
SEEDS, EPOCHS, FURTHER = (0, 1, 2), 4, 2
CONTINUED: dict[str, Any] = {"recipe": "int8", "qat_bits": 0}


def pruned(how: str) -> dict[str, Any]:
    """The recipe `prune-quantize` without its middle stage: half of the epochs each."""
    first, _, last = RECIPES["prune-quantize"].stages
    stages = (
        replace(first, epochs=FURTHER // 2, prune=how),
        replace(last, epochs=FURTHER - FURTHER // 2, start="prune"),
    )
    return {"recipe": Recipe.of_stages("prune-quantize", f"prune {how}", stages), "epochs": FURTHER}


MODES: dict[str, dict[str, Any]] = {
    "parent": {},
    "continued": CONTINUED,
    "4 bits, learned": {"qat_bits": 4},
    "30 % of weights, int8": pruned("magnitude"),
    "continued, int8": CONTINUED,
    "4 bits, learned, int4": {"qat_bits": 4},
    "4 bits, averaged": {"qat_bits": 4, "qat_ranges": "averaged"},
    "30 % of channels, int8": pruned("channels"),
}
SAME = {"continued, int8": "continued", "4 bits, learned, int4": "4 bits, learned"}
"""Another file of the same training."""
INT8: dict[str, Any] = {"int8": "full", "calibrate": DATASET}
INT4: dict[str, Any] = INT8 | {"guideline": Guideline(kernel_bits=4)}
IN_A_FILE: dict[str, dict[str, Any]] = {"parent": {}, "continued": {}}
IN_A_FILE |= {mode: INT4 if mode.endswith("int4") else INT8 for mode in MODES if mode.endswith(("int8", "int4"))}
"""The modes that are measured in a .tflite, and the options of its conversion."""
COLUMNS = ("mode", "seed", "epochs", "accuracy", "simulated", "sparsity", "bytes", "gzip_bytes", "seconds", "commit", "machine")


@dataclass(frozen=True)
class Run:
    mode: str
    seed: int

    @property
    def folder(self) -> str:
        return f"{self.mode.replace(', ', '-').replace(' %', '').replace(' ', '_')}-{self.seed}"


def data() -> Any:
    """The first IMAGES training images; the test split is whole."""
    whole: Any = el_larq.load_dataset(DATASET).without_validation()
    return replace(whole, train=whole.train.part(np.arange(IMAGES)))


def train(run: Run, scratch: Path) -> Any:
    """The finished training, which is begun or continued if need be."""
    out = scratch / Run(SAME.get(run.mode, run.mode), run.seed).folder
    if (out / "config.json").exists():
        return el_larq.resume(out, dataset=data(), notify=print)
    given: dict[str, Any] = {"recipe": "demo", "epochs": EPOCHS}
    if run.mode != "parent":
        given = {"init_from": scratch / Run("parent", run.seed).folder, "epochs": FURTHER} | MODES[run.mode]
    return el_larq.train(
        NETWORK,
        dataset=data(),
        width=WIDTH,
        batch_size=BATCH,
        seed=run.seed,
        validation=0.0,
        deterministic="off",
        out=out,
        notify=print,
        **given,
    )


def measure(run: Run, scratch: Path) -> dict[str, Any]:
    from el_larq.converters.job import Options

    trained = train(run, scratch)
    row: dict[str, Any] = {"mode": run.mode, "seed": run.seed, "epochs": EPOCHS + (run.mode != "parent") * FURTHER}
    if run.mode in IN_A_FILE:
        file = scratch / f"{run.folder}.tflite"
        el_larq.convert(trained.h5, file, options=Options(verify_images=64, **IN_A_FILE[run.mode]))
        found = el_larq.evaluate(file, DATASET, out=scratch / f"{run.folder}-evaluation")
        content = file.read_bytes()
        row |= {"accuracy": round(found.scores.top1, 4), "sparsity": round(sparsity(content), 4)}
        row |= {"bytes": len(content), "gzip_bytes": len(gzip.compress(content, 9))}
    else:
        row |= {"accuracy": round(trained.accuracy, 4), "simulated": _simulated(trained.folder)}
    return row | {"seconds": round(trained.seconds), "commit": commit(), "machine": machine()}


def sparsity(content: bytes) -> float:
    """The share of exact zeros in the kernels of a .tflite that are pruned: of convolutions but the first, and dense layers."""
    operators = [one for one in parse(content).operators if one.name in ("CONV_2D", "FULLY_CONNECTED")]
    kernels = [one.inputs[1].array() for one in operators[1:] if one.inputs[1] is not None]
    return sum(int((kernel == 0).sum()) for kernel in kernels) / sum(kernel.size for kernel in kernels)


def _simulated(folder: Path) -> float:
    return next(round(value, 4) for name, value in json.loads((folder / "result.json").read_text()).items() if "simulated" in name)


def table(rows: list[dict[str, str]]) -> str:
    by_mode: dict[str, dict[str, float]] = {}
    for row in rows:
        by_mode.setdefault(row["mode"], {})[row["seed"]] = float(row["simulated"] or row["accuracy"])
    control = by_mode.get("continued", {})
    lines = ["| mode | seeds | accuracy | points to `continued`, 95 % interval |", "| --- | --- | --- | --- |"]
    for mode, values in by_mode.items():
        differences = [value - control[seed] for seed, value in values.items() if seed in control and mode != "continued"]
        accuracy = f"{100 * statistics.fmean(values.values()):.2f} %"
        lines.append(f"| {mode} | {len(values)} | {accuracy} | {points(*paired(differences)) if differences else ''} |")
    return "\n".join(lines)


def main() -> None:
    command_line = parser(__doc__, "low_bits")
    command_line.add_argument("--only", default="", help="only runs whose name contains this text")
    options = command_line.parse_args()
    if options.table:
        print(table(read(options.results)))
        return
    done = {(row["mode"], row["seed"]) for row in read(options.results)}
    runs = [run for seed in SEEDS for mode in MODES if options.only in (run := Run(mode, seed)).folder]
    runs = [run for run in runs if (run.mode, str(run.seed)) not in done]
    if options.list:
        print(*(run.folder for run in runs), sep="\n")
        return
    options.scratch.mkdir(parents=True, exist_ok=True)
    for run in announce(runs):
        row = measure(run, options.scratch)
        append(options.results, COLUMNS, row)
        print(f"{run.folder}: {row}", flush=True)


if __name__ == "__main__":
    main()
