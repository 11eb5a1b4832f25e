"""The time of `el-larq --help` and `el-larq train --help`, compared with `python -c "import click"`.

python benchmarks/startup.py
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 15


def main() -> None:
    program = str(Path(sys.executable).with_name("el-larq"))
    commands = {
        'python -c "import click"': [sys.executable, "-c", "import click"],
        "el-larq --help": [program, "--help"],
        "el-larq train --help": [program, "train", "--help"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            times[name].append(time.perf_counter() - start)
    base = statistics.median(times['python -c "import click"'])
    for name, values in times.items():
        print(f"{name:28} {1e3 * statistics.median(values):7.1f} ms   ratio {statistics.median(values) / base:.2f}")


if __name__ == "__main__":
    main()
