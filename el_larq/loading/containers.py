"""Reads and checks the contents of a model file (.h5, .keras, SavedModel folder) without Keras, before anything is built.

Declared sizes are compared with the file size before memory is allocated; links, external storage and archive members that point
outside the file are rejected.
"""

import io
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import h5py

from el_larq.errors import ElLarqError, summarize
from el_larq.files import hdf5_attribute, is_hdf5, parse_json
from el_larq.keras_internals import saved_metadata
from el_larq.model_files import described_by

_h5: Any = h5py  # its low-level modules are untyped

TRUST = "or load it with --trust, if you know who made it"

MAX_CONFIG = 16 * 2**20
"""Maximum bytes of a configuration: thousands of layers take one megabyte."""

MAX_ACTIVATION = 2**27
"""Maximum number of values in one tensor for one image; half a gigabyte in float32."""

TF_KERAS = (2, 15)
"""The oldest version of Keras whose .keras archives tf-keras reads."""

_RATIO, _FLOOR = 4, 64 * 2**20
_MAX_OBJECTS = 200_000
_FILTERS = (1, 2, 3, 4, 5, 6, 32000)  # HDF5's own (deflate ... scale-offset) and h5py's lzf: HDF5 loads others as plugins
_MEMBERS = ("metadata.json", "config.json", "model.weights.h5")


def allowance(path: Path) -> int:
    """Maximum bytes of weights that a model of this size on disk may declare, with room for compression."""
    with _damage(path):
        files = [path] if not path.is_dir() else [file for file in path.rglob("*") if file.is_file()]
        return _RATIO * sum(file.stat().st_size for file in files) + _FLOOR


def check_activation(layer: str, sizes: Iterable[Any], source: object) -> None:
    """Reject a layer whose result for one image, of ``sizes`` (None is unknown), has more than `MAX_ACTIVATION` values."""
    values = prod(int(size or 1) for size in sizes)
    if values > MAX_ACTIVATION:
        raise ElLarqError(
            f"{source}: its layer {layer} makes {values:,} values per image, more than {MAX_ACTIVATION:,}; "
            f"use smaller images, {TRUST}"
        )


@dataclass(frozen=True)
class SavedConfig:
    """The configuration of the model in a file.

    config: the parsed JSON. version: major and minor version of the Keras that wrote it. Major version 2 is tf-keras.
    weights_only: the file contains weights beside the configuration, or without it, not a model that Keras loads.
    """

    config: Any
    version: tuple[int, int]
    weights_only: bool = False


def is_archive(path: Path) -> bool:
    """Whether a file is a .keras archive by its name. Up to Keras 2.12, ``save_format="keras"`` wrote HDF5 under such a name."""
    return path.suffix.lower() == ".keras" and not is_hdf5(path)


def h5_config(path: Path, *, trust: bool = False) -> SavedConfig:
    """The configuration in an .h5 file, which is checked unless it is trusted."""
    if not is_hdf5(path):
        raise ElLarqError(f"{path}: not an HDF5 file; save the model with model.save('model.h5')")
    with _damage(path), h5py.File(path, "r") as file:
        if not trust:
            check_hdf5(file, str(path), allowance(path))
        describing = described_by(path)
        if describing == path:
            return _h5_config(file, path)
    with _damage(describing), h5py.File(describing, "r") as file:
        if not trust:
            check_hdf5(file, str(describing), allowance(describing))
        return replace(_h5_config(file, describing), weights_only=True)


def _h5_config(file: h5py.File, path: Path) -> SavedConfig:
    if "model_config" not in file.attrs:
        raise ElLarqError(
            f"{path}: contains weights only, and is not in a run folder that has a model; "
            "give the whole model, saved with model.save(), not save_weights()"
        )
    config, version = hdf5_attribute(file, "model_config"), hdf5_attribute(file, "keras_version")
    return SavedConfig(_parse(config, str(path)), _version(version), "model_weights" not in file)


