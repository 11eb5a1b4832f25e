"""Options of trainings in groups, and the settings that they stand for.

`train` has all groups; `compare` has those of data, recipes and networks, which its trainings share.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from el_larq.cli.common import complete_from, data_dir_option
from el_larq.links.link_registry import LINKS, flagged_options

Command = Callable[..., None]


def data_options(function: Command) -> Command:
    return _with(
        function,
        click.option(
            "--dataset",
            shell_complete=complete_from("el_larq.data.dataset_registry:DATASETS"),
            help="Data set; see el-larq list datasets. [default: photos; for a detector, shapes]",
        ),
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
            shell_complete=complete_from("el_larq.training.recipes:RECIPES"),
            help="Training recipe: a name (see el-larq list recipes) or a YAML file. [default: standard; with --qat-bits, int8; "
            "for a detector, detector]",
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
        click.option(
            "--precision",
            help="float32, mixed_bfloat16 or mixed_float16: of training; the model is float32. [default: the recipe's, float32]",
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
        click.option("--heads", help="detectors: real or binary convolutions that predict. [default: real]"),
        click.option("--channels-per-group", type=int, help="mobilenet, variant mid: the K of its K-dependency. [default: 32]"),
        click.option("--variant", help="Block variant of the network. [default: the one the method needs]"),
    )


def run_options(function: Command) -> Command:
    """What distinguishes one run from another with the same settings: its start, seed and folder."""
    return _with(
        function,
        click.option(
            "--init-from",
            type=click.Path(path_type=Path),
            help="Model (.h5, .keras, SavedModel, zoo:NAME, keras:NAME=PATH) or run to start from.",
        ),
        click.option("--partial", is_flag=True, help="With --init-from: start even if fewer than half of the layers fit."),
        click.option(
            "--freeze",
            metavar="LAYERS",
            help="With --init-from, what keeps its weights: none, backbone, or patterns of names. [default: the recipe's, none]",
        ),
        click.option(
            "--qat-bits",
            type=int,
            metavar="BITS",
            help="8: train for convert --int8 full, which is simulated; 6 or 4: with fewer bits, which no file has; 0: do not. "
            "[default: the recipe's, 0]",
        ),
        click.option(
            "--qat-ranges",
            help="With --qat-bits: learned (steps) or averaged. [default: the recipe's, auto: averaged for binary networks only]",
        ),
        click.option(
            "--prune",
            metavar="HOW",
            help="magnitude, layer-magnitude, 2:4, channels or keep: what becomes 0 in a real-valued network. [default: none]",
        ),
        click.option(
            "--sparsity", type=float, metavar="SHARE", help="With --prune: share of the weights that become 0, such as 0.3."
        ),
        click.option("--teacher", help="Instead of the recipe's: model, run folder, or network, which is then trained first."),
        click.option("--seed", type=int, default=0, show_default=True),
        click.option(
            "--deterministic",
            default="auto",
            show_default=True,
            help="on: the seed determines the weights, bit for bit; off: faster; auto: on, but off on a GPU.",
        ),
        click.option("-o", "--out", type=click.Path(path_type=Path), help="Run folder. [default: runs/NAME]"),
        click.option(
            "--checkpoint-every",
            type=click.FloatRange(0),
            default=60.0,
            show_default=True,
            metavar="SECONDS",
            help="Interval between saved states, from which a run can be resumed.",
        ),
    )


def distribution_options(function: Command) -> Command:
    """How a training is distributed over devices and machines."""
    return _with(
        function,
        click.option(
            "--strategy",
            default="none",
            show_default=True,
            help="none, mirrored (the GPUs of this machine), multi-worker (several machines) or tpu.",
        ),
        click.option("--scale-batch", is_flag=True, help="Multiply batch size and learning rate by the number of replicas."),
        click.option("--workers", metavar="HOST:PORT,...", help="All workers of a multi-worker training. [default: TF_CONFIG]"),
        click.option("--worker-index", type=int, metavar="INDEX", help="Which of --workers this is, from 0."),
        click.option(
            "--worker-timeout",
            type=click.FloatRange(0, min_open=True),
            default=120.0,
            show_default=True,
            metavar="SECONDS",
            help="How long workers wait for each other at the start.",
        ),
    )


def link_options(function: Command) -> Command:
    """--link, --placement, and the options that the links declare."""
    names = list(LINKS)
    declared = [
        click.option(f"--{flag.replace('_', '-')}", is_flag=option.kind is bool, type=option.kind, default=None, help=option.help)
        for flag, option in flagged_options().items()
    ]
    return _with(
        function,
        click.option(
            "--link",
            shell_complete=complete_from("el_larq.links.link_registry:LINKS"),
            help=f"{', '.join(names[:-1])} or {names[-1]}. [default: the method's own]",
        ),
        click.option("--placement", help="Where an elastic link joins: after_norm or before_norm. [default: after_norm]"),
        *declared,
    )


def _with(function: Command, *options: Callable[[Command], Command]) -> Command:
    for option in reversed(options):
        function = option(function)
    return function


def collect_settings(given: Mapping[str, Any], network: str | None = None) -> dict[str, Any]:
    """The `el_larq.training.training_plan.Settings` that parameters of these groups stand for; others are ignored.

    Arguments:
        network: decides the data set if none is given.

    Raises:
        UsageError: an unknown option of the method, or a data set's name that contradicts --data-dir or --augment.
    """
    from el_larq.data.names import with_options
    from el_larq.methods.method_registry import parse_options
    from el_larq.models.network_registry import DEFAULT_METHOD, OPTIONS
    from el_larq.training.training_plan import Settings, default_dataset

    # Most options have the names of settings.
    found = {name: given[name] for name in sorted(Settings.__optional_keys__) if given.get(name) is not None}
    if "dataset" in given:
        found["dataset"] = with_options(
            given["dataset"] or default_dataset(network or ""), given.get("data_dir"), given.get("augment")
        )
    if options := {name: given[name] for name in OPTIONS if given.get(name) is not None}:
        found["network_options"] = options
    if given.get("options"):
        found["method_options"] = parse_options(given.get("method") or DEFAULT_METHOD, given["options"])
    link = {
        option.name: option.to_stored(given[flag])
        for flag, option in flagged_options().items()
        if given.get(flag) is not None and given[flag] is not False
    }
    return found | ({"link_options": link} if link else {})


def given_on_command_line(context: click.Context) -> dict[str, Any]:
    """The parameters that the user gave, by name, without defaults."""
    commandline = click.core.ParameterSource.COMMANDLINE
    return {name: value for name, value in context.params.items() if context.get_parameter_source(name) is commandline}


def split_names(text: str) -> list[str]:
    """The names in a list separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]
