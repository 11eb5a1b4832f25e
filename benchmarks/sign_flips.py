"""The signs that would change if the tensors that feed them were int8, with the offset of sign_safe.py and without it.

    el-larq train resnet26 --dataset digits --width 0.25 --epochs 3 -o digits-el
    python benchmarks/sign_flips.py digits-el/model.h5 --dataset digits

Each tensor is quantized alone, and the others stay real: the rate is that of the tensor, without what follows from earlier flips.
Ranges are estimated from training images, and rates are those of test images.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from el_larq.compression.layer_report import HEADINGS, TensorReport, report, rows, to_list
from el_larq.compression.observer import Observer
from el_larq.compression.ranges import RANGES
from el_larq.compression.sign_safe import of_range_for_signs

BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--images", type=int, default=256, help="for the ranges, and as many for the rates")
    parser.add_argument("--layers", action="store_true", help="a row for each tensor, instead of one for each estimator")
    parser.add_argument("--json", action="store_true", help="the tensors as JSON")
    options = parser.parse_args()
    found = dict(_reports(options.model, options.dataset, options.images))
    if options.json:
        print(json.dumps({name: to_list(tensors) for name, tensors in found.items()}, indent=1))
        return
    if options.layers:
        for name, tensors in found.items():
            print(f"{name}\n| {' | '.join(HEADINGS)} |\n{'| --- ' * len(HEADINGS)}|")
            print("".join(f"| {' | '.join(row)} |\n" for row in rows(tensors)))
        return
    print("| range | mean SQNR | signs flipped | with offset |\n| --- | --- | --- | --- |")
    for name, tensors in found.items():
        noise = np.mean([one.sqnr for one in tensors])
        rates = (np.mean([getattr(one, field) for one in tensors]) for field in ("flips", "flips_with_offset"))
        print(f"| {name} | {noise:.1f} dB | {' | '.join(f'{rate:.3%}' for rate in rates)} |")


def _reports(path: Path, dataset: str, images: int) -> Iterator[tuple[str, list[TensorReport]]]:
    """For each estimator of ranges, a report of each tensor that feeds a sign."""
    import el_larq
    from el_larq.converters.discretizations import find_discretizations
    from el_larq.converters.frozen import FrozenModel
    from el_larq.converters.graph import layer_name
    from el_larq.converters.normalized import normalized
    from el_larq.data.dataset_registry import load_dataset

    loaded = el_larq.load_model(path)
    model = normalized(FrozenModel(loaded))
    reals = {sign.real.name: sign.real for sign in find_discretizations(model) if not sign.rounding}
    run = model.fetch(list(reals.values()))
    data = load_dataset(dataset, model.input_shape[0])
    observers = {name: Observer(layer_name(real.op.name, model.name)) for name, real in reals.items()}
    for batch, _ in data.plain_batches("train", BATCH).take(images // BATCH):
        for observer, values in zip(observers.values(), run(batch.numpy()), strict=True):
            observer.update(values)
    tested = [run(batch) for batch in np.array_split(data.test_images(images)[0], max(1, images // BATCH))]
    values = [np.concatenate(parts) for parts in zip(*tested, strict=True)]
    for name, estimated in RANGES.items():
        affines = [of_range_for_signs(*estimated(observer)) for observer in observers.values()]
        yield (
            name,
            [
                report(observer.name, x, affine, feeds_sign=True)
                for observer, x, affine in zip(observers.values(), values, affines, strict=True)
            ],
        )


if __name__ == "__main__":
    main()