def keras_config(path: Path, *, trust: bool = False) -> SavedConfig:
    """The configuration in a .keras archive, which is checked unless it is trusted."""
    if not zipfile.is_zipfile(path):
        raise ElLarqError(f"{path}: not a .keras file, or a truncated one; save the model again")
    with _damage(path), zipfile.ZipFile(path) as archive:
        if not trust:
            _check_archive(archive, path)
            with h5py.File(io.BytesIO(archive.read("model.weights.h5")), "r") as weights:
                check_hdf5(weights, str(path), allowance(path))
        config = _parse(archive.read("config.json"), str(path))
        if isinstance(config, dict):
            config.pop("compile_config", None)  # not read: the model is loaded without its losses and its optimizer
        metadata = _parse(archive.read("metadata.json"), str(path))
        version = _version(metadata.get("keras_version") if isinstance(metadata, dict) else None)
        return SavedConfig(_in_newer_form(config, version), version)


@contextmanager
def named_functions(path: Path, saved: SavedConfig) -> Iterator[Path | h5py.File]:
    """A form of the file in which tf-keras finds functions, such as a registered function as a quantizer.

    In an .h5 file, tf-keras writes these as objects of class "function" but reads only their names: then a copy in memory has the
    names.
    """
    in_hdf5 = path.is_file() and is_hdf5(path)
    config = with_function_names(saved.config) if in_hdf5 else saved.config
    if config == saved.config:
        yield path
        return
    with _damage(path):
        copy = h5py.File(io.BytesIO(path.read_bytes()), "r+")
    with copy:
        copy.attrs["model_config"] = json.dumps(config)
        yield copy


def with_function_names(config: Any) -> Any:
    """The configuration in an .h5 file with the names of functions in place of objects of class "function"."""
    return _with_values(config, "function", lambda name: name, str)


def _in_newer_form(config: Any, version: tuple[int, int]) -> Any:
    """The configuration in a .keras archive as Keras 2.13 writes it.

    In 2.12, the outermost object is in a module that 2.13 renamed, and layers have NumPy's numbers in a form that they do not read.
    """
    if version >= (2, 13) or not isinstance(config, dict):
        return config
    module = config.get("module")
    if isinstance(module, str) and module.startswith("keras.engine."):
        config = config | {"module": f"keras.src.{module.removeprefix('keras.')}"}
    return _with_values(config, "__numpy__", lambda own: own.get("value"), dict)


def _with_values(config: Any, class_name: str, value: Callable[[Any], Any], kind: type) -> Any:
    """A configuration in which ``value`` of their own configuration, of this kind, stands for objects of a class."""
    if isinstance(config, list):
        return [_with_values(part, class_name, value, kind) for part in config]
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == class_name and isinstance(config.get("config"), kind):
        return value(config["config"])
    return {key: _with_values(part, class_name, value, kind) for key, part in config.items()}


def check_folder(path: Path) -> None:
    """Reject a folder that is not a SavedModel, or contains a second graph, which TensorFlow might read instead."""
    if not (path / "saved_model.pb").is_file():
        raise ElLarqError(f"{path}: a folder without saved_model.pb is not a SavedModel")
    for other in ("saved_model.pbtxt", "saved_model.cpb"):
        if (path / other).exists():
            raise ElLarqError(f"{path}: contains {other} in addition to saved_model.pb; remove one of them")


def metadata_configs(content: bytes, path: Path) -> tuple[Any, list[Any]]:
    """The JSON descriptions of a SavedModel's Keras objects (keras_metadata.pb): of the outermost object, and of all objects."""
    metadata = saved_metadata()
    with _damage(path):
        metadata.ParseFromString(content)
        configs = [(node.node_id, _parse(node.metadata, str(path))) for node in metadata.nodes if node.metadata]
        if len(dict(configs)) != len(configs):
            raise ValueError("two descriptions of one object")
        return dict(configs).get(0), [config for _, config in configs]


def check_hdf5(file: h5py.File, source: str, limit: int) -> None:
    """Reject an HDF5 file that refers to data outside it or declares more than ``limit`` bytes. Reads names and sizes only."""
    total, seen = 0, set()
    stack: list[tuple[h5py.Group, str]] = [(file, "")]
    while stack:
        group, prefix = stack.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise ElLarqError(f"{source}: {prefix}{name} is a link to somewhere else; save the model again, {TRUST}")
            entry: Any = group.get(name)
            address = _h5.h5o.get_info(entry.id).addr
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > _MAX_OBJECTS:
                raise ElLarqError(f"{source}: contains more than {_MAX_OBJECTS:,} objects; save the model again, {TRUST}")
            if isinstance(entry, h5py.Group):
                stack.append((entry, f"{prefix}{name}/"))
            elif isinstance(entry, h5py.Dataset):
                total += _dataset_bytes(entry, f"{source}: {prefix}{name}")
                if total > limit:
                    raise ElLarqError(
                        f"{source}: declares {total:,} bytes of weights, more than its size allows; save it again, {TRUST}"
                    )
            _check_attributes(entry, source, limit)
    _check_attributes(file, source, limit)


