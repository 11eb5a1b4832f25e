"""`el-larq data`."""

from pathlib import Path

import click

from el_larq.cli.common import common_options, data_dir_option, print_json, print_table, say, show, start_tensorflow, strict_option
from el_larq.printable import counted

_CLASSES = 40


@click.group()
def command() -> None:
    """Inspect a data set before training on it. Takes --json and -v, --verbose."""


@command.command("show")
@click.argument("dataset")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="The contact sheet to write: .png or .jpg.")
@click.option("--count", type=click.IntRange(1, 400), default=49, show_default=True, help="Number of images on the sheet.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the order and the augmentation, as in training.")
@click.option("--image-size", type=int, help="Height and width in pixels. [default: the data set's]")
@click.option("--augment", help="none, shift, shift-mirror, crop, crop-mirror or imagenet. [default: the data set's]")
@data_dir_option
@strict_option
@common_options
def show_sheet(
    dataset: str,
    out: Path,
    count: int,
    seed: int,
    image_size: int | None,
    augment: str | None,
    data_dir: Path | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Draw a contact sheet of DATASET as training sees it, with boxes if it has any, and print class counts, mean and std.

    \b
    el-larq data show dir:my_data -o sheet.png
    el-larq data show voc:VOCdevkit -o sheet.png --count 16
    """
    from el_larq.data.dataset_registry import check_dataset, load_dataset
    from el_larq.data.names import folders, with_options
    from el_larq.files import atomic_path
    from el_larq.outputs import JPEG, PNG, check_output

    name = with_options(dataset, data_dir, augment)
    kind = check_output(out, PNG, JPEG, inputs=folders(name))
    check_dataset(name, task=None)

    start_tensorflow()
    from el_larq.data.sheet import draw
    from el_larq.data.validation import SHARE
    from el_larq.detection.drawing import annotator

    data = load_dataset(name, image_size, strict=strict, notify=say, task=None)
    detection = data.task == "detection"
    sheet = draw(data, count, seed, annotator(data.labels) if detection else None)
    with atomic_path(out, kind.check_replaceable) as temporary:
        sheet.picture.save(temporary)
    counts = data.class_counts()
    how = data.preprocessing
    facts = {
        "sheet": str(out),
        "dataset": data.name,
        "task": data.task,
        "image_size": how.height,
        "channels": how.channels,
        "images": {split: len(images) for split, images in data.splits.items()},
        "classes": {split: dict(zip(data.labels, of, strict=True)) for split, of in counts.items()} if counts else None,
        "mean": sheet.mean,
        "std": sheet.std,
        "measured_images": sheet.images,
        "skipped": list(data.skipped),
        "fingerprint": data.fingerprint,
        "preprocessing": how.to_dict(),
    }
    if as_json:
        print_json(facts)
        return
    if counts:
        rows = list(zip(data.labels, *counts.values(), strict=True))
        show(f"{data.name}: {len(rows)} classes" + (f", the first {_CLASSES}" if len(rows) > _CLASSES else ""))
        print_table("objects" if detection else "images", ("class", *counts), rows[:_CLASSES])
    else:
        show(f"{data.name}: {data.num_classes} classes, not counted, since the data set is read from disk during training")
    uses = {"train": "training", "validation": "validation", "test": "testing"}
    sizes = ", ".join(f"{len(images):,} for {uses[split]}" for split, images in data.splits.items())
    show(f"images     {sizes}, {how.height}x{how.width}x{how.channels}")
    if data.validation is None:
        show(f"validation el-larq train holds out {SHARE:.0%} of the training images, unless --validation is given")
    show(f"mean       {'  '.join(f'{value:.1f}' for value in sheet.mean)}  (of 255, {sheet.images:,} augmented training images)")
    show(f"std        {'  '.join(f'{value:.1f}' for value in sheet.std)}")
    if data.skipped:
        show(f"skipped    {counted(len(data.skipped), 'image')} that cannot be read")
    show(f"sheet      {out}")
