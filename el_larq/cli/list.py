"""`el-larq list`."""

from collections.abc import Callable
from typing import Any

import click

from el_larq.cli.common import common_options, print_json, print_table


def _networks() -> list[dict[str, Any]]:
    from el_larq.models.registry import NETWORKS

    return [
        {"name": n.name, "summary": n.summary, "links": ", ".join(n.links), "reference": n.reference} for n in NETWORKS.values()
    ]


def _methods() -> list[dict[str, Any]]:
    from el_larq.methods.registry import METHODS

    return [
        {
            "name": m.name,
            "year": m.year,
            "bits": m.bits,
            "link": m.link.name,
            "resnet18": m.published.get("resnet18", ("", ""))[0],
            "summary": m.summary,
            "reference": m.reference,
        }
        for m in METHODS.values()
    ]


def _links() -> list[dict[str, Any]]:
    from el_larq.methods.link import LINKS

    return [{"name": link.name, "summary": link.summary} for link in LINKS.values()]


def _recipes() -> list[dict[str, Any]]:
    from el_larq.training.recipe import RECIPES

    return [
        {
            "name": r.name,
            "epochs": r.epochs,
            "batch_size": r.batch_size,
            "learning_rate": r.learning_rate,
            "summary": r.summary,
        }
        for r in RECIPES.values()
    ]


def _datasets() -> list[dict[str, Any]]:
    from el_larq.data.registry import DATASETS

    return [{"name": d.name, "summary": d.summary} for d in DATASETS.values()]


def _targets() -> list[dict[str, Any]]:
    from el_larq.devices.targets import TARGETS

    return [{"name": name, "summary": summary} for name, summary in TARGETS.items()]


KINDS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "networks": _networks,
    "methods": _methods,
    "links": _links,
    "recipes": _recipes,
    "datasets": _datasets,
    "targets": _targets,
}

_TITLES = {"methods": "methods (bits of weights/activations; resnet18: ImageNet top-1 in percent as published)"}


@click.command(name="list")
@click.argument("kind")
@common_options
def command(kind: str, as_json: bool) -> None:
    """List KIND: networks, methods, links, recipes, datasets or targets."""
    from el_larq.errors import unknown_name

    if kind not in KINDS:
        raise unknown_name("list", kind, KINDS)
    entries = KINDS[kind]()
    if as_json:
        print_json(entries)
        return
    headings = list(entries[0])
    print_table(_TITLES.get(kind, kind), headings, [[entry[heading] for heading in headings] for entry in entries])
