"""Every class of tf-keras as the outermost object of a model and inside one, with a path in each field that takes a text.

Public classes come under their public name, others under their module. What the paths lead to is in `watched`.
"""

import importlib
import inspect
import itertools
import json
import os
import pkgutil
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import damage
import hostile
from PIL import Image
from tensorflow.python.util import tf_export
from tf_keras.protobuf import saved_metadata_pb2

from el_larq.loading.keras_classes import ALLOWED

COMMANDS: dict[str, tuple[str, ...]] = {
    "inspect": ("inspect", "FILE", "--json"),
    "convert": ("convert", "FILE", "-o", "OUT.tflite", "--verify-images", "1", "--json"),
    "evaluate": ("evaluate", "FILE", "--dataset", "digits", "--images", "1", "-o", "OUT", "--json"),
    "predict": ("predict", "FILE", "IMAGE", "--json"),
    "export-weights": ("export-weights", "FILE", "--binary", "-o", "OUT.npz", "--json"),
    "train": ("train", "NETWORK:build", "--dataset", "dir:IMAGES", "--epochs", "1", "--init-from", "FILE", "-o", "OUT", "--json"),
}
"""The commands that open a model. `train` uses a few images, since loading `digits` would take most of the time."""

NETWORK = """
import tf_keras

def build(input_shape, num_classes):
    layers = tf_keras.layers
    return tf_keras.Sequential([layers.Flatten(input_shape=input_shape), layers.Dense(num_classes, name="logits")])
"""

_TARGETS = ("vocabulary.txt", "saved_model", "pipe")
_FIELDS = ("filepath", "path", "vocabulary", "filename", "directory", "log_dir", "config")
_VALUES: dict[str, Any] = {"layer": {"class_name": "Dense", "config": {"units": 1}}, "kernel_size": 1, "pool_size": 2}
_VALUES["cell"] = {"class_name": "SimpleRNNCell", "config": {"units": 1}}

Config = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """A place for an object in a file, and the function that writes the file."""

    name: str
    write: Callable[[Path, Path, Config], Path]


def fill(seeds: Path, watched: Path) -> None:
    """Write the targets of the paths: a vocabulary, a SavedModel, and a pipe, which a reader would never finish to read."""
    (watched / _TARGETS[0]).write_text("7\n8\n")
    shutil.copytree(seeds / "saved_model", watched / _TARGETS[1])
    os.mkfifo(watched / _TARGETS[2])


def public_classes() -> list[type]:
    """The classes that tf-keras exports."""
    found = {known for known in tf_export._NAME_TO_SYMBOL_MAPPING.values() if inspect.isclass(known)}
    return sorted((known for known in found if known.__module__.startswith("tf_keras.")), key=_full_name)


def other_classes() -> list[type]:
    """The classes that it does not export, which a file can name by their module."""
    public, found = set(public_classes()), {}
    for module in pkgutil.walk_packages(importlib.import_module("tf_keras.src").__path__, "tf_keras.src."):
        for known in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(known) and known.__module__.startswith("tf_keras.") and known not in public:
                found[_full_name(known)] = known
    return [found[name] for name in sorted(found)]


def configs(known: type, watched: Path, target: int, single: bool) -> Iterator[Config]:
    """The object with a path in all its fields, and with ``single`` in one field at a time, with valid values in the others."""
    path = str(watched / _TARGETS[target])
    fields = _fields(known)
    yield _object(known, dict.fromkeys((*fields, *_FIELDS), path))
    if single:
        sound = {name: _VALUES.get(name, 1) for name, required in fields.items() if required}
        yield from (_object(known, {**sound, name: path}) for name in fields if name != "name")


def places() -> list[Place]:
    """The outermost object and a layer first."""

    def root(seeds: Path, folder: Path, node: Config) -> Path:
        return _keras(seeds, folder, lambda _: node)

    def layer(seeds: Path, folder: Path, node: Config) -> Path:
        return _keras(seeds, folder, lambda config: hostile.with_layer(config, _as_layer(node)))

    def part(seeds: Path, folder: Path, node: Config) -> Path:
        return layer(seeds, folder, hostile.make_layer("Dense", units=1, kernel_initializer=node))

    def cell(seeds: Path, folder: Path, node: Config) -> Path:
        return layer(seeds, folder, hostile.make_layer("RNN", cell=node))

    def wrapped(seeds: Path, folder: Path, node: Config) -> Path:
        return layer(seeds, folder, hostile.make_layer("TimeDistributed", layer=node))

    def compiled(seeds: Path, folder: Path, node: Config) -> Path:
        def change(config: Any) -> Any:
            config["config"]["layers"][1]["compile_config"] = {"optimizer": node, "loss": node, "metrics": [node]}
            return {**config, "compile_config": {"optimizer": node}}

        return _keras(seeds, folder, change)

    def root_h5(seeds: Path, folder: Path, node: Config) -> Path:
        return _h5(seeds, folder, lambda _: _legacy(node))

    def layer_h5(seeds: Path, folder: Path, node: Config) -> Path:
        return _h5(seeds, folder, lambda config: hostile.with_layer(config, _legacy(_as_layer(node))))

    def root_saved(seeds: Path, folder: Path, node: Config) -> Path:
        return _saved(seeds, folder, "tiny", node)

    def layer_saved(seeds: Path, folder: Path, node: Config) -> Path:
        return _saved(seeds, folder, "logits", node)

    made = (root, layer, part, cell, wrapped, compiled, root_h5, layer_h5, root_saved, layer_saved)
    return [Place(write.__name__, write) for write in made]


