"""`el-larq zoo`."""

from pathlib import Path

import click

from el_larq.cli.common import common_options, download_progress, print_json, print_table, show
from el_larq.cli.interruption import interruptible


def _complete_names(_context: click.Context, _argument: click.Parameter, incomplete: str) -> list[str]:
    from el_larq.models.zoo.zoo_registry import ZOO

    return [name for name in ZOO if name.startswith(incomplete)]


_no_top = click.option("--no-top", is_flag=True, help="The file without the classifier.")


@click.group()
def command() -> None:
    """Pretrained networks of Larq Zoo; where a model is expected, zoo:NAME stands for one. All take --json and -v, --verbose."""


@command.command(name="list")
@common_options
def list_command(as_json: bool) -> None:
    """List the networks with their published accuracy on ImageNet, their cost, and whether their weights are on this machine."""
    print_zoo(as_json)


def print_zoo(as_json: bool) -> None:
    from el_larq.zoo.listing import COLUMNS, list_zoo, row

    entries = list_zoo()
    if as_json:
        print_json(entries)
        return
    title = (
        "networks of Larq Zoo (ImageNet accuracy in percent, parameters and size as published there; "
        "MACs of one image by bits of weights/activations, counted here)"
    )
    print_table(title, COLUMNS, [row(entry) for entry in entries])
    for source in dict.fromkeys(entry["source"] for entry in entries):
        show(f"accuracy, parameters, size: {source}")


@command.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=_complete_names)
@click.option("--from-file", type=click.Path(path_type=Path), metavar="FILE", help="Copy FILE, downloaded elsewhere, instead.")
@click.option("--sha256", metavar="HASH", help="Accept a file with this SHA-256, which Larq Zoo does not publish.")
@_no_top
@click.option(
    "--timeout", type=click.FloatRange(1), default=3600, show_default=True, help="Time limit of one download, in seconds."
)
@common_options
def fetch(names: tuple[str, ...], from_file: Path | None, sha256: str | None, no_top: bool, timeout: float, as_json: bool) -> None:
    """Download the weights of networks into the cache, over https, checked against their published SHA-256.

    \b
    el-larq zoo fetch quicknet
    el-larq zoo fetch quicknet --from-file quicknet_weights.h5
    """
    from el_larq.errors import UsageError
    from el_larq.zoo.published_files import weights_file
    from el_larq.zoo.weights_cache import fetch_weights

    files = [weights_file(name, top=not no_top) for name in names]
    if len(files) != 1 and (from_file is not None or sha256 is not None):
        raise UsageError("--from-file and --sha256 apply to one file; name one network")
    if sha256 is not None and sha256.lower() != files[0].sha256:
        from el_larq.cli.common import start_tensorflow

        start_tensorflow()  # to compare the file's layers with the network's
    fetched = []
    for file in files:
        with interruptible():
            found = fetch_weights(
                file.network,
                top=file.top,
                from_file=from_file,
                sha256=sha256,
                notify=download_progress(file.name),
                seconds=timeout,
            )
        how = "as published" if found.published else "as given with --sha256"
        fetched.append(
            {"name": file.network, "path": str(found.path), "sha256": found.sha256, "checked": how, "fetched": found.fresh}
        )
        if not as_json:
            show(found.path)
            show(f"  sha256 {found.sha256} ({how}{'' if found.fresh else '; was here already'})")
    if as_json:
        print_json(fetched)


@command.command()
@click.argument("name", shell_complete=_complete_names)
@_no_top
@common_options
def path(name: str, no_top: bool, as_json: bool) -> None:
    """Print the path of the weights file of NAME in the cache."""
    from el_larq.zoo.weights_cache import need_weights

    found = need_weights(name, top=not no_top)
    if as_json:
        print_json({"name": found.file.network, "path": str(found.path), "sha256": found.sha256, "published": found.published})
    else:
        show(found.path)
