"""The plan of a comparison: names, checked before TensorFlow starts, and the resulting trainings. Does not import TensorFlow."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

from el_larq.errors import UsageError, unknown_name
from el_larq.methods.method import Method
from el_larq.methods.method_registry import METHODS, get_method, parse_options
from el_larq.models.network_registry import fits, get_network
from el_larq.training.recipe import Recipe
from el_larq.training.recipes import OWN, own_recipe
from el_larq.training.training_plan import Settings, SharedSettings, TrainingPlan, make_plan

ALL = "all"
"""In place of names of methods: all that fit each network."""


@dataclass(frozen=True)
class Pair:
    """A network with a method; ``plan`` is its training with the first seed."""

    plan: TrainingPlan

    @property
    def network(self) -> str:
        return self.plan.network_name

    @property
    def method(self) -> Method:
        return self.plan.method

    @property
    def name(self) -> str:
        return f"{self.network}-{self.method.name}"


@dataclass(frozen=True)
class ComparisonPlan:
    """All pairs, each to be trained with the seeds 0 to ``seeds`` - 1. Everything but network and method is the same for all.

    network_options: those that were given; a pair's plan may also have a block variant.
    own_recipes: each method has its own recipe, with the same number of epochs in all.
    """

    pairs: tuple[Pair, ...]
    seeds: int
    network_options: Mapping[str, Any]
    own_recipes: bool = False

    @property
    def shared(self) -> TrainingPlan:
        """A plan with the settings that all trainings share."""
        return self.pairs[0].plan

    @property
    def options(self) -> dict[str, dict[str, Any]]:
        """Each method's own options, with their values."""
        return {pair.method.name: dict(pair.method.options) for pair in self.pairs}

    @property
    def recipes(self) -> dict[str, dict[str, Any]]:
        """Each method's recipe for JSON, if each has its own."""
        return {pair.method.name: _settings_of(pair.plan.recipe) for pair in self.pairs} if self.own_recipes else {}

    def settings(self) -> dict[str, Any]:
        """The shared settings for JSON."""
        plan = self.shared
        return {
            "dataset": plan.dataset,
            "recipe": OWN if self.own_recipes else _settings_of(plan.recipe),
            "width": plan.width,
            "image_size": plan.image_size,
            "network_options": dict(self.network_options),
            "validation": "default" if plan.validation is None else plan.validation,
        }


def _settings_of(recipe: Recipe) -> dict[str, Any]:
    """Without the summary, which has no effect."""
    return {name: value for name, value in asdict(recipe).items() if name != "summary"}


@dataclass(frozen=True)
class Task:
    """One training of a comparison, in the form sent to the process that executes it.

    deploy: also convert the model. One seed per pair is enough, since its costs do not depend on the weights.
    """

    pair: str
    plan: TrainingPlan
    deploy: bool

    @property
    def folder(self) -> Path:
        assert self.plan.out is not None
        return self.plan.out

    @property
    def name(self) -> str:
        return f"{self.plan.network_name} {self.plan.method.name} seed {self.plan.seed}"


def plan_comparison(
    networks: Sequence[str],
    methods: Sequence[str],
    seeds: int,
    options: Sequence[str] = (),
    **shared: Unpack[SharedSettings],
) -> ComparisonPlan:
    """The plan for the given networks and methods; ``["all"]`` stands for all methods that fit each network.

    Arguments:
        options: options of the methods, each as METHOD.NAME=VALUE.
        shared: settings of all trainings: data set, recipe, width, image size, network options, validation. With the recipe
            "own", each method is trained by `el_larq.training.recipes.own_recipe`, all with the same ``epochs``.

    Raises:
        ElLarqError: the data set does not exist.
        UsageError: an unknown name, an incompatible pair, or a value out of range.
    """
    if seeds < 1:
        raise UsageError(f"seeds must be at least 1; got {seeds}")
    entries = [get_network(name) for name in dict.fromkeys(networks)]
    everything = list(methods) == [ALL]
    names = list(METHODS) if everything else list(dict.fromkeys(methods))
    if not entries or not names:
        raise UsageError("a comparison needs at least one network and one method")
    texts = _sort_options(options, names)
    chosen = {name: parse_options(name, texts.get(name, ())) for name in names}
    given = dict(shared.get("network_options") or {})
    variant = given.get("variant")
    own = shared.get("recipe") == OWN
    if own and shared.get("epochs") is None:
        raise UsageError("recipe own: the methods' recipes differ in their epochs; give the same number for all, as in --epochs 20")
    pairs = []
    for network in entries:
        for name in names:
            method = get_method(name, chosen=chosen[name])
            if everything and not (fits(network, method) and method.variant in (None, variant or method.variant)):
                continue
            settings: Settings = {**shared, "method": name, "method_options": chosen[name]}
            if own:
                settings["recipe"] = own_recipe(name)
            pairs.append(Pair(make_plan(network.name, **settings)))
    if not pairs:
        raise UsageError("no method fits: name the methods, or choose another variant")
    return ComparisonPlan(tuple(pairs), seeds, given, own)


def _sort_options(options: Sequence[str], methods: Sequence[str]) -> dict[str, list[str]]:
    """Group options by method: ``["xnor.k=all"]`` becomes ``{"xnor": ["k=all"]}``."""
    texts: dict[str, list[str]] = {}
    for text in options:
        method, dot, rest = text.partition(".")
        if not dot or "=" in method:
            raise UsageError(f"option {text!r} is not METHOD.NAME=VALUE, as in xnor.k=all")
        if method not in methods:
            raise unknown_name("method of an option", method, methods)
        texts.setdefault(method, []).append(rest)
    return texts