@dataclass(frozen=True)
class ClassCase:
    """A file, the commands that open it, and further ones for the case that the first command succeeds.

    All commands load a model with the same function, so a file that this function refuses shows nothing new in more commands.
    """

    name: str
    path: Path
    commands: list[tuple[str, ...]]
    further: list[tuple[str, ...]]


def cases(
    seeds: Path, folder: Path, watched: Path, step: int = 1, step_of_others: int = 1, random: Random | None = None
) -> Iterator[ClassCase]:
    """Each case, or one of ``step`` by ``random``; without it, every ``step``-th. A file exists until the next case.

    Public classes as outermost object and as layer of a .keras are given to `inspect` and, in turn, one of the other commands; if
    `inspect` can open the file, to all of them. Other cases (other places, single fields, classes that are not public) are given
    to one command, in turn.
    """
    (folder / "network.py").write_text(NETWORK)
    _write_images(folder / "images")
    words = {
        "IMAGE": str(seeds / "image.png"),
        "NETWORK:build": f"{folder / 'network.py'}:build",
        "dir:IMAGES": f"dir:{folder / 'images'}",
    }
    # Starting a training takes several times as long as the others. A case has the same commands whichever others are left out.
    second, only = list(COMMANDS)[1:], list(COMMANDS)[:-1]
    counts = {True: itertools.count(), False: itertools.count()}
    for known, place, config, whole in _combinations(watched):
        each, number = step if whole else step_of_others, next(counts[whole])
        if (number % each == 0) if random is None else (random.random() < 1 / each):
            path = place.write(seeds, folder, config)
            chosen = ["inspect", second[number % len(second)]] if whole else [only[number % len(only)]]
            further = [name for name in COMMANDS if name not in chosen] if whole else []
            replaced = words | {"FILE": str(path)}
            first, rest = (
                [tuple(replaced.get(word, word) for word in COMMANDS[name]) for name in part] for part in (chosen, further)
            )
            name = f"{_full_name(known)} as {place.name}, {json.dumps(config['config'])[:200]}"
            yield ClassCase(name, path, first, rest)
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _write_images(folder: Path) -> None:
    """A data set of two classes."""
    for label in ("dark", "light"):
        (folder / label).mkdir(parents=True)
        for number in range(4):
            Image.new("L", (8, 8), 255 * (label == "light") // (number + 1)).save(folder / label / f"{number}.png")


def _combinations(watched: Path) -> Iterator[tuple[type, Place, Config, bool]]:
    everywhere = places()
    for number, known in enumerate(public_classes()):
        for position, place in enumerate(everywhere):
            for config in configs(known, watched, (number + position) % 3, single=False):
                yield known, place, config, place in everywhere[:2]
        if _full_name(known) in ALLOWED:  # the others' fields do not matter
            for config in itertools.islice(configs(known, watched, number % 3, single=True), 1, None):
                yield known, everywhere[1], config, False
    for number, known in enumerate(other_classes()):
        for position, place in enumerate(everywhere[:3]):
            for config in configs(known, watched, (number + position) % 3, single=False):
                yield known, place, config, False


def _full_name(known: type) -> str:
    return f"{known.__module__}.{known.__qualname__}"


def _fields(known: type) -> dict[str, bool]:
    """The arguments of a class and its bases, and whether they must be given."""
    fields: dict[str, bool] = {}
    for base in known.__mro__:
        start = vars(base).get("__init__")
        if inspect.isfunction(start):
            for parameter in list(inspect.signature(start).parameters.values())[1:]:
                if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                    fields.setdefault(parameter.name, parameter.default is parameter.empty and base is known)
    return fields


def _object(known: type, config: Config) -> Config:
    public = tf_export.get_canonical_name_for_symbol(known, api_name="keras")
    module = public.rpartition(".")[0] if public else known.__module__
    name = public.rpartition(".")[2] if public else known.__name__
    return {"class_name": name, "module": module, "registered_name": None, "config": config}


def _as_layer(node: Config) -> Config:
    return {**node, "name": "added", "inbound_nodes": [[["image", 0, 0, {}]]], "config": {**node["config"], "name": "added"}}


def _legacy(node: Config) -> Config:
    return {key: value for key, value in node.items() if key not in ("module", "registered_name")}


def _keras(seeds: Path, folder: Path, change: Callable[[Any], Any]) -> Path:
    path = folder / "model.keras"
    damage.rewrite_keras(seeds / "model.keras", path, change)
    return path


def _h5(seeds: Path, folder: Path, change: Callable[[Any], Any]) -> Path:
    path = folder / "model.h5"
    hostile.rewrite_h5(seeds, path, lambda text: json.dumps(change(json.loads(text))))
    return path


def _saved(seeds: Path, folder: Path, name: str, node: Config) -> Path:
    path = folder / "saved"
    shutil.copytree(seeds / "saved_model", path)
    metadata: Any = saved_metadata_pb2.SavedMetadata()  # pyright: ignore[reportAttributeAccessIssue]
    metadata.ParseFromString((path / "keras_metadata.pb").read_bytes())
    for entry in metadata.nodes:
        metadata_of_layer = json.loads(entry.metadata)
        if metadata_of_layer["name"] == name:
            entry.metadata = json.dumps({**metadata_of_layer, **node})
    (path / "keras_metadata.pb").write_bytes(metadata.SerializeToString())
    return path
