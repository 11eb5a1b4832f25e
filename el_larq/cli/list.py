"""`el-larq list`."""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from el_larq.cli.common import common_options, print_json, print_table, show

if TYPE_CHECKING:
    from el_larq.counting.network_costs import Cost
    from el_larq.published import Published


def _networks() -> list[dict[str, Any]]:
    from el_larq.models.network_registry import DETECTORS, NETWORKS
    from el_larq.published import of_network

    return [
        {
            "name": n.name,
            "task": "detection" if n.name in DETECTORS else "classification",
            "summary": n.summary,
            "links": ", ".join(n.supported_links),
            "variants": ", ".join(n.variants),
            "options": ", ".join(n.options),
            "published": _sourced(of_network(n.name)),
            "reference": n.reference,
        }
        for n in (NETWORKS | DETECTORS).values()
    ]


def _methods() -> list[dict[str, Any]]:
    from el_larq.methods.method_registry import METHODS, get_maker
    from el_larq.methods.options import choices
    from el_larq.published import of_method

    found = []
    for method in METHODS.values():
        top1, source = of_method(method.name).get("resnet18", ("", ""))
        maker = get_maker(method.name)
        found.append(
            {
                "name": method.name,
                "year": method.year,
                "bits": method.bits,
                "link": method.link.name,
                "extra cost": method.cost,
                "resnet18": top1,
                "source": source,
                "reference": method.reference,
                "summary": method.summary,
                "options": choices(maker) if maker else {},
                "variant": method.variant,
                "search": method.search is not None,
                "published": _sourced(of_method(method.name)),
            }
        )
    return found


def _sourced(figures: "Published") -> dict[str, Any]:
    return {what: {"value": value, "source": source} for what, (value, source) in figures.items()}


def _links() -> list[dict[str, Any]]:
    from el_larq.links.link_registry import LINKS

    return [{"name": link.name, "summary": link.summary} for link in LINKS.values()]


def _recipes() -> list[dict[str, Any]]:
    from el_larq.training.recipes import RECIPES

    return [asdict(recipe) for recipe in RECIPES.values()]


def _datasets() -> list[dict[str, Any]]:
    from el_larq.data.dataset_registry import DATASETS, PATTERNS

    named = {entry.name: entry.summary for entry in DATASETS.values()}
    return [{"name": name, "summary": summary} for name, summary in (named | PATTERNS).items()]


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

_ZOO = "zoo"
"""`el-larq list zoo` is another spelling of `el-larq zoo list`."""

_TITLES = {
    "methods": "methods (bits of weights/activations; resnet18: ImageNet top-1 in percent as published)",
}

_SHOWN = {
    "networks": ("name", "task", "summary", "links", "variants", "reference"),
    "methods": ("name", "year", "bits", "link", "resnet18", "extra cost"),
    "recipes": ("name", "epochs", "batch_size", "learning_rate", "summary"),
}
"""The columns of the printed table, for kinds of which --json prints more."""


@click.command(name="list")
@click.argument("kind")
@click.option("--published", is_flag=True, help="For networks: show published accuracies and costs next to our counts.")
@click.option(
    "--cost",
    "core",
    metavar="CORE",
    help="For networks that classify: show predicted instructions on cortex-a53, cortex-a72 or cortex-a76.",
)
@click.option("--yaml", "recipe", metavar="NAME", help="For recipes: print this one as a YAML file to start from.")
@common_options
def command(kind: str, published: bool, core: str | None, recipe: str | None, as_json: bool) -> None:
    """List KIND: networks, zoo (as el-larq zoo list), methods, links, recipes, datasets or targets."""
    from el_larq.errors import UsageError, unknown_name

    if kind not in (*KINDS, _ZOO):
        raise unknown_name("list", kind, (*KINDS, _ZOO))
    if published:
        if kind != "networks":
            raise UsageError("--published applies to networks; list methods always shows published figures")
        _print_published(as_json)
        return
    if core is not None:
        if kind != "networks":
            raise UsageError("--cost applies to networks; el-larq inspect MODEL --cost CORE predicts it for a model")
        _print_cost(core, as_json)
        return
    if recipe is not None:
        if kind != "recipes" or as_json:
            raise UsageError("--yaml applies to recipes, and cannot be combined with --json")
        from el_larq.training.recipe_file import to_yaml
        from el_larq.training.recipes import get_recipe

        for line in to_yaml(get_recipe(recipe)).splitlines():
            show(line)
        return
    if kind == _ZOO:
        from el_larq.cli.zoo import print_zoo

        print_zoo(as_json)
        return
    entries = KINDS[kind]()
    if as_json:
        print_json(entries)
        return
    headings = _SHOWN.get(kind, tuple(entries[0]))
    print_table(_TITLES.get(kind, kind), headings, [[entry[heading] for heading in headings] for entry in entries])
    if kind == "methods":
        # Below the table: as columns, they would make each row many lines high.
        show()
        _print_notes((entry["name"], _describe_source(entry)) for entry in entries)


