"""The plan of a comparison: names, checked before TensorFlow starts, and the resulting trainings. Does not import TensorFlow."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from el_larq.data.registry import check_dataset
from el_larq.data.validation import check_share
from el_larq.errors import UsageError, unknown_name
from el_larq.methods.method import Method
from el_larq.methods.registry import METHODS, get_method, parse_options
from el_larq.models.registry import check_options, check_pair, fits, get_network, resolve_variant
from el_larq.training.recipe import Recipe

ALL = "all"
"""In place of names of methods: all that fit each network."""


@dataclass(frozen=True)
class Settings:
    """The settings that all trainings of a comparison share.

    network_options: arguments of the network's builder: stem, downsample, variant ...
    validation: as in `el_larq.training.train.train`.
    """

    dataset: str
    recipe: Recipe
    width: float = 1.0
    image_size: int | None = None
    network_options: Mapping[str, Any] | None = None
    validation: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The settings for JSON, without the recipe's summary, which has no effect."""
        content = asdict(self) | {"network_options": dict(self.network_options or {})}
        content["validation"] = "default" if self.validation is None else self.validation
        del content["recipe"]["summary"]
        return content


@dataclass(frozen=True)
class Pair:
    """A network with a method."""

    network: str
    method: Method

    @property
    def name(self) -> str:
        return f"{self.network}-{self.method.name}"


@dataclass(frozen=True)
class Plan:
    """All pairs, each to be trained with the seeds 0 to ``seeds`` - 1."""

    pairs: tuple[Pair, ...]
    seeds: int
    settings: Settings

    @property
    def options(self) -> dict[str, dict[str, Any]]:
        """Each method's own options, with their values."""
        return {pair.method.name: dict(pair.method.options) for pair in self.pairs}


@dataclass(frozen=True)
class Training:
    """One training of a comparison, in the form sent to the process that executes it: names and plain values.

    deploy: also convert the model. One seed per pair is enough, since its costs do not depend on the weights.
    """

    network: str
    method: str
    method_options: dict[str, Any]
    seed: int
    settings: Settings
    folder: Path
    deploy: bool

    @property
    def name(self) -> str:
        return f"{self.network} {self.method} seed {self.seed}"

    @property
    def pair(self) -> str:
        """The `Pair.name` of its pair."""
        return f"{self.network}-{self.method}"


def make_plan(networks: Sequence[str], methods: Sequence[str], seeds: int, settings: Settings, options: Sequence[str] = ()) -> Plan:
    """The plan for the given networks and methods; ``["all"]`` stands for all methods that fit each network.

    Arguments:
        options: options of the methods, each as METHOD.NAME=VALUE.

    Raises:
        ElLarqError: the data set does not exist.
        UsageError: an unknown name, an incompatible pair, or a value out of range.
    """
    if seeds < 1:
        raise UsageError(f"seeds must be at least 1; got {seeds}")
    check_dataset(settings.dataset)
    if settings.validation is not None:
        check_share(settings.validation)
    if not 0 < settings.width < float("inf"):
        raise UsageError(f"width must be positive; got {settings.width:g}")
    entries = [get_network(name) for name in dict.fromkeys(networks)]
    everything = list(methods) == [ALL]
    names = list(METHODS) if everything else list(dict.fromkeys(methods))
    if not entries or not names:
        raise UsageError("a comparison needs at least one network and one method")
    texts = _sort_options(options, names)
    chosen = [get_method(name, chosen=parse_options(name, texts.get(name, ()))) for name in names]
    pairs = []
    given = dict(settings.network_options or {})
    variant = given.pop("variant", None)
    for network in entries:
        check_options(network, given)
        for method in chosen:
            if everything and not (fits(network, method) and method.variant in (None, variant or method.variant)):
                continue
            check_pair(network, method.link.name, method.name)
            resolve_variant(network, method, variant)
            pairs.append(Pair(network.name, method))
    return Plan(tuple(pairs), seeds, settings)


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
