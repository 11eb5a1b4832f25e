"""The memory that `el-larq data show` and `el-larq train` take for large pictures, and the time to the first step for many files.

    python benchmarks/large_folders.py [--folder DIR] [--large 10000] [--small 100000]

In DIR, which is kept: 300 crops of four photographs of scikit-image, enlarged to 4000x3000 pixels with noise (JPEG), and 10,000 of
32x32. The rest of each folder are hard links to these, which take neither disk nor time to write; each is decoded as a file of its
own. The peak is the highest resident memory of the command and its descendants, sampled every 10 ms. Training is one epoch of
quicknet_small at a quarter of its width.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import skimage.data
from convert_memory import peak_and_time
from PIL import Image

CLASSES = ("astronaut", "chelsea", "coffee", "rocket")
PROGRAM = Path(sys.executable).parent / "el-larq"

FIRST_STEP = """
import os, sys, time
start = time.perf_counter()
import el_larq
from el_larq.training.progress import TrainingProgress

def step(self, number, logs):
    print(f"{time.perf_counter() - start:.1f} s", flush=True)
    os._exit(0)

TrainingProgress.step = step
el_larq.train("quicknet_small", dataset=sys.argv[1], image_size=32, width=0.25, epochs=1, out=sys.argv[2])
"""


def write_folder(folder: Path, total: int, distinct: int, width: int, height: int) -> None:
    """Write ``total`` pictures, a multiple of the number of classes, if the folder is not there; renamed when it is complete."""
    if folder.exists():
        return
    folder, done = folder.with_name(f"{folder.name}_incomplete"), folder
    shutil.rmtree(folder, ignore_errors=True)
    each = distinct // len(CLASSES)
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        photograph = Image.fromarray(getattr(skimage.data, name)()).convert("RGB")
        for number in range(total // len(CLASSES)):
            path = folder / name / f"{number:06}.jpg"
            if number >= each:
                os.link(folder / name / f"{number % each:06}.jpg", path)
                continue
            draw = random.Random(f"{name} {number}")
            side = draw.randint(96, 220)
            left, top = draw.randint(0, photograph.width - side), draw.randint(0, photograph.height - side)
            part = photograph.crop((left, top, left + side, top + side * height // width))
            pixels = np.asarray(part.resize((width, height), Image.Resampling.BICUBIC), np.int16)
            noise = np.random.default_rng(number).normal(0, 4, (height // 4, width // 4, 1)).repeat(4, 0).repeat(4, 1)
            Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8)).save(path, quality=90)
    folder.rename(done)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("large_folders"))
    parser.add_argument("--large", type=int, default=10_000, help="pictures of 4000x3000 pixels")
    parser.add_argument("--small", type=int, default=100_000, help="pictures of 32x32 pixels")
    parser.add_argument("--image-size", type=int, default=224, help="of the network, for the large pictures")
    arguments = parser.parse_args()
    if arguments.large % len(CLASSES) or arguments.small % len(CLASSES):
        parser.error(f"the numbers of pictures must be divisible by {len(CLASSES)}, the number of classes")
    large, small = arguments.folder / f"large_{arguments.large}", arguments.folder / f"small_{arguments.small}"
    write_folder(large, arguments.large, min(arguments.large, 300), 4000, 3000)
    write_folder(small, arguments.small, min(arguments.small, 10_000), 32, 32)
    size = ["--image-size", str(arguments.image_size)]
    short = ["train", "quicknet_small", "--width", "0.25", "--epochs", "1", "--dataset", f"dir:{large}"]
    for name, words in (
        ("data show", ["data", "show", f"dir:{large}", "-o", str(arguments.folder / "sheet.png"), *size]),
        ("train", [*short, *size, "-o", str(_new(arguments.folder, "run"))]),
    ):
        peak, seconds = peak_and_time([str(PROGRAM), *words], limit=16e9)
        print(f"{name:9} {arguments.large:,} pictures of 4000x3000: {peak / 1e9:.2f} GB, {seconds:.0f} s", flush=True)
    command = [sys.executable, "-c", FIRST_STEP, f"dir:{small}", str(_new(arguments.folder, "first"))]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    print(f"first step of {arguments.small:,} pictures of 32x32: {found} after the start of Python")


def _new(folder: Path, name: str) -> Path:
    """A path at which no run is."""
    return next(path for number in range(1000) if not (path := folder / f"{name}_{number}").exists())


if __name__ == "__main__":
    main()
