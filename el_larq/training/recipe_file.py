"""Recipes in YAML files: the fields of `el_larq.training.recipe.Recipe`, one per line. Does not import TensorFlow."""

import types
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from el_larq.errors import UsageError, unknown_name
from el_larq.files import read_bytes
from el_larq.training.recipe import DEFAULTS, OPTIMIZERS, SCHEDULES, Recipe, get_recipe

_TYPES: dict[str, Any] = get_type_hints(Recipe)

_SPELLED = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    float | None: "a number or null",
    tuple[float, ...]: "a list of numbers",
}

_HELP = {
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
}

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
    for name in content:
        if name not in _TYPES:
            raise unknown_name(f"field in {path}:", str(name)[:80], _TYPES)
    content = {"name": path.stem, "summary": ""} | content
    for name in _TYPES:
        if name not in content and name not in DEFAULTS:
            raise UsageError(f"{path} has no {name}; el-larq list recipes --yaml standard prints a complete recipe")
    values = {name: _convert(path, name, value) for name, value in content.items()}
    try:
        return Recipe(**values).with_changes()
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def to_yaml(recipe: Recipe) -> str:
    """The recipe as a file, with a comment for each field that needs one."""
    lines = []
    for name, value in asdict(recipe).items():
        value = list(value) if isinstance(value, tuple) else value
        text = yaml.safe_dump(value, default_flow_style=True, width=1000, allow_unicode=True).splitlines()[0]
        line = f"{name}: {text}"
        lines.append(f"{line:<28}# {_HELP[name]}" if _HELP[name] else line)
    return "\n".join(lines) + "\n"


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
    kind = _TYPES[name]
    try:
        if kind is str or kind is int:
            if type(value) is kind:
                return value
        elif value is None and isinstance(kind, types.UnionType):
            return None
        elif kind == tuple[float, ...]:
            if isinstance(value, list):
                return tuple(_number(item) for item in value)
        else:
            return _number(value)
    except (TypeError, ValueError, OverflowError):
        pass
    got = repr(value)[:80] if isinstance(value, (str, int, float, type(None))) else f"a {type(value).__name__}"
    raise UsageError(f"{path}: {name} must be {_SPELLED[kind]}; got {got}")


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    return float(value)
