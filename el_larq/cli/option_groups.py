"""Options of trainings, in groups that `train` and `compare` share, and the settings that they stand for."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from el_larq.cli.common import data_dir_option

Command = Callable[..., None]

_SAME_NAME = (
    "method",
    "link",
    "placement",
    "width",
    "image_size",
    "recipe",
    "epochs",
    "batch_size",
    "learning_rate",
    "keep",
    "patience",
    "average",
    "seed",
    "deterministic",
    "init_from",
    "teacher",
    "strict",
    "validation",
    "out",
)
"""Options whose names are settings of a plan."""


def data_options(function: Command) -> Command:
    return _with(
        function,
        click.option("--dataset", default="photos", show_default=True, help="Data set; see el-larq list datasets."),
        data_dir_option,
        click.option("--augment", help="none, shift, shift-mirror, crop, crop-mirror or imagenet. [default: the data set's]"),
        click.option("--image-size", type=int, help="Height and width in pixels. [default: the data set's]"),
        click.option(
            "--validation",
            type=float,
            metavar="SHARE",
            help="Share of the training images to hold out; 0 for none. [default: the data set's validation split, or 0.1]",
        ),
    )


def recipe_options(function: Command) -> Command:
    return _with(
        function,
        click.option(
            "--recipe",
            default="standard",
            show_default=True,
            help="Training recipe: a name (see el-larq list recipes) or a YAML file.",
        ),
        click.option("--epochs", type=int, help="[default: the recipe's]"),
        click.option("--batch-size", type=int, help="[default: the recipe's]"),
        click.option("--learning-rate", type=float, help="[default: the recipe's]"),
        click.option("--keep", help="last or best: the epoch whose model is saved and tested. [default: the recipe's, last]"),
        click.option(
            "--average",
            type=float,
            metavar="DECAY",
            help="Validate, save and test a moving average of the weights; 0: none. [default: the recipe's, 0]",
        ),
        click.option(
            "--patience",
            type=int,
            metavar="EPOCHS",
            help="Stop after so many epochs without a better validation; 0: never. [default: the recipe's, 0]",
        ),
    )


def network_options(function: Command) -> Command:
    return _with(
        function,
        click.option("--width", type=float, default=1.0, show_default=True, help="Factor for all numbers of channels."),
        click.option("--stem", help="imagenet, small, mobile, cifar or quicknet. [default: depends on the image size]"),
        click.option(
            "--downsample", help="real or binary 1x1 convolutions in shortcuts and transitions that change shape. [default: real]"
        ),
        click.option("--depthwise", help="mobilenet: real or binary depthwise convolutions. [default: real]"),
        click.option("--channels-per-group", type=int, help="mobilenet, variant mid: the K of its K-dependency. [default: 32]"),
        click.option("--variant", help="Block variant of the network. [default: the one the method needs]"),
    )


def link_options(function: Command) -> Command:
    return _with(
        function,
        click.option("--link", help="none, identity, elastic or gated. [default: the method's own]"),
        click.option("--placement", help="Elastic link after_norm or before_norm. [default: after_norm]"),
        click.option(
            "--gamma",
            type=float,
            help="Initial value of the elastic link's gamma. [default: min(1, C_out / C_in); half of it next to a shortcut]",
        ),
        click.option("--gamma-per-channel", is_flag=True, help="One gamma per channel instead of one per link."),
    )


def _with(function: Command, *options: Callable[[Command], Command]) -> Command:
    for option in reversed(options):
        function = option(function)
    return function


def collect_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The `el_larq.training.plan.Settings` that parameters of these groups stand for; others are ignored.

    Raises:
        UsageError: an unknown option of the method, or a data set's name that contradicts --data-dir or --augment.
    """
    from el_larq.data.names import with_options
    from el_larq.methods.registry import parse_options
    from el_larq.models.registry import OPTIONS
    from el_larq.training.plan import DEFAULT_METHOD

    found = {name: given[name] for name in _SAME_NAME if given.get(name) is not None}
    if "dataset" in given:
        found["dataset"] = with_options(given["dataset"], given.get("data_dir"), given.get("augment"))
    if options := {name: given[name] for name in OPTIONS if given.get(name) is not None}:
        found["network_options"] = options
    if given.get("options"):
        found["method_options"] = parse_options(given.get("method") or DEFAULT_METHOD, given["options"])
    link: dict[str, Any] = {}
    if given.get("gamma") is not None:
        link["gamma_initializer"] = {"class_name": "Constant", "config": {"value": given["gamma"]}}
    if given.get("gamma_per_channel"):
        link["per_channel"] = True
    return found | ({"link_options": link} if link else {})


def given_on_command_line(context: click.Context) -> dict[str, Any]:
    """The parameters that the user gave, by name, without defaults."""
    commandline = click.core.ParameterSource.COMMANDLINE
    return {name: value for name, value in context.params.items() if context.get_parameter_source(name) is commandline}


def split_names(text: str) -> list[str]:
    """The names in a list separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]
