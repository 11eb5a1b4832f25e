"""A head on a frozen backbone: features computed once against features at each step.

    python benchmarks/frozen_backbone.py [--images 1000] [--size 224] [--epochs 10] [--network quicknet]

Makes a folder of photographs (those of `photos`, enlarged), trains the network's backbone for one step so that it is a trained
model with a card, then trains the head alone: on features that are computed once, and with the whole network at each step. Prints
seconds, peak resident memory of each process, and the largest difference of the head's weights relative to their largest value.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

CHILD = "--child"


def make_folder(folder: Path, count: int, size: int) -> None:
    """``count`` training images and a fifth of that for testing, of all classes in turn, as JPEG files."""
    from PIL import Image

    import el_larq

    data = el_larq.load_dataset("photos")
    split = data.train
    by_class = [np.flatnonzero(split.labels == label) for label in range(data.num_classes)]
    for role, number, first in (("train", count, 0), ("test", count // 5, count)):
        for index in range(first, first + number):
            label = index % data.num_classes
            repetition, place = divmod(index // data.num_classes, len(by_class[label]))
            pixels = split.images[by_class[label][place]]
            path = folder / role / data.labels[label] / f"{index}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            # Another part of the enlarged image for each repetition, so that no two files are equal.
            enlarged = Image.fromarray(pixels.squeeze()).convert("RGB").resize((size + 64, size + 64), Image.Resampling.BICUBIC)
            at = 7 * repetition % 64
            enlarged.crop((at, at, at + size, at + size)).save(path, quality=90)


def train_head(folder: Path, source: Path, out: Path, size: int, epochs: int, network: str, cached: bool) -> None:
    import el_larq
    from el_larq.training import features
    from el_larq.training.recipe import Recipe

    if not cached:
        features.MAX_BYTES = 0
    recipe = Recipe("head", "", epochs=epochs, batch_size=64, learning_rate=1e-2, freeze="backbone")
    began = time.perf_counter()
    el_larq.train(
        network,
        dataset=f"dir:{folder},augment=none",
        image_size=size,
        recipe=recipe,
        init_from=source,
        out=out,
        notify=lambda line: print(line, file=sys.stderr),
    )
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--network", default="quicknet")
    parser.add_argument(CHILD, nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        folder, source, out, cached = given.child
        train_head(Path(folder), Path(source), Path(out), given.size, given.epochs, given.network, cached == "1")
        return
    import el_larq
    from el_larq.training.recipe import Recipe

    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        make_folder(root / "pictures", given.images, given.size)
        make_folder(root / "few", 200, given.size)
        start = el_larq.train(
            given.network,
            dataset=f"dir:{root / 'few'}",
            image_size=given.size,
            recipe=Recipe("start", "", epochs=1, batch_size=32, learning_rate=1e-2),
            validation=0.0,
            out=root / "start",
        )
        heads = {}
        for name, cached in (("once", "1"), ("each step", "0")):
            child = [sys.executable, __file__, CHILD, str(root / "pictures"), str(start.folder), str(root / name), cached]
            child += ["--size", str(given.size), "--epochs", str(given.epochs), "--network", given.network]
            found = json.loads(subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
            print(f"features {name}: {found['seconds']:.1f} s, peak {found['peak'] / 1e9:.2f} GB", flush=True)
            model: Any = el_larq.load_model(root / name / "model.h5")
            heads[name] = model.get_layer("logits").get_weights()
        pairs = list(zip(heads["once"], heads["each step"], strict=True))
        print(f"largest difference, of the largest weight: {max(np.abs(a - b).max() / np.abs(b).max() for a, b in pairs):.1e}")


if __name__ == "__main__":
    main()
