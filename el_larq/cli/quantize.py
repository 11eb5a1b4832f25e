"""`el-larq quantize`."""

from pathlib import Path
from typing import Any

import click

from el_larq.cli.common import (
    MODEL,
    common_options,
    model_options,
    preprocessing_options,
    print_table,
    show,
    start_tensorflow,
)
from el_larq.cli.conversion import (
    calibration_images_option,
    image_size_option,
    out_option,
    print_steps,
    say_steps,
    step_details,
    verify_on_option,
)
from el_larq.converters.guideline.guideline_options import ADAROUND, BIAS, KERNEL_BITS, RECIPES, STEPS

_WORST = 5
"""The number of layers that are shown."""


@click.command(epilog="Steps: " + "; ".join(f"{name}: {text}" for name, text in STEPS.items()) + ".")
@click.argument("model", type=MODEL)
@out_option
@click.option(
    "--calibrate",
    metavar="DATA",
    required=True,
    help="Measure ranges on the training images of a data set, or on a .npy file of inputs.",
)
@calibration_images_option
@click.option(
    "--recipe",
    type=click.Choice(RECIPES),
    default=RECIPES[0],
    show_default=True,
    help="guideline: all steps; minmax: ranges from the extremes only.",
)
@click.option("--skip", multiple=True, metavar="STEP", help=f"Step to skip: {', '.join(STEPS)}; can be repeated.")
@click.option("--bias", type=click.Choice(BIAS), default=BIAS[0], show_default=True, help="How biases are corrected.")
@click.option(
    "--adaround",
    multiple=True,
    metavar="LAYERS",
    help=f"Round the weights of these layers by AdaRound, which takes a while: {', '.join(ADAROUND)}; can be repeated.",
)
@click.option(
    "--keep-float",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Keep the N layers float that cost the outputs most; each is tried by itself, which takes a while.",
)
@click.option(
    "--kernel-bits",
    type=click.Choice([str(bits) for bits in KERNEL_BITS]),
    default=str(KERNEL_BITS[0]),
    show_default=True,
    help="Bits of kernels; 4: of convolutions between the first and the last layer, best for a model of train --qat-bits 4.",
)
@image_size_option
@verify_on_option
@preprocessing_options
@model_options
@common_options
def command(
    model: Path,
    out: Path,
    calibrate: str,
    calibration_images: int | None,
    recipe: str,
    skip: tuple[str, ...],
    bias: str,
    adaround: tuple[str, ...],
    keep_float: int,
    kernel_bits: str,
    image_size: int | None,
    verify_on: str | None,
    modules: tuple[str, ...],
    trust: bool,
    as_json: bool,
    **statements: Any,
) -> None:
    """Quantize MODEL (.h5, .keras, a SavedModel or run folder, keras:NAME=PATH), a real-valued network, to int8 without training.

    \b
    el-larq quantize model.h5 -o model.tflite --calibrate images.npy
    """
    from el_larq.converters.guideline.guideline_options import Guideline
    from el_larq.converters.int8.calibration_data import check_calibration
    from el_larq.data.dataset_registry import check_dataset
    from el_larq.data.stated import stated
    from el_larq.outputs import TFLITE, check_output
    from el_larq.zoo.named_models import check_model

    Guideline(recipe, skip, keep_float, bias, adaround, int(kernel_bits))
    stated(**statements)
    if verify_on is not None:
        check_dataset(verify_on)
    check_calibration(calibrate)
    check_output(out, TFLITE, inputs=(model,))
    check_model(model)

    start_tensorflow()
    from el_larq.converters.quantize_model import quantize

    job = quantize(
        model,
        out,
        calibrate=calibrate,
        calibration_images=calibration_images,
        recipe=recipe,
        skip=skip,
        keep_float=keep_float,
        bias=bias,
        adaround=adaround,
        kernel_bits=int(kernel_bits),
        verify_on=verify_on,
        image_size=image_size,
        modules=modules,
        trust=trust,
        **statements,
        notify=say_steps(as_json),
    )
    if as_json:
        print_steps(model, out, job)
        return
    found = step_details(job, "quantize")
    assert found is not None
    rows = [
        (one["step"], one["note"], "yes" if one["kept"] else "no", _decibels(one["sqnr"]), f"{one['agreement']:.1%}", _worst(one))
        for one in found["effects"]
    ]
    print_table(
        f"What each step bought, on {found['trial_images']} calibration images",
        ("step", "what", "kept", "SQNR of logits", "top-1 as float", "worst layer"),
        rows,
    )
    last = [one for one in found["effects"] if one["kept"]][-1]["layers"]
    worst = sorted(last.items(), key=lambda item: float("inf") if item[1] is None else item[1])[:_WORST]
    print_table("Layers with the most noise", ("layer", "SQNR"), [(name, _decibels(value)) for name, value in worst])
    show(f"wrote {out}")


def _decibels(value: float | None) -> str:
    return "exact" if value is None else f"{value:.1f} dB"


def _worst(effect: dict[str, Any]) -> str:
    values = [value for value in effect["layers"].values() if value is not None]
    return _decibels(min(values, default=None))
