"""`el-larq predict`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from el_larq.cli.common import (
    MODEL,
    common_options,
    complete_from,
    import_layers,
    model_options,
    output_option,
    preprocessing_options,
    print_json,
    say,
    show,
    start_tensorflow,
)
from el_larq.cli.found_objects import check_pictures, picture_names, show_objects
from el_larq.cli.interruption import interruptible
from el_larq.detection.non_maximum_suppression import SHOWN_SCORE
from el_larq.printable import counted

if TYPE_CHECKING:
    from el_larq.devices.remote_inference import RemoteProgram
    from el_larq.devices.target import Target
    from el_larq.evaluation.open_model import Opened
    from el_larq.evaluation.predict import Prediction


@click.command()
@click.argument("model", type=MODEL)
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Number of classes to show.")
@click.option(
    "--target",
    shell_complete=complete_from("el_larq.devices.targets:TARGETS"),
    help="Classify on a device, and compare with this machine: ssh://user@host[:port], android[:SERIAL] or local.",
)
@click.option(
    "--binary",
    type=click.Path(path_type=Path),
    envvar="EL_LARQ_CLASSIFY",
    show_envvar=True,
    help="With --target: docs/embed's program classify, built for the device.",
)
@click.option(
    "--timeout", type=click.FloatRange(1), default=600, show_default=True, help="With --target: seconds for 8 MiB of inputs."
)
@click.option("--folder", help="With --target: directory on the device for temporary files. [default: chosen automatically]")
@click.option("--ssh-config", type=click.Path(path_type=Path), help="ssh configuration file. [default: ~/.ssh/config]")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="For detectors: the picture to write, .png or .jpg, with boxes; for several images or a folder, a folder of pictures.",
)
@click.option(
    "--score-threshold",
    type=click.FloatRange(0, 1),
    default=SHOWN_SCORE,
    show_default=True,
    help="For detectors: boxes with a lower score are left out.",
)
@output_option
@preprocessing_options
@model_options
@common_options
def command(
    model: Path,
    images: tuple[Path, ...],
    top: int,
    target: str | None,
    binary: Path | None,
    timeout: float,
    folder: str | None,
    ssh_config: Path | None,
    out: Path | None,
    score_threshold: float,
    output: str | None,
    modules: tuple[str, ...],
    trust: bool,
    as_json: bool,
    **statements: Any,
) -> None:
    """Classify IMAGES, or find objects in them, with MODEL (.h5, .keras, SavedModel, .tflite, zoo:NAME or a run folder).

    \b
    el-larq predict classifier.tflite image.jpg
    el-larq predict detector.tflite image.jpg -o boxes.png

    Of a folder, all images are taken. An image that cannot be read is named, and the exit status is then 1. With --target, a
    .tflite runs on a device too; the exit status is 1 if the device names other classes than this machine.
    """
    from el_larq.data.preprocessing import open_image
    from el_larq.data.stated import stated
    from el_larq.errors import ElLarqError, UsageError
    from el_larq.evaluation.predict import find_images
    from el_larq.zoo.named_models import check_model

    stated(**statements)
    check_model(model)
    if target is None:
        _check_without_target()
    else:
        for name in _given("out", "score_threshold"):
            raise UsageError(f"--{name} is for detectors, of which --target runs none; omit one of them")
    if out is not None:
        check_pictures(out, model, images)
    device = None if target is None else _open_device(model, target, binary, timeout, folder, ssh_config)
    files = find_images(images)
    pictures = {} if out is None else picture_names(out, model, images, files)
    readable, unreadable = [], {}
    for image in files:
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
            say(f"left out: {error}")
    failed = [{"image": image, "error": error} for image, error in unreadable.items()]
    if not readable:
        if as_json:
            print_json(failed)
        raise ElLarqError(failure)
    if device is not None:
        _predict_on_device(model, readable, device, failed, as_json, output=output, top=top, trust=trust, **statements)
    else:
        if model.suffix != ".tflite":  # a .tflite runs in a separate process
            start_tensorflow()
            import_layers(modules)
        from el_larq.evaluation.open_model import open_model
        from el_larq.zoo.named_models import find_model

        with open_model(find_model(model), output, trust=trust, note=_warn, **statements) as opened:
            if opened.detect is None:
                _check_kind("is a classifier", "out", "score_threshold")
                _show_classes(opened, readable, top, failed, as_json)
            else:
                _check_kind("is a detector", "top")
                show_objects(opened, readable, score_threshold, out, pictures, failed, as_json)
    if unreadable:
        raise ElLarqError(f"{failure}; the results are those of the others")


def _show_classes(opened: "Opened", images: list[Path], top: int, failed: list[dict[str, str]], as_json: bool) -> None:
    from el_larq.evaluation.predict import classes_of

    predictions = classes_of(opened, images, top)
    if as_json:
        print_json([*(asdict(prediction) for prediction in predictions), *failed])
    else:
        for prediction in predictions:
            _show(prediction)


def _warn(line: str) -> None:
    say(f"warning: {line}")


def _show(prediction: "Prediction") -> None:
    show(prediction.image)
    for label, probability in prediction.top:
        show(f"  {probability:6.1%}  {label}")


def _check_without_target() -> None:
    from el_larq.errors import UsageError

    for name in _given("binary", "timeout", "folder", "ssh_config"):
        raise UsageError(f"--{name} has no effect without --target; give a target, or omit it")


def _check_kind(kind: str, *names: str) -> None:
    """Refuse options for models of the other kind."""
    from el_larq.errors import UsageError

    context = click.get_current_context()
    for name in _given(*names):
        raise UsageError(f"{context.params['model']}: {kind}, for which --{name} has no effect; omit it")


def _given(*names: str) -> list[str]:
    """Those of the parameters that are on the command line, as options are spelled."""
    context = click.get_current_context()
    given = [name for name in names if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    return [name.replace("_", "-") for name in given]


def _open_device(
    model: Path, target: str, binary: Path | None, timeout: float, folder: str | None, ssh_config: Path | None
) -> "tuple[Target, RemoteProgram]":
    """The target and the program for it, checked as far as possible without a connection."""
    from el_larq.devices import engine
    from el_larq.devices.program import CLASSIFIER
    from el_larq.devices.remote_inference import RemoteProgram
    from el_larq.devices.targets import open_target
    from el_larq.errors import UsageError

    opened = open_target(target, ssh_config=ssh_config)
    if model.suffix != ".tflite":
        raise UsageError(f"{model}: only a .tflite runs on a device; make one with el-larq convert")
    if binary is None:
        raise UsageError(
            "--target needs docs/embed's program classify, built for the device; give it with --binary PATH or in EL_LARQ_CLASSIFY"
        )
    engine.read_elf(binary, CLASSIFIER)
    return opened, RemoteProgram(binary, timeout, folder)


def _predict_on_device(
    model: Path,
    images: list[Path],
    device: "tuple[Target, RemoteProgram]",
    failed: list[dict[str, str]],
    as_json: bool,
    **options: Any,
) -> None:
    from el_larq.comparison.device_predictions import agreement_error, predict_on_device
    from el_larq.errors import ElLarqError

    target, program = device
    with interruptible():
        found = predict_on_device(model, images, target, program, note=_warn, notify=say, **options)
    if as_json:
        entries = [
            asdict(one.device) | {"host": one.host.top, "difference": one.difference, "same_class": one.agrees} for one in found
        ]
        print_json([*entries, *failed])
    else:
        for one in found:
            _show(one.device)
            here = "the same class" if one.agrees else f"{one.host.top[0][0]} ({one.host.top[0][1]:.1%})"
            show(f"  this machine: {here}, largest difference {one.difference:.1e}")
        same, largest = sum(one.agrees for one in found), max(one.difference for one in found)
        show(f"{target.name} and this machine: the same class for {same} of {counted(len(found), 'image')};")
        show(f"outputs differ by at most {largest:.1e} of the largest output")
    if error := agreement_error(found, target.name):
        raise ElLarqError(error)
