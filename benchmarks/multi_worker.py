"""Images per second of a training in one process, and of two workers on this machine with the same global batch.

    python benchmarks/multi_worker.py [--network resnet26] [--width 0.25] [--dataset digits] [--batch-size 128] [--epochs 6]

Both workers share this machine's cores and exchange gradients over the loopback interface, so this shows the cost of the exchange,
not what a second machine gains. Trainings take turns (one, two, one, two); the first epoch of each, in which TensorFlow traces the
step, is left out. Seconds are those of metrics.jsonl, with saved states. On a busy machine only the ratio means much.
"""

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS = 2


def free_addresses(count: int) -> str:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = ",".join(f"127.0.0.1:{each.getsockname()[1]}" for each in sockets)
    for each in sockets:
        each.close()
    return found


def train(arguments: list[str], workers: int, folder: Path) -> list[float]:
    """Train; returns the seconds of the epochs."""
    command = [str(Path(sys.executable).parent / "el-larq"), "train", *arguments, "-o", str(folder)]
    extra: list[list[str]] = [[]]
    if workers > 1:
        cluster = ["--strategy", "multi-worker", "--workers", free_addresses(workers), "--worker-index"]
        extra = [[*cluster, str(index)] for index in range(workers)]
    processes = [
        subprocess.Popen([*command, *more], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) for more in extra
    ]
    for process in processes:
        _, errors = process.communicate()
        if process.returncode:
            sys.exit(errors)
    return [json.loads(line)["seconds"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet26")
    parser.add_argument("--width", default="0.25")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=6)
    given = parser.parse_args()
    arguments = [given.network, "--width", given.width, "--dataset", given.dataset, "--validation", "0"]
    arguments += ["--batch-size", str(given.batch_size), "--epochs", str(given.epochs)]
    import el_larq

    images = el_larq.load_dataset(given.dataset).train_size // given.batch_size * given.batch_size
    rates: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as place:
        for turn in range(ROUNDS):
            for workers, found in rates.items():
                found += [images / seconds for seconds in train(arguments, workers, Path(place) / f"{turn}-{workers}")[1:]]
    one, two = (statistics.median(found) for found in rates.values())
    print(f"{given.network}, width {given.width}, {given.dataset}, global batch {given.batch_size}")
    print(f"one process: {one:.1f} images a second; two workers on this machine: {two:.1f}; ratio {two / one:.2f}")


if __name__ == "__main__":
    main()
