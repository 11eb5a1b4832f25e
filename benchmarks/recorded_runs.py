"""Results of experiments: a CSV file with a line per run, and statistics over seeds."""

import csv
import io
import math
import os
import platform
import statistics
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


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
