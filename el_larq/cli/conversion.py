"""What the commands that write a .tflite have in common: `convert` and `quantize`."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from el_larq.cli.common import print_json, say
from el_larq.converters.steps import CALIBRATION_IMAGES

if TYPE_CHECKING:
    from el_larq.converters.job import Entry, Job

out_option = click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="The .tflite to write.")

calibration_images_option = click.option(
    "--calibration-images", type=click.IntRange(1), help=f"The number of images to calibrate on. [default: {CALIBRATION_IMAGES}]"
)

image_size_option = click.option("--image-size", type=int, help="Input size in pixels, for a model without a fixed input size.")

verify_on_option = click.option("--verify-on", help="Data set to verify with. [default: the one the model was trained on]")


def say_steps(as_json: bool) -> "Callable[[Entry], None]":
    """For ``notify``: a line per step, or nothing with --json."""
    return (lambda _: None) if as_json else (lambda entry: say(f"{entry.step:8}{entry.seconds:6.1f} s  {entry.summary}"))


def print_steps(model: Path, out: Path, job: "Job") -> None:
    """Print what --json does."""
    print_json({"model": str(model), "tflite": str(out), "steps": [asdict(entry) for entry in job.report]})


def step_details(job: "Job", step: str) -> dict[str, Any] | None:
    """The details of a step; None if it was not made."""
    return next((entry.details for entry in job.report if entry.step == step), None)
