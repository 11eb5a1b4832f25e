"""`el-larq train`."""

from pathlib import Path

import click

from el_larq.cli.common import common_options, import_layers, model_options, print_json, say, show, start_tensorflow
from el_larq.cli.interruption import interruptible


@click.command()
@click.argument("network", required=False)
@click.option("--method", help="How convolutions are binarized: el-larq list methods. [default: el]")
@click.option("--link", help="Another link than the method's own: none, identity, elastic, gated.")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the method; may be repeated.")
@click.option("--dataset", default="photos", show_default=True, help="el-larq list datasets.")
@click.option(
    "--data-dir", type=click.Path(path_type=Path), help="The data set's folder: where TFDS has prepared it, or its IDX files."
)
@click.option("--augment", help="Instead of the data set's: none, shift, shift-mirror, crop, crop-mirror, imagenet.")
@click.option("--strict", is_flag=True, help="An image that cannot be read is an error; otherwise it is left out and named.")
@click.option(
    "--validation",
    type=float,
    metavar="SHARE",
    help="Share of the training images to hold out; 0 for none. [default: the data set's validation split, else 0.1]",
)
@click.option("--recipe", default="standard", show_default=True, help="How to train: el-larq list recipes.")
@click.option("--epochs", type=int, help="Instead of the recipe's.")
@click.option("--batch-size", type=int, help="Instead of the recipe's.")
@click.option("--learning-rate", type=float, help="Instead of the recipe's.")
@click.option("--image-size", type=int, help="Instead of the data set's, in pixels.")
@click.option("--width", type=float, default=1.0, show_default=True, help="Factor on every channel count.")
@click.option("--stem", help="imagenet, small, mobile, cifar or quicknet; chosen from the image size unless given.")
@click.option(
    "--downsample", help="real or binary 1x1 convolutions in shortcuts and transitions that change shape. [default: real]"
)
@click.option("--depthwise", help="mobilenet: real or binary depthwise convolutions. [default: real]")
@click.option("--channels-per-group", type=int, help="mobilenet, variant mid: the K of its K-dependency. [default: 32]")
@click.option("--variant", help="A block variant that the network offers. [default: the one the method needs]")
@click.option("--placement", help="Elastic link after_norm or before_norm. [default: after_norm]")
@click.option(
    "--gamma", type=float, help="Start of the elastic link's gamma. [default: min(1, C_out / C_in), half of it beside a shortcut]"
)
@click.option("--gamma-per-channel", is_flag=True, help="A gamma for each channel instead of one a link.")
@click.option("--init-from", type=click.Path(path_type=Path), help="A model (.h5, .keras, SavedModel) to start from.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="The run folder. [default: runs/NAME]")
@click.option("--resume", type=click.Path(path_type=Path), metavar="RUN", help="Go on with a run that was stopped or killed.")
@click.option(
    "--checkpoint-every",
    type=click.FloatRange(0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="A state to resume from is saved about this often.",
)
@model_options
@common_options
def command(
    network: str | None,
    method: str | None,
    link: str | None,
    options: tuple[str, ...],
    dataset: str,
    data_dir: Path | None,
    augment: str | None,
    strict: bool,
    validation: float | None,
    recipe: str,
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    image_size: int | None,
    width: float,
    stem: str | None,
    downsample: str | None,
    depthwise: str | None,
    channels_per_group: int | None,
    variant: str | None,
    placement: str | None,
    gamma: float | None,
    gamma_per_channel: bool,
    init_from: Path | None,
    seed: int,
    out: Path | None,
    resume: Path | None,
    checkpoint_every: float,
    modules: tuple[str, ...],
    trust: bool,
    as_json: bool,
) -> None:
    """Train NETWORK (resnet18, resnet26, ...; see el-larq list networks) and save the model in a run folder.

    NETWORK may be your own: a file and a function (input_shape, num_classes) in it that returns a Keras model.

    \b
    el-larq train resnet26
    el-larq train my_network.py:build
    el-larq train resnet26 --dataset dir:my_data --init-from model.h5
    el-larq train resnet26 --method bireal --link elastic --width 0.25 --epochs 10
    el-larq train --resume runs/resnet26-el-photos-s0
    """
    # Until the first step, SIGTERM and SIGHUP have the same effect as Ctrl-C.
    click.get_current_context().with_resource(interruptible())
    if resume is not None:
        _resume(resume, learning_rate, checkpoint_every, modules, trust, as_json)
        return
    if network is None:
        raise click.UsageError("Missing argument 'NETWORK'.", click.get_current_context())
    # Names are checked before TensorFlow is imported, which takes seconds.
    from el_larq.data.names import folders, with_options
    from el_larq.data.registry import check_dataset
    from el_larq.data.validation import check_share
    from el_larq.errors import ElLarqError, UsageError
    from el_larq.methods.registry import get_method, parse_options
    from el_larq.models.registry import check_options, check_pair, get_network, resolve_variant
    from el_larq.models.user_network import check_user_network as check_own
    from el_larq.models.user_network import is_user_network as is_own
    from el_larq.outputs import check_folder
    from el_larq.training.recipe import get_recipe

    method_options = parse_options(method or "el", options)
    given = {"stem": stem, "downsample": downsample, "depthwise": depthwise, "channels_per_group": channels_per_group}
    network_options = {name: value for name, value in given.items() if value is not None}
    chosen = get_method(method or "el", link, method_options)
    if is_own(network):
        check_own(network)
    else:
        check_pair(get_network(network), chosen.link.name, chosen.name)
        resolve_variant(get_network(network), chosen, variant)
        check_options(get_network(network), network_options)
    if placement is not None:
        chosen.with_placement(placement)
    if not 0 < width < float("inf"):
        raise UsageError(f"width must be positive; got {width:g}")
    get_recipe(recipe).with_changes(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    dataset = with_options(dataset, data_dir, augment)
    check_dataset(dataset)
    if validation is not None:
        check_share(validation)
    if init_from is not None and not init_from.exists():
        raise ElLarqError(f"{init_from}: no such file")
    if out is not None:
        check_folder(out, inputs=(*folders(dataset), *filter(None, (init_from,))))

    start_tensorflow()
    import_layers(modules)
    from el_larq.training.train import train

    link_options: dict[str, object] = {}
    if gamma is not None:
        link_options["gamma_initializer"] = {"class_name": "Constant", "config": {"value": gamma}}
    if gamma_per_channel:
        link_options["per_channel"] = True
    trained = train(
        network,
        method=method,
        link=link,
        dataset=dataset,
        recipe=recipe,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        image_size=image_size,
        width=width,
        placement=placement,
        link_options=link_options,
        method_options=method_options,
        network_options=network_options if variant is None else {**network_options, "variant": variant},
        seed=seed,
        init_from=init_from,
        trust=trust,
        strict=strict,
        validation=validation,
        out=out,
        notify=say,
        checkpoint_seconds=checkpoint_every,
    )
    _print(trained.folder, as_json)


def _resume(
    folder: Path, learning_rate: float | None, checkpoint_every: float, modules: tuple[str, ...], trust: bool, as_json: bool
) -> None:
    from el_larq.training.config import is_finished, read_config, read_result
    from el_larq.training.contradictions import check_no_contradiction
    from el_larq.training.resumable import check_resumable, tidy

    context = click.get_current_context()
    config = read_config(folder)
    given = {
        name: value
        for name, value in context.params.items()
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }
    check_no_contradiction(config, folder, given)
    if is_finished(folder):
        read_result(folder)  # raises an error if it is damaged: then the states must be kept
        tidy(folder)
        say(f"{folder} is finished; there is nothing to resume")
    else:
        check_resumable(folder, config, learning_rate)
        start_tensorflow()
        import_layers(modules)
        from el_larq.training.train import resume

        resume(folder, learning_rate=learning_rate, trust=trust, notify=say, checkpoint_seconds=checkpoint_every)
    _print(folder, as_json)


def _print(folder: Path, as_json: bool) -> None:
    from el_larq.training.config import read_result

    result, model = read_result(folder), folder / "model.h5"
    if as_json:
        print_json({"run": str(folder), "model": str(model), **result})
        return
    show(f"test accuracy {result['accuracy']:.4f} after {result['seconds']:.0f} s; model: {model}")
    show(f"next: el-larq convert {model} -o model.tflite")