def _print_published(as_json: bool) -> None:
    from el_larq import published
    from el_larq.counting.network_costs import costs

    if as_json:
        rows = [asdict(row) | {"top1": dict(zip(published.COLUMNS, row.top1, strict=True))} for row in published.TABLE]
        print_json({"source": published.SOURCE, "top1": rows, "costs": [asdict(cost) for cost in costs()]})
        return
    print_table(
        f"ImageNet top-1 in percent, published: {published.SOURCE}",
        ("method", "year", *published.COLUMNS, "here"),
        [(row.label, row.year or "", *map(published.spell, row.top1), row.method or "") for row in published.TABLE],
    )
    _print_notes((row.label, row.note) for row in published.TABLE)
    rows, sources = [], []
    for network in dict.fromkeys(cost.network for cost in costs()):
        found = [cost for cost in costs() if cost.network == network]
        rows.append((network, *(text for cost in found for text in (_format_figure(cost.counted), _format_published(cost)))))
        sources.append((network, "; ".join(dict.fromkeys(cost.source for cost in found if cost.source))))
    print_table(
        f"Multiply-accumulates of one image at {_sizes()}, counted here, and as published and rounded there (difference)",
        ("network", "BOPs", "published", "FLOPs", "published", "OPs", "published"),
        rows,
    )
    _print_notes(sources)


def _print_cost(core: str, as_json: bool) -> None:
    from el_larq.counting.network_costs import COUNTED, INSTRUCTIONS
    from el_larq.models.network_registry import NETWORKS
    from el_larq.tflite.instructions import check_core

    check_core(core)
    found = [
        {
            "network": name,
            "method": NETWORKS[name].default_method,
            "instructions": by_core[core],
            "bops": COUNTED[name][0],
            "flops": COUNTED[name][1],
        }
        for name, by_core in sorted(INSTRUCTIONS.items(), key=lambda item: item[1][core])
    ]
    if as_json:
        print_json({"core": core, "predicted": True, "networks": found})
        return
    print_table(
        f"Predicted instructions of one inference at {_sizes()}, on {core}, in millions; instructions are not time",
        ("network", "method", "instructions", "BOPs", "FLOPs"),
        [
            (
                row["network"],
                row["method"],
                f"{row['instructions'] / 1e6:.0f}",
                _format_figure(row["bops"]),
                _format_figure(row["flops"]),
            )
            for row in found
        ],
    )
    show(f"Detectors are not included; el-larq inspect MODEL --cost {core} predicts the cost of one.")


def _sizes() -> str:
    """The image sizes that the networks' costs are of: "224x224 (resnet20 and vgg_small: 32x32), 1,000 classes"."""
    from el_larq.models.network_registry import NETWORKS

    by_size: dict[int, list[str]] = {}
    for network in NETWORKS.values():
        by_size.setdefault(network.image_size, []).append(network.name)
    most, *others = sorted(by_size, key=lambda size: -len(by_size[size]))
    rest = "; ".join(f"{' and '.join(by_size[size])}: {size}x{size}" for size in others)
    return f"{most}x{most} ({rest}), 1,000 classes"


def _describe_source(method: dict[str, Any]) -> str:
    """The method's paper, and the source of its accuracy."""
    return "; ".join(filter(None, (method["reference"], method["source"] and f"resnet18 as in: {method['source']}")))


def _print_notes(notes: Iterable[tuple[str, str]]) -> None:
    for name, note in notes:
        if note:
            show(f"{name}: {note}")
    show()


def _format_published(cost: "Cost") -> str:
    return "" if cost.published is None else f"{_format_figure(cost.published)} {cost.difference:+.1%}"


def _format_figure(figure: float) -> str:
    """A figure with three digits: 1_676_279_808 becomes 1.68e9."""
    return f"{figure:.2e}".replace("e+0", "e").replace("e+", "e")
