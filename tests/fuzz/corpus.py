"""A corpus of damaged and hostile files, made from seeds/ by a script with a seed: the same files on every machine.

    python tests/fuzz/corpus.py FOLDER [--seed N] [--run]

``--run`` also gives each file to the commands that open it, and prints their faults.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import damage
import hostile

SEEDS = Path(__file__).parent / "seeds"
DATA = Path(__file__).parents[1] / "data"

SEED = 20
COUNTS = {"h5": 105, "keras": 105, "saved_model": 60, "tflite": 120, "image": 60, "run": 60, "resume": 24, "annotations": 96}
"""Files with random damage, by kind; those of `hostile` come in addition."""


@dataclass(frozen=True)
class Case:
    """A damaged file or folder, and the arguments of the commands that open it, in which OUT is a file to write."""

    name: str
    kind: str
    path: Path
    commands: tuple[tuple[str, ...], ...]


def write(
    folder: Path, seed: int = SEED, counts: dict[str, int] | None = None, hostile_kinds: Sequence[str] | None = None
) -> list[Case]:
    """Write the corpus, or a part of it, into an empty folder; the same files for the same seed."""
    cases: list[Case] = []
    for kind, count in (COUNTS if counts is None else counts).items():
        for number in range(count):
            name = f"{kind}-{number:03}"
            chance = random.Random(f"{seed} {name}")
            path = damage.MAKERS[kind](SEEDS, folder, name, chance, number)
            cases.append(Case(name, kind, path, _commands(kind, path, number)))
    for kind, name, path in hostile.write_all(SEEDS, DATA, folder, hostile_kinds):
        commands = _commands(kind, path, 0)
        if kind in ("h5", "keras", "saved_model"):
            commands = (("convert", str(path), "-o", "OUT.tflite", "--json"), ("inspect", str(path), "--json"))
        if "crash" in name:
            commands = (("benchmark", str(path), "--runs", "1", "--warmup", "0", "-o", "OUT", "--json"),)
        cases.append(Case(name, kind, path, commands))
    return cases


def _commands(kind: str, path: Path, number: int) -> tuple[tuple[str, ...], ...]:
    """Every file is given to a cheap command; some also to commands that start interpreters and converters."""
    file, image = str(path), str(SEEDS / "image.png")
    if kind == "image":
        return (("predict", str(SEEDS / "model.h5"), file, "--json"),)
    if kind == "annotations":
        form = path.name.rsplit("-", 1)[1].replace("yaml", "yolo")
        return (("data", "show", f"{form}:{file}", "-o", "OUT.png", "--count", "2", "--json"),)
    if kind == "resume":
        return (("train", "--resume", file, "--json"),)
    if kind == "run":
        return (("report", file, "-o", "OUT.html", "--json"),)
    inspect = ("inspect", file, "--json", *(("--plot", "OUT.svg") if number % 10 == 9 else ()))
    if kind == "tflite":
        more = (
            [("report", file, "-o", "OUT.html", "--json")]
            if number % 2
            else [("export-weights", file, "--binary", "-o", "OUT.npz")]
        )
        if number % 15 == 0:
            more = [("predict", file, image, "--json")]
        if number == 7:
            more = [("evaluate", file, "--images", "8", "--workers", "1", "-o", "OUT", "--json")]
        return (inspect, *more)
    more = []
    if number % 6 == 1:
        more = [("convert", file, "-o", "OUT.tflite", "--verify-images", "8", "--json")]
    elif number % 6 == 2:
        more = [("predict", file, image, "--json")]
    elif number % 12 == 3:
        more = [("evaluate", file, "--dataset", "digits", "--images", "8", "-o", "OUT", "--json")]
    return (inspect, *more)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--run", action="store_true")
    parser.add_argument("--only", default="", help="names that contain this")
    arguments = parser.parse_args()
    files = arguments.folder / "files"
    files.mkdir(parents=True)
    cases = [case for case in write(files, arguments.seed) if arguments.only in case.name]
    print(f"{len(cases)} files in {files}")
    if not arguments.run:
        return
    import runner

    with runner.Runner(arguments.folder) as run:
        for case in cases:
            for outcome in run.case(case):
                mark = "; ".join(outcome.faults) or "ok"
                done = f"{outcome.command[0]:10} {outcome.status} {outcome.seconds:5.1f} s"
                print(f"{case.name:24} {done}  {mark}  {outcome.error[-160:]}", flush=True)
        print(
            f"{run.commands} commands, {run.faults} faults, peak memory {run.peak / 2**20:.0f} MiB, {run.starts} worker processes"
        )


if __name__ == "__main__":
    main()
