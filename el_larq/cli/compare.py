"""`el-larq compare`."""

from pathlib import Path
from typing import Any

import click

from el_larq.cli.common import common_options, complete_from, print_json, print_table, say
from el_larq.cli.option_groups import collect_settings, data_options, network_options, recipe_options, split_names


@click.command()
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option(
    "--against",
    type=click.Choice(["float", "int8"]),
    help="Compare RUN with its real-valued twin, trained alike; int8: also both of them with int8.",
)
@click.option(
    "--network",
    "networks",
    shell_complete=complete_from("el_larq.models.network_registry:NETWORKS"),
    metavar="NAME[,NAME]",
    help="Networks to train; see el-larq list networks.",
)
@click.option(
    "--methods",
    shell_complete=complete_from("el_larq.methods.method_registry:METHODS"),
    default="all",
    show_default=True,
    metavar="NAME[,NAME]",
    help="Methods to compare, or all that fit the network.",
)
@click.option("--option", "method_options", multiple=True, metavar="METHOD.NAME=VALUE", help="Option of a method; can be repeated.")
@data_options
@click.option("--seeds", type=int, default=3, show_default=True, help="Number of seeds: 0, 1, 2, ...")
@recipe_options
@network_options
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Number of trainings to run at the same time.")
@click.option(
    "--shard",
    metavar="K/N",
    help="Train and convert only the K-th of N shares of the runs, for several machines that share the folder -o. "
    "The same command without --shard then measures and writes the table.",
)
@click.option("-o", "--out", "folder", type=click.Path(path_type=Path), default=Path("comparison"), show_default=True)
@common_options
@click.pass_context
def command(
    context: click.Context,
    run: Path | None,
    against: str | None,
    networks: str | None,
    methods: str,
    method_options: tuple[str, ...],
    seeds: int,
    jobs: int,
    shard: str | None,
    folder: Path,
    as_json: bool,
    **given: Any,
) -> None:
    """Train networks with several methods and seeds, convert and benchmark them, and write one table and one plot.

    All results are in the folder -o. The same command continues where it stopped; a command with more methods, networks or seeds
    adds to the folder. Each run equals that of el-larq train with the same settings.

    \b
    el-larq compare --network resnet26 --methods el,bireal,binary --width 0.25 --epochs 4
    el-larq compare RUN --against int8 -o twin

    With --recipe own, each method is trained by the recipe made for it (el-larq list recipes), all with as many --epochs in all.

    The second form answers what binary bought: it trains the network of RUN, a finished run folder, once more without
    binarization, with the same data, recipe and seed. With int8, both are also converted with int8.
    """
    if run is not None or against is not None:
        _compare_twin(context, run, against, folder, as_json)
        return
    if networks is None:
        raise click.UsageError("give --network NAME, or a run folder with --against float|int8")
    from el_larq.cli.interruption import interruptible
    from el_larq.comparison.compare import execute
    from el_larq.comparison.comparison_plan import plan_comparison
    from el_larq.comparison.shard import parse_shard
    from el_larq.comparison.table import HEADINGS, cells
    from el_larq.models.network_registry import runs_real

    share = None if shard is None else parse_shard(shard)
    plan = plan_comparison(split_names(networks), split_names(methods), seeds, method_options, **collect_settings(given))
    if (line := runs_real(plan.network_options)) and any(pair.method.binary for pair in plan.pairs):
        say(f"note: {line}")
    if plan.own_recipes:
        recipes = {name: recipe["name"] for name, recipe in plan.recipes.items()}
        say("recipes: " + ", ".join(f"{name} {recipe}" for name, recipe in recipes.items()))
    try:
        with interruptible():
            result = execute(plan, folder, jobs=jobs, shard=share, notify=say)
    except KeyboardInterrupt:
        say(f"finished runs are in {folder}; the same command continues there")
        raise
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "settings": plan.settings(),
                "caveat": result.caveat,
                "rows": [r.to_dict() for r in result.rows],
            }
        )
    else:
        shared = plan.shared
        recipe = "own recipes, " if plan.own_recipes else ""
        title = (
            f"{shared.dataset}, width {shared.width:g}, {recipe}{shared.recipe.epochs} epochs; mean over seeds; "
            "latency with one thread on this machine; MACs (BOPs, FLOPs) and other operations in millions per image"
        )
        print_table(title, HEADINGS, cells(result.rows))
        if result.caveat:
            say(f"note: {result.caveat}")
        if share:
            say(f"shard {share} is done; when all are, the same command without --shard measures and writes the table and the plot")
        else:
            say(f"table and plot are in {folder}")
    for row in result.rows:
        for error in row.errors:
            say(f"failed: {row.network} {row.method} {error}")
    if result.failed:
        raise click.exceptions.Exit(1)


def _compare_twin(context: click.Context, run: Path | None, against: str | None, folder: Path, as_json: bool) -> None:
    from el_larq.cli.interruption import interruptible
    from el_larq.comparison.float_twin import compare_twin

    if run is None or against is None:
        raise click.UsageError("a run folder and --against belong together: el-larq compare RUN --against float|int8")
    given = click.core.ParameterSource.COMMANDLINE
    allowed = ("run", "against", "folder", "as_json", "verbose")
    if more := [name for name in context.params if name not in allowed and context.get_parameter_source(name) == given]:
        option = next(p for p in context.command.params if p.name == more[0]).opts[0]
        raise click.UsageError(f"{option} does not apply to RUN --against {against}: the settings are those of {run}")
    try:
        with interruptible():
            twins = compare_twin(run, folder, against == "int8", say)
    except KeyboardInterrupt:
        say(f"what is finished is in {folder}; the same command continues there")
        raise
    if as_json:
        print_json({"folder": str(folder), **twins.to_dict()})
        return
    print_table(twins.title, twins.headings(), twins.cells())
    say(f"note: {twins.caveat}")
    say("note: one seed each; differences of accuracy of a few points may be chance")
    files = " ".join(map(str, twins.files()))
    say(f"next: el-larq benchmark {files} --target ssh://user@host, and el-larq report {folder} results")
