"""The stages of a recipe, as a list: names, references, and shares of the epochs. Does not import TensorFlow."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from el_larq.errors import UsageError


class Stage(Protocol):
    """What this module needs of a stage, which is an `el_larq.training.recipe.Recipe`."""

    @property
    def name(self) -> str: ...
    @property
    def start(self) -> str | None: ...
    @property
    def teacher(self) -> str | None: ...
    @property
    def stages(self) -> tuple[Any, ...]: ...


REFERENCES = {"start": "starts from", "teacher": "has the teacher"}
"""The fields of a stage that may name another stage, and how to say so."""


def stage_folders(stages: Sequence[Stage], folder: Path) -> list[Path]:
    """The run folders of the stages of a run: FOLDER/1-NAME, FOLDER/2-NAME, ..."""
    return [folder / f"{number}-{stage.name}" for number, stage in enumerate(stages, 1)]


def check_stages(stages: Sequence[Stage]) -> None:
    """Check the stages against each other: names, references to later stages, cycles.

    Raises:
        UsageError: what is wrong, with the stage's name.
    """
    names = [stage.name for stage in stages]
    for stage in stages:
        name = stage.name
        if not name or name.startswith(".") or any(character in name for character in "/\\\0"):
            raise UsageError(f"a stage's name is the name of a folder; {name!r} cannot be one")
        if names.count(name) > 1:
            raise UsageError(f"two stages have the name {name}")
        if stage.stages:
            raise UsageError(f"stage {name} contains stages; list all stages in one list")
    _check_acyclic({stage.name: [getattr(stage, field) for field in REFERENCES] for stage in stages})
    for index, stage in enumerate(stages):
        for field, verb in REFERENCES.items():
            reference = getattr(stage, field)
            if reference in names[index:]:
                raise UsageError(
                    f"stage {stage.name} {verb} {reference}, which comes later; stages run in the order in which they are listed"
                )


def _check_acyclic(references: Mapping[str, Iterable[str | None]]) -> None:
    def visit(name: str, path: list[str]) -> None:
        if name in path:
            cycle = [*path[path.index(name) :], name]
            raise UsageError(f"the stages form a cycle: {' -> '.join(cycle)}; let one of them start from a model or from nothing")
        for reference in references[name]:
            if reference in references:
                visit(str(reference), [*path, name])

    for name in references:
        visit(name, [])


def shared_epochs(total: int, epochs: Sequence[int], recipe: str) -> list[int]:
    """Share ``total`` epochs out in proportion to ``epochs``, at least one for each stage.

    Raises:
        UsageError: there are fewer epochs than stages.
    """
    if total < len(epochs):
        raise UsageError(f"epochs must be at least {len(epochs)} for the {len(epochs)} stages of {recipe}; got {total}")
    exact = [total * count / sum(epochs) for count in epochs]
    shares = [max(1, int(share)) for share in exact]
    while sum(shares) != total:
        step = 1 if sum(shares) < total else -1
        candidates = [index for index, share in enumerate(shares) if share + step >= 1]
        # The stage that is furthest from its exact share; the first of equals.
        nearest = max(candidates, key=lambda index: step * (exact[index] - shares[index]))
        shares[nearest] += step
    return shares
