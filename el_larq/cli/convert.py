"""`el-larq convert`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from el_larq.cli.common import (
    MODEL,
    common_options,
    model_options,
    preprocessing_options,
    print_table,
    say,
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
from el_larq.compression.ranges import RANGES
from el_larq.converters.steps import DEFAULT_RANGE, INT8, MOST_DETECTIONS, STEPS, VIEWS, WEIGHTS, check_skip, check_stored
from el_larq.detection.non_maximum_suppression import FOR_EVALUATION, Selection

_WORST = 5
"""The number of int8 tensors that are shown without --table."""


def _complete_rules(_context: click.Context, _option: click.Parameter, incomplete: str) -> list[str]:
    from el_larq.converters.rules.rule_registry import RULES

    return [name for name in RULES if name.startswith(incomplete)]


@click.command(epilog=f"Steps: {', '.join(STEPS)}.")
@click.argument("model", type=MODEL)
@out_option
@click.option("--skip", multiple=True, help="Step to skip: fold, arrange, audit, verify or select; can be repeated.")
@click.option(
    "--allow",
    multiple=True,
    metavar="RULE[:LAYER]",
    shell_complete=_complete_rules,
    help="Allow an audit rule to fail, in all layers or in one; docs/audit.md lists the rules.",
)
@click.option(
    "--views",
    type=click.Choice(VIEWS),
    default=VIEWS[0],
    show_default=True,
    help="What makes a view of a float tensor: bitcast is in place; reshape copies, but also runs where BITCAST is unknown.",
)
@click.option(
    "--int8",
    type=click.Choice(INT8),
    help="weights: store kernels of real-valued layers as int8, restored once, as float32; full: compute with int8; io: inputs and "
    "outputs too.",
)
@click.option(
    "--calibrate",
    metavar="DATA",
    help="For --int8 full and io: measure ranges on the training images of a data set, or on a .npy file of inputs.",
)
@calibration_images_option
@click.option("--ranges", type=click.Choice(list(RANGES)), help=f"How int8 ranges are estimated. [default: {DEFAULT_RANGE}]")
@click.option(
    "--int8-plot",
    "picture",
    type=click.Path(path_type=Path),
    help="For --int8 full and io: plot range, SQNR and changed signs of each tensor to this .svg, .png or .pdf.",
)
@click.option(
    "--weights",
    type=click.Choice(WEIGHTS),
    default=WEIGHTS[0],
    show_default=True,
    help="The type in which kernels of real-valued layers are stored.",
)
@click.option(
    "--max-detections",
    type=click.IntRange(1, MOST_DETECTIONS),
    help=f"For detectors: the largest number of boxes in an image. [default: {FOR_EVALUATION.most}]",
)
@click.option(
    "--score-threshold",
    type=click.FloatRange(0, 1),
    help=f"For detectors: the lowest score of a box. [default: {FOR_EVALUATION.score}]",
)
@click.option(
    "--iou-threshold",
    type=click.FloatRange(0, 1, min_open=True),
    help=f"For detectors: boxes that overlap a surer one of their class by more are left out. [default: {FOR_EVALUATION.iou}]",
)
@image_size_option
@verify_on_option
@click.option("--verify-images", type=click.IntRange(1), default=256, show_default=True)
@click.option("--by-layer", is_flag=True, help="If verification fails, show the layers with different signs.")
@click.option("--table", is_flag=True, help="Show each convolution with its bits and its operator.")
@preprocessing_options
@model_options
@common_options
def command(
    model: Path,
    out: Path,
    skip: tuple[str, ...],
    allow: tuple[str, ...],
    modules: tuple[str, ...],
    image_size: int | None,
    verify_on: str | None,
    verify_images: int,
    views: str,
    int8: str | None,
    calibrate: str | None,
    calibration_images: int | None,
    ranges: str | None,
    picture: Path | None,
    weights: str,
    max_detections: int | None,
    score_threshold: float | None,
    iou_threshold: float | None,
    by_layer: bool,
    table: bool,
    trust: bool,
    as_json: bool,
    **statements: Any,
) -> None:
    """Convert MODEL (.h5, .keras, a SavedModel or run folder, zoo:NAME) for Larq Compute Engine, then audit and verify the result.

    \b
    el-larq convert model.h5 -o model.tflite
    """
    from el_larq.converters.int8.calibration_data import check_calibration
    from el_larq.converters.int8.int8_plot import FORMATS
    from el_larq.converters.rules.allow import parse_allowed
    from el_larq.data.dataset_registry import check_dataset
    from el_larq.data.stated import stated
    from el_larq.outputs import TFLITE, check_output
    from el_larq.zoo.named_models import check_model

    check_skip(skip)
    check_stored(int8, weights, calibrate, calibration_images, ranges, views, picture)
    parse_allowed(allow)
    stated(**statements)
    if verify_on is not None:
        check_dataset(verify_on, None)
    if calibrate is not None:
        check_calibration(calibrate)
    check_output(out, TFLITE, inputs=(model,))
    if picture is not None:
        check_output(picture, *FORMATS, inputs=(model, out))
    check_model(model)

    start_tensorflow()
    from el_larq.compression.layer_report import HEADINGS, cells
    from el_larq.converters.fold.left import Left
    from el_larq.converters.int8.int8_plot import plot_int8
    from el_larq.converters.job import Options
    from el_larq.converters.pipeline import convert
    from el_larq.converters.rules.rule import Finding, summarized

    options = Options(
        image_size,
        verify_on,
        verify_images,
        modules,
        allow,
        by_layer,
        trust,
        views,
        int8,
        weights,
        calibrate,
        calibration_images,
        ranges,
        selection=_selection(max_detections, score_threshold, iou_threshold),
    )
    job = convert(
        model,
        out,
        options=options,
        skip=skip,
        **statements,
        notify=say_steps(as_json),
    )
    if picture is not None and job.quantized is not None:
        plot_int8(job.quantized.reports, out.name, picture)
    if as_json:
        print_steps(model, out, job)
        return
    quantized = step_details(job, "quantize")
    if quantized is not None:
        print_table("int8 tensors, worst first", HEADINGS, cells(quantized["tensors"][: None if table else _WORST]))
    audit = step_details(job, "audit")
    if table and audit:
        rows = [
            (
                row["layer"] or f"operator {row['index']}",
                row["operator"],
                row["kernel_bits"],
                row["input_bits"],
                "x".join(map(str, row["kernel_shape"])),
                "x".join(map(str, row["output_shape"])),
                f"{row['macs']:,}",
            )
            for row in audit["convolutions"]
        ]
        headings = ("layer", "operator", "kernel bits", "input bits", "kernel", "output", "MACs")
        print_table("Convolutions", headings, rows)
    if audit and audit["nothing_binary"]:
        say("warning: nothing in this model is binary: LCE does not make it faster than TensorFlow Lite does")
    for left in (step_details(job, "fold") or {"left": []})["left"]:
        say(f"not rewritten: {Left(**left)}")
    for finding in summarized(Finding(**finding) for finding in (audit or {}).get("findings", [])):
        what = "allowed" if finding.allowed else finding.severity
        if what != "note":
            say(f"{what}: {finding}")
    show(f"wrote {out}")


def _selection(most: int | None, score: float | None, iou: float | None) -> Selection | None:
    """None if nothing is asked for."""
    given = {name: value for name, value in (("most", most), ("score", score), ("iou", iou)) if value is not None}
    return replace(FOR_EVALUATION, **given) if given else None