def _dataset_bytes(dataset: h5py.Dataset, source: str) -> int:
    if dataset.external or dataset.is_virtual:
        raise ElLarqError(f"{source} keeps its values in another file; save the model again, {TRUST}")
    creation = dataset.id.get_create_plist()
    filters = [creation.get_filter(index)[0] for index in range(creation.get_nfilters())]
    if any(number not in _FILTERS for number in filters):
        raise ElLarqError(f"{source} is compressed with a filter that is not part of HDF5; save the model again, {TRUST}")
    if dataset.dtype.hasobject:
        raise ElLarqError(f"{source} does not contain numbers; save the model again, {TRUST}")
    return int(dataset.size or 0) * dataset.dtype.itemsize


def _check_attributes(entry: Any, source: str, limit: int) -> None:
    for name in entry.attrs:
        attribute = _h5.h5a.open(entry.id, name.encode(errors="surrogateescape"))
        size = attribute.get_space().get_simple_extent_npoints() * attribute.get_type().get_size()
        if size > limit:
            raise ElLarqError(f"{source}: attribute {name!r} declares {size:,} bytes; save the model again, {TRUST}")
        if attribute.dtype.hasobject:  # references to texts, of which only reading tells the size
            try:
                hdf5_attribute(entry, name)
            except (OSError, MemoryError) as error:
                raise ElLarqError(
                    f"{source}: attribute {name!r} is damaged or takes too much memory ({summarize(error)}); save the model again"
                ) from error


def _check_archive(archive: zipfile.ZipFile, path: Path) -> None:
    limit, total, names = allowance(path), 0, set()
    for member in archive.infolist():
        parts = Path(member.filename.replace("\\", "/")).parts
        if not parts or ".." in parts or os.path.isabs(member.filename) or ":" in member.filename:
            raise ElLarqError(f"{path}: its member {member.filename!r} points outside the archive; save the model again")
        if member.filename in names:
            raise ElLarqError(f"{path}: contains {member.filename!r} twice; save the model again")
        names.add(member.filename)
        total += member.file_size
        if total > limit or (member.filename == "config.json" and member.file_size > MAX_CONFIG):
            raise ElLarqError(
                f"{path}: unpacks to more than {total:,} bytes, which its size does not allow; save it again, {TRUST}"
            )
    if "variables.h5" in names and "model.weights.h5" not in names:
        raise ElLarqError(
            f"{path}: written by an older Keras, in a form that tf-keras cannot read; load it there and save it as .h5"
        )
    missing = [name for name in _MEMBERS if name not in names]
    if missing:
        raise ElLarqError(f"{path}: a damaged or truncated model file (no {', '.join(missing)}); save the model again")


def _version(version: Any) -> tuple[int, int]:
    """The major and minor version of Keras; that of tf-keras, if the file does not state it."""
    text = version.decode(errors="replace") if isinstance(version, bytes) else str(version)
    found = re.match(r"(\d{1,3})\.(\d{1,3})", text)
    return (int(found[1]), int(found[2])) if found else TF_KERAS


def _parse(config: Any, source: str) -> Any:
    if not isinstance(config, (str, bytes)):
        raise ValueError("a configuration that is not text")
    if len(config) > MAX_CONFIG:
        raise ElLarqError(f"{source}: its configuration has {len(config):,} bytes, more than {MAX_CONFIG:,}; save the model again")
    return parse_json(config)


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Convert any error from reading a damaged file to a one-line ElLarqError."""
    try:
        yield
    except ElLarqError:
        raise
    except Exception as error:  # libraries raise many kinds of error for damaged files, without a common base class
        reason = f" ({error.strerror})" if isinstance(error, OSError) and error.errno and error.strerror else ""
        raise ElLarqError(f"{path}: a damaged or truncated model file{reason}; save the model again") from error
