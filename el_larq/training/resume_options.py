"""Checks of the options given together with --resume against the run's config. Does not import TensorFlow."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from el_larq.data.dataset_registry import parse_name
from el_larq.data.names import with_options
from el_larq.errors import UsageError
from el_larq.links.link_registry import flagged_options
from el_larq.methods.method_registry import parse_options
from el_larq.models.network_registry import OPTIONS
from el_larq.training.config import CONFIG, TrainConfig, recipe_of
from el_larq.training.extension import check_epochs
from el_larq.training.recipe import DEFAULTS
from el_larq.training.recipe_file import find_recipe, is_file
from el_larq.training.training_plan import CHANGES


def _complete(dataset: str) -> str:
    """A data set's name as a run's config stores it."""
    name = parse_name(dataset)
    if name.kind != "tfds":
        return str(name)
    from el_larq.data.prepared import find

    return str(find(name)[0])


def _last_stage(config: TrainConfig) -> dict[str, Any]:
    """The recipe of a run or, if it has stages, that of the last one: most of what the command line changes is changed in all."""
    return (config.recipe.get("stages") or [config.recipe])[-1]


def _pruning_stage(config: TrainConfig) -> dict[str, Any]:
    """The stage whose pruning the command line changes: the first one that prunes."""
    stages = config.recipe.get("stages") or [config.recipe]
    return next((stage for stage in stages if stage.get("prune", "none") != "none"), stages[-1])


_KNOWN: dict[str, Callable[[TrainConfig], Any]] = {
    "network": lambda config: config.network,
    "method": lambda config: config.method,
    "link": lambda config: config.link,
    "recipe": lambda config: config.recipe.get("name"),
    **{
        name: lambda config, name=name: _last_stage(config).get(name, DEFAULTS.get(name))
        for name in CHANGES
        if name not in ("learning_rate", "epochs", "prune", "sparsity")
    },
    **{name: lambda config, name=name: _pruning_stage(config).get(name, DEFAULTS.get(name)) for name in ("prune", "sparsity")},
    "image_size": lambda config: config.image_size,
    "width": lambda config: config.width,
    "placement": lambda config: config.placement,
    "seed": lambda config: config.seed,
    "deterministic": lambda config: "on" if config.deterministic else "off",
    "strategy": lambda config: (config.distribution or {}).get("strategy", "none"),
    "scale_batch": lambda config: (config.distribution or {}).get("scaled_by", 1) != 1,
    "strict": lambda config: config.strict,
    "validation": lambda config: config.validation,
}

_FREE = (
    "workers",
    "worker_index",
    "worker_timeout",
    "resume",
    "as_json",
    "verbose",
    "quiet",
    "log",
    "learning_rate",
    "checkpoint_every",
    "modules",
    "trust",
)
"""Options that are not compared with the config. learning_rate is checked by `el_larq.training.train.resume`."""


def check_no_contradiction(config: TrainConfig, folder: Path, given: Mapping[str, Any]) -> None:
    """Raise UsageError if an option given together with --resume differs from what the run was started with.

    Arguments:
        given: the options that were given on the command line, by parameter name.
    """
    for name, value in given.items():
        if name in _FREE or (name, value) == ("deterministic", "auto"):
            continue
        if name == "epochs":
            check_epochs(folder, config, value)
            continue
        option = "NETWORK" if name == "network" else "--" + name.replace("_", "-")
        if name == "options":
            option = "--option"
            wrong = {k: v for k, v in parse_options(config.method, value).items() if config.method_options.get(k) != v}
            value, has = wrong, {k: config.method_options.get(k) for k in wrong}
            same = not wrong
        elif name == "out":
            has, same = folder, Path(value).resolve() == folder.resolve()
        elif name == "dataset":
            value, has = with_options(value, given.get("data_dir"), given.get("augment")), config.dataset
            same = value == has or _complete(value) == has
        elif name == "recipe" and is_file(value):
            # These may have been changed by options, and are compared if they are given.
            own, had = find_recipe(value), recipe_of(config, folder)
            same = own == replace(had, **{field: getattr(own, field) for field in CHANGES})
            has = f"another recipe, {had.name}" if own.name != had.name else f"other fields, see {folder / CONFIG}"
        elif name in ("data_dir", "augment") and "dataset" in given:
            continue  # part of the data set's name
        elif name in (of_links := flagged_options()):
            option_of_link = of_links[name]
            unset = False if option_of_link.kind is bool else None
            stored = config.link_options.get(option_of_link.name)
            has = unset if stored is None else option_of_link.from_stored(stored)
            same = value == has
        elif name in _KNOWN or name in OPTIONS:
            has = _KNOWN[name](config) if name in _KNOWN else config.network_options.get(name)
            same = value == has
        else:
            raise UsageError(f"{option} cannot be combined with --resume: {folder} continues with its original settings")
        if not same:
            has = "the default" if has is None else has
            raise UsageError(f"{option} {value} contradicts {folder}, which was started with {has}; omit it")
