"""Accuracy of ResNet26 with several methods over several seeds, with the demo's recipe on `photos`.

    python benchmarks/seeds.py [--methods el,binary] [--seeds 0,1,2] [-- ARGUMENTS of el-larq train]

Prints one line when a run ends, then mean and range by method. Each run is a separate process.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default="el,binary")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("arguments", nargs="*", help="further arguments of el-larq train, after --")
    options = parser.parse_args()
    program = str(Path(sys.executable).with_name("el-larq"))
    accuracies: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in options.seeds.split(","):
            for method in options.methods.split(","):
                command = [program, "train", "resnet26", "--method", method, "--width", "0.25", "--recipe", "demo"]
                command += ["--seed", seed, "--json", "-o", f"{folder}/{method}-{seed}", *options.arguments]
                result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
                accuracies.setdefault(method, []).append(result["accuracy"])
                print(f"{method:8} seed {seed}: {result['accuracy']:.4f} in {result['seconds']:.0f} s", flush=True)
    for method, values in accuracies.items():
        print(f"{method:8} mean {statistics.fmean(values):.4f}, from {min(values):.4f} to {max(values):.4f}")


if __name__ == "__main__":
    main()
