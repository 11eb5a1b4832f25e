"""Recipes in YAML files: the fields of `el_larq.training.recipe.Recipe`, one per line. Does not import TensorFlow.

A recipe of several stages has a list `stages`, each with these fields; a field next to the list applies to all stages that do not
state it themselves.
"""

import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from el_larq.errors import UsageError, unknown_name
from el_larq.files import read_bytes
from el_larq.methods.method import BINARIZED, INSTEAD_OF_SIGN
from el_larq.training.recipe import (
    ATTENTION_NORMS,
    BATCH_NORM,
    CLASS_WEIGHTS,
    DEFAULTS,
    KEPT,
    OPTIMIZERS,
    PRECISIONS,
    PRUNE,
    QAT_RANGES,
    SCHEDULES,
    Recipe,
)
from el_larq.training.recipes import get_recipe

_TYPES: dict[str, Any] = get_type_hints(Recipe)

_OF_RECIPE = ("name", "summary", "method")
"""The fields of a recipe of several stages that are not values for all its stages."""

_SPELLED = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    str | None: "a text or null",
    float | None: "a number or null",
    tuple[float, ...]: "a list of numbers",
    tuple[str, ...]: "a list of texts",
    tuple[Recipe, ...]: "a list of stages, each with the fields of a recipe",
}

FIELD_HELP = {
    "name": "",
    "summary": "",
    "epochs": "",
    "batch_size": "",
    "learning_rate": "the peak",
    "warmup": "fraction of all steps, linear from 0",
    "weight_decay": "decoupled; real-valued kernels only",
    "label_smoothing": "0 to 1",
    "optimizer": ", ".join(OPTIMIZERS),
    "momentum": "Nesterov; sgd only",
    "schedule": ", ".join(SCHEDULES),
    "drop_at": "fractions of all steps; step only",
    "drop": "factor at each of them; step only",
    "clip_norm": "largest global norm of the gradients, or null",
    "bop_threshold": "averaged gradient at which a weight flips; bop only",
    "bop_gamma": "rate of that average; bop only",
    "keep": f"{', '.join(KEPT)} epoch: the model that is saved and tested",
    "patience": "epochs without a better validation before it stops; 0: never",
    "average": "decay of a moving average of the weights; 0: none",
    "random_augment": "random operations per training image; 0: none",
    "random_magnitude": "of these operations, 0 to 1",
    "mixup": "alpha; 0: none",
    "cutmix": "alpha; 0: none",
    "class_weights": f"{', '.join(CLASS_WEIGHTS)}: weights of the cross-entropy with the labels",
    "precision": ", ".join(PRECISIONS),
    "qat_bits": "8 to simulate int8, 6 or 4 for fewer bits, or 0",
    "qat_ranges": f"{', '.join(QAT_RANGES)}; of qat_bits",
    "prune": ", ".join(PRUNE),
    "sparsity": "share of weights that are pruned in the end",
    "prune_from": "fraction of all steps where pruning begins",
    "prune_to": "where it ends",
    "freeze": "none, backbone, or patterns of layers' names",
    "backbone_rate": "factor of the learning rate for all layers but the head",
    "batch_norm": f"{', '.join(BATCH_NORM)}: of the backbone",
    "binarize": ", ".join(BINARIZED),
    "instead_of_sign": f"{', '.join(INSTEAD_OF_SIGN)}; if nothing is binarized",
    "cross_entropy": "loss weight: the labels",
    "logits": "loss weight: divergence from the teacher at the temperature",
    "temperature": "of the logits",
    "distributional": "loss weight: cross-entropy with the teacher's probabilities",
    "attention": "loss weight: attention maps like the teacher's",
    "attention_on": "layers or prefixes; [] for the blocks that both have",
    "attention_norm": ", ".join(ATTENTION_NORMS),
    "method": "if no --method is given",
    "network": "in a stage: another network than the run's",
    "start": "earlier stage or model, or null",
    "teacher": "earlier stage, model, run folder or network, or null",
    "stages": "",
}
"""A comment for each field in a printed recipe; empty where the name says enough."""

_LIMIT = 1 << 16

_SUFFIXES = (".yaml", ".yml", ".json")


class _Loader(yaml.SafeLoader):
    """Plain values only; a field that appears twice is an error, where PyYAML keeps the last one."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value} appears twice", problem_mark=key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def is_file(name: str | Path) -> bool:
    """Whether it names a recipe's file."""
    return Path(name).suffix.lower() in _SUFFIXES


def find_recipe(name: str | Path) -> Recipe:
    """The recipe of a name, or of a file.

    Raises:
        UsageError: an unknown name, or a file that is not a recipe.
        ElLarqError: the file cannot be read.
    """
    return read_recipe(Path(name)) if is_file(name) else get_recipe(str(name))


