"""`el-larq compare`."""

from pathlib import Path

import click

from el_larq.cli.common import common_options, print_json, print_table, say


@click.command()
@click.option("--network", "networks", required=True, metavar="NAME[,NAME]", help="el-larq list networks.")
@click.option("--methods", default="all", show_default=True, metavar="NAME[,NAME]", help="all is every one the network takes.")
@click.option("--option", "options", multiple=True, metavar="METHOD.NAME=VALUE", help="An option of a method; may be repeated.")
@click.option("--dataset", default="photos", show_default=True, help="el-larq list datasets.")
@click.option(
    "--validation",
    type=float,
    metavar="SHARE",
    help="Share of the training images to hold out; 0 for none. [default: the data set's validation split, else 0.1]",
)
@click.option("--seeds", type=int, default=3, show_default=True, help="How many: 0, 1, 2 ...")
@click.option("--recipe", default="standard", show_default=True, help="How to train: el-larq list recipes.")
@click.option("--epochs", type=int, help="Instead of the recipe's.")
@click.option("--batch-size", type=int, help="Instead of the recipe's.")
@click.option("--learning-rate", type=float, help="Instead of the recipe's.")
@click.option("--image-size", type=int, help="Instead of the data set's, in pixels.")
@click.option("--width", type=float, default=1.0, show_default=True, help="Factor on every channel count.")
@click.option("--stem", help="imagenet, small, mobile, cifar or quicknet; chosen from the image size unless given.")
@click.option("--downsample", help="real or binary convolutions in shortcuts that change shape. [default: real]")
@click.option("--depthwise", help="real or binary depthwise convolutions of mobilenet. [default: real]")
@click.option("--variant", help="A block variant that the networks offer. [default: the one the method needs]")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Trainings at the same time.")
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("comparison"), show_default=True)
@common_options
def command(
    networks: str,
    methods: str,
    options: tuple[str, ...],
    dataset: str,
    validation: float | None,
    seeds: int,
    recipe: str,
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    image_size: int | None,
    width: float,
    stem: str | None,
    downsample: str | None,
    depthwise: str | None,
    variant: str | None,
    jobs: int,
    out: Path,
    as_json: bool,
) -> None:
    """Train networks with methods and several seeds; convert, count and time them; one table and one plot.

    Everything is kept in the folder -o; the same command goes on where it was stopped, and more methods, networks or seeds add
    to what is there. A run is the one that el-larq train makes of the same settings.

    \b
    el-larq compare --network resnet26 --methods el,bireal,binary --width 0.25 --epochs 4
    """
    from el_larq.cli.interruption import interruptible
    from el_larq.comparison.compare import compare
    from el_larq.comparison.plan import Settings, make_plan
    from el_larq.comparison.table import HEADINGS, cells
    from el_larq.models.registry import runs_real
    from el_larq.training.recipe import get_recipe

    chosen = get_recipe(recipe).with_changes(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    given = {"stem": stem, "downsample": downsample, "depthwise": depthwise, "variant": variant}
    network_options = {name: value for name, value in given.items() if value is not None}
    settings = Settings(dataset, chosen, width, image_size, network_options, validation)
    plan = make_plan(_names(networks), _names(methods), seeds, settings, options)
    if (line := runs_real(network_options)) and any(pair.method.binary for pair in plan.pairs):
        say(f"note: {line}")
    try:
        with interruptible():
            result = compare(plan, out, jobs=jobs, notify=say)
    except KeyboardInterrupt:
        say(f"what is done is in {out}; the same command goes on from there")
        raise
    if as_json:
        print_json(
            {
                "folder": str(out),
                "settings": settings.to_dict(),
                "caveat": result.caveat,
                "rows": [r.to_dict() for r in result.rows],
            }
        )
    else:
        title = (
            f"{dataset}, width {width:g}, {chosen.epochs} epochs; mean over seeds; latency of one thread here; "
            "for one image, millions of MACs (BOPs, FLOPs) and of operations beside them"
        )
        print_table(title, HEADINGS, cells(result.rows))
        if result.caveat:
            say(f"note: {result.caveat}")
        say(f"table and plot are in {out}")
    for row in result.rows:
        for error in row.errors:
            say(f"failed: {row.network} {row.method} {error}")
    if result.failed:
        raise click.exceptions.Exit(1)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
