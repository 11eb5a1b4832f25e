"""`el_larq.quantize`: a real-valued Keras classifier as a .tflite that computes with int8, by the guideline."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Unpack

import tf_keras as keras

from el_larq.card import Card
from el_larq.converters.guideline.guideline_options import BIAS, KERNEL_BITS, RECIPES, Guideline
from el_larq.converters.job import Entry, Job, Options
from el_larq.converters.pipeline import convert
from el_larq.data.stated import Statements


def quantize(
    source: str | Path | keras.Model,
    destination: str | Path | None = None,
    *,
    calibrate: str,
    calibration_images: int | None = None,
    recipe: str = RECIPES[0],
    skip: Sequence[str] = (),
    keep_float: int = 0,
    bias: str = BIAS[0],
    adaround: Sequence[str] = (),
    kernel_bits: int = KERNEL_BITS[0],
    verify_on: str | None = None,
    image_size: int | None = None,
    modules: Sequence[str] = (),
    trust: bool = False,
    card: Card | None = None,
    notify: Callable[[Entry], None] = lambda _: None,
    **statements: Unpack[Statements],
) -> Job:
    """Quantize a real-valued Keras model after training: a .tflite of which all operators compute with int8.

    Arguments:
        source: a .h5 or .keras file, a SavedModel or run folder, or a Keras model; with one input (N, ...) of real numbers.
        destination: the .tflite to write; None only returns it, as ``tflite`` of the job.
        calibrate: the name of a data set, whose training images are used, or a .npy file of inputs, float32 (N, ...).
        calibration_images: the number of images to calibrate on; None for 256.
        recipe: "guideline", or "minmax" for ranges from the extremes and nothing else.
        skip: steps of the guideline to leave out: relu6, equalize, absorb, ranges or bias.
        keep_float: the number of layers that stay float: those whose int8 form costs the outputs most.
        bias: "empirical" or "analytic" correction of biases.
        adaround: layers whose weights are rounded up or down so that the layer's output changes least: "first", "last", "worst:N".
        kernel_bits: 8, or 4: then kernels of convolutions are int4, two weights in a byte, from -7 to 7 with a scale per channel;
            those of the first and the last layer and of dense layers are int8. Steps that were trained with 4 bits are kept.
        verify_on, image_size, modules, trust: as in `el_larq.converters.job.Options`.
        card, notify, statements: as in `el_larq.convert`.

    Returns:
        The job after its last step. The details of its step ``quantize`` have what each step of the guideline bought.

    Raises:
        UsageError: the model is binary or has operators without an int8 form, which are named; the calibration data do not fit it;
            or an option is invalid.
        ElLarqError: as `el_larq.convert`.
    """
    options = Options(
        int8="full",
        calibrate=calibrate,
        calibration_images=calibration_images,
        guideline=Guideline(recipe, tuple(skip), keep_float, bias, tuple(adaround), kernel_bits),
        verify_on=verify_on,
        image_size=image_size,
        modules=tuple(modules),
        trust=trust,
    )
    return convert(source, destination, options=options, card=card, notify=notify, **statements)