def read_recipe(path: Path) -> Recipe:
    """Read a recipe. Fields with a default may be omitted; the name is then the file's.

    Raises:
        UsageError: it is not YAML, a field is unknown, missing or of another type, or a value is out of range.
        ElLarqError: the file cannot be read.
    """
    content = _parse(path)
    stages = content.get("stages")
    try:
        if (not stages and not isinstance(stages, list)) or stages == []:
            recipe = _recipe(path, {"name": path.stem, "summary": ""} | content).with_changes()
            if recipe.network is not None:
                raise UsageError("network belongs to a stage; give the network on the command line")
            return recipe
        content = {"name": path.stem, "summary": "", "method": None} | content
        known = {name: _convert(path, name, content[name]) for name in _OF_RECIPE}
        shared = {name: value for name, value in content.items() if name not in (*_OF_RECIPE, "stages")}
        parts = tuple(_stage(path, shared, number, stage) for number, stage in enumerate(_convert(path, "stages", stages), 1))
        return Recipe.of_stages(known["name"], known["summary"], parts, known["method"]).with_changes()
    except _MisfitError:
        raise
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


class _MisfitError(UsageError):
    """An error that already names the file."""


def _stage(path: Path, shared: dict[Any, Any], number: int, content: Any) -> Recipe:
    if not isinstance(content, dict):
        raise _MisfitError(f"{path}: stage {number} must have the fields of a recipe; got {_spell(content)}")
    if "name" not in content:
        raise _MisfitError(f"{path}: stage {number} has no name")
    if "stages" in content:
        raise _MisfitError(f"{path}: stages of stage {number} must be omitted; list all stages in one list")
    return _recipe(path, {"summary": ""} | shared | content, f" of stage {number}")


def _recipe(path: Path, content: dict[Any, Any], where: str = "") -> Recipe:
    """A recipe of one stage, or one stage. ``where`` says which, for messages."""
    for name in content:
        if name not in _TYPES:
            raise _MisfitError(str(unknown_name(f"field{where} in {path}:", str(name)[:80], _TYPES)))
    for name in _TYPES:
        if name not in content and name not in DEFAULTS:
            raise _MisfitError(f"{path} has no {name}{where}; el-larq list recipes --yaml standard prints a complete recipe")
    return Recipe(**{name: _convert(path, f"{name}{where}", value) for name, value in content.items()})


def to_yaml(recipe: Recipe) -> str:
    """The recipe as a file, with a comment for each field that needs one."""
    if not recipe.stages:
        return "".join(f"{line}\n" for line in _lines(recipe, [name for name in _TYPES if name != "stages"]))
    lines = [*_lines(recipe, _OF_RECIPE), "stages:"]
    for stage in recipe.stages:
        for index, line in enumerate(_lines(stage, [name for name in _TYPES if name != "stages"])):
            lines.append(f"  {'  ' if index else '- '}{line}")
    return "\n".join(lines) + "\n"


def _lines(recipe: Recipe, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        value = getattr(recipe, name)
        value = list(value) if isinstance(value, tuple) else value
        text = yaml.safe_dump(value, default_flow_style=True, width=1000, allow_unicode=True).splitlines()[0]
        line = f"{name}: {text}"
        yield f"{line:<28}# {FIELD_HELP[name]}" if FIELD_HELP[name] else line


def _parse(path: Path) -> dict[Any, Any]:
    try:
        content = yaml.load(read_bytes(path, _LIMIT), _Loader)
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise UsageError(f"{path} is not valid YAML: {where}{error.problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not valid YAML: it contains bytes or values that YAML does not allow") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} is not a recipe; el-larq list recipes --yaml standard prints one to start from")
    return content


def _convert(path: Path, name: str, value: Any) -> Any:
    """The value in the field's type. YAML 1.1, which PyYAML reads, takes 1e-3 for a text: it needs a dot and a sign."""
    kind = _TYPES[name.partition(" ")[0]]
    try:
        if kind is str or kind is int:
            if type(value) is kind:
                return value
        elif value is None and isinstance(kind, types.UnionType):
            return None
        elif kind == str | None:
            if isinstance(value, str):
                return value
        elif kind == tuple[str, ...]:
            if isinstance(value, list) and all(isinstance(item, str) for item in value):
                return tuple(value)
        elif kind == tuple[Recipe, ...]:
            if isinstance(value, list):
                return value
        elif kind == tuple[float, ...]:
            if isinstance(value, list):
                return tuple(_number(item) for item in value)
        else:
            return _number(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise _MisfitError(f"{path}: {name} must be {_SPELLED[kind]}; got {_spell(value)}")


def _spell(value: Any) -> str:
    return repr(value)[:80] if isinstance(value, (str, int, float, type(None))) else f"a {type(value).__name__}"


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    return float(value)
