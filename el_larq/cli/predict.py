"""`el-larq predict`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from el_larq.cli.common import (
    MODEL,
    common_options,
    import_layers,
    model_options,
    output_option,
    preprocessing_options,
    print_json,
    say,
    show,
    start_tensorflow,
)
from el_larq.printable import counted


@click.command()
@click.argument("model", type=MODEL)
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Number of classes to show.")
@output_option
@preprocessing_options
@model_options
@common_options
def command(
    model: Path,
    images: tuple[Path, ...],
    top: int,
    output: str | None,
    modules: tuple[str, ...],
    trust: bool,
    as_json: bool,
    **statements: Any,
) -> None:
    """Classify IMAGES with MODEL (.h5, .keras, SavedModel, .tflite, zoo:NAME or a run folder).

    Of a folder, all images are taken. An image that cannot be read is named, and the exit status is then 1.
    """
    from el_larq.data.preprocessing import open_image
    from el_larq.data.stated import stated
    from el_larq.errors import ElLarqError
    from el_larq.evaluation.predict import find_images
    from el_larq.zoo.named_models import check_model

    stated(**statements)
    check_model(model)
    readable, unreadable = [], {}
    for image in find_images(images):
        try:
            open_image(image)
            readable.append(image)
        except ElLarqError as error:
            unreadable[str(image)] = str(error)
    if len(unreadable) == 1 and not readable:
        raise ElLarqError(*unreadable.values())
    failure = f"{len(unreadable)} of {counted(len(unreadable) + len(readable), 'image')} cannot be read"
    for error in unreadable.values():
        if not as_json:
            say(f"not classified: {error}")
    failed = [{"image": image, "error": error} for image, error in unreadable.items()]
    if not readable:
        if as_json:
            print_json(failed)
        raise ElLarqError(failure)
    if model.suffix != ".tflite":  # a .tflite runs in a separate process
        start_tensorflow()
        import_layers(modules)
    from el_larq.evaluation.predict import predict

    predictions = predict(
        model, readable, output=output, top=top, trust=trust, note=lambda line: say(f"warning: {line}"), **statements
    )
    if as_json:
        print_json([*(asdict(prediction) for prediction in predictions), *failed])
    else:
        for prediction in predictions:
            show(prediction.image)
            for label, probability in prediction.top:
                show(f"  {probability:6.1%}  {label}")
    if unreadable:
        raise ElLarqError(f"{failure}; the others are classified")
