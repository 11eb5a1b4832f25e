"""Experiments of many runs: their command line, a CSV file of results with a line per run, and statistics over seeds."""

import argparse
import csv
import io
import math
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

ROOT = Path(__file__).resolve().parents[1]


class HasFolder(Protocol):
    @property
    def folder(self) -> str: ...


Run = TypeVar("Run", bound=HasFolder)


def parser(description: str | None, name: str) -> argparse.ArgumentParser:
    """The options that all experiments have."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--results", type=Path, default=ROOT / f"docs/results/{name}.csv")
    made.add_argument("--scratch", type=Path, default=ROOT / f"build/{name}", help="folder for the runs under way")
    made.add_argument("--list", action="store_true", help="print what would run, and end")
    made.add_argument("--table", action="store_true", help="print the table of the results, and end")
    return made


def begin(scratch: Path) -> None:
    """Make the folder for the runs, and leave the processor to other programs."""
    os.nice(19)
    scratch.mkdir(parents=True, exist_ok=True)


def announce(runs: Sequence[Run]) -> Iterator[Run]:
    """The runs, one after the other; its folder's name is printed when its turn comes."""
    for number, run in enumerate(runs, 1):
        print(f"{time.strftime('%H:%M:%S')} {number} of {len(runs)}: {run.folder}", flush=True)
        yield run


def read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def append(path: Path, columns: tuple[str, ...], row: dict[str, Any]) -> None:
    """Add a line. The file is replaced as a whole, so that it is never incomplete."""
    from el_larq.files import write_bytes

    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows([*read(path), row])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, text.getvalue().encode())


def machine() -> str:
    """The processor and the number of cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} x {names[0] if names else platform.processor() or platform.machine()}"


def commit() -> str:
    """The commit, with "+" if the sources differ from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--", "el_larq", "models", "benchmarks")
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def paired(differences: list[float]) -> tuple[float, float | None]:
    """Mean of paired differences d_s, and half the width of its 95 % interval; None for a single difference.

        m = mean(d)        interval = m -+ t(0.975, n - 1) * std(d) / sqrt(n)

    with the sample standard deviation (n - 1) and Student's t. The interval contains the true mean difference over seeds with
    probability 0.95 if differences are normally distributed.
    """
    from scipy.stats import t

    n, mean = len(differences), statistics.fmean(differences)
    if n < 2:
        return mean, None
    return mean, float(t.ppf(0.975, n - 1)) * statistics.stdev(differences) / math.sqrt(n)


def points(mean: float, half: float | None) -> str:
    """A difference of accuracies from 0 to 1 in points, with its interval."""
    text = f"{100 * mean:+.2f}"
    if half is not None:
        text += f" [{100 * (mean - half):+.2f}, {100 * (mean + half):+.2f}]"
    return text
