"""The model card: what others need to know about a model in order to use it, stored inside the model file.

A JSON object: ``schema``, ``network``, ``method``, ``link``, ``labels``, ``preprocessing``, ``dataset``, ``accuracy`` and
``trained_with``; any field but the schema may be missing, since models from elsewhere do not have them. ``label_ids`` are the names
that data sets have for the classes if these differ from ``labels``, as ImageNet's do.
In .h5 it is the attribute ``el_larq_card``, in .keras a member of the archive, in .tflite a metadata buffer.
"""

import json
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from el_larq.data.preprocessing import Preprocessing
from el_larq.errors import ElLarqError, summarize
from el_larq.files import atomic_path, hdf5_attribute, is_hdf5, parse_json
from el_larq.model_files import described_by
from el_larq.native_output import without_warnings

SCHEMA = 1
NAME = "el_larq_card"
_MEMBER = f"{NAME}.json"
_SIMULATED = "simulated_"

MAX_BYTES = 16 * 2**20
"""Maximum size of a card: labels of thousands of classes take a few hundred kilobytes."""

Card = dict[str, Any]


def dump(card: Card) -> bytes:
    return json.dumps({"schema": SCHEMA, **card}).encode()


def parse(content: bytes | str, source: str) -> Card:
    """Parse a card's JSON. Raises ElLarqError if it is not a valid card."""
    try:
        card = parse_json(content)
    except ValueError:
        card = None
    if not isinstance(card, dict):
        raise ElLarqError(f"{source}: its el-larq card is damaged; convert or train the model again")
    return card


def of_metadata(metadata: Mapping[str, bytes], source: str) -> Card:
    """The card in the metadata of a .tflite; an empty one if there is none. Raises ElLarqError if it is damaged."""
    content = metadata.get(NAME)
    return parse(content, source) if content else {}


def attach(path: Path, card: Card) -> None:
    """Add the card to an .h5 or .keras file that Keras has just written."""
    if path.suffix.lower() == ".keras":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(_MEMBER, dump(card))
    else:
        import h5py

        with h5py.File(path, "r+") as file:
            file.attrs[NAME] = dump(card).decode()


def save_with(card: Card, model: Any, path: Path) -> None:
    """Write a Keras model as .h5 or .keras, by the path's suffix, with the card and without an optimizer."""
    with atomic_path(path) as temporary, warnings.catch_warnings(), without_warnings():
        # Keras recommends its newer format over .h5.
        warnings.filterwarnings("ignore", message="You are saving your model as an HDF5 file")
        # Only .h5 accepts the argument; without it Keras warns that there is no optimizer to save.
        model.save(temporary, **({"include_optimizer": False} if path.suffix == ".h5" else {}))
        attach(temporary, card)


def read(path: Path) -> Card:
    """Read the card of an .h5 or .keras file; an empty one if there is none. Weights of a run have that of the run's model.

    Raises:
        ElLarqError: the card, or the file that contains it, is damaged.
    """
    if path.is_dir():
        return {}
    try:
        content = _stored(path)
        of_run = content is None and is_hdf5(path) and described_by(path) != path
        if of_run:
            content = _stored(described_by(path))
    except Exception as error:  # h5py and zipfile raise many kinds of errors for damaged files
        raise ElLarqError(
            f"{path}: its el-larq card cannot be read ({summarize(error)}); convert or train the model again"
        ) from error
    if content is None:
        return {}
    if not isinstance(content, (str, bytes)) or len(content) > MAX_BYTES:
        raise ElLarqError(f"{path}: its el-larq card is damaged; convert or train the model again")
    found = parse(content, str(path))
    if of_run:
        _without_weights(found)
    return found


def simulated_name(bits: int) -> str:
    """The name of a figure of the test with `qat_bits`, also in result.json: "simulated_int8_accuracy"."""
    return f"{_SIMULATED}int{bits}_accuracy"


def notes_of_bits(found: Card, kernel_bits: object = None) -> tuple[str, ...]:
    """What must be said of a model that was trained with fewer than 8 bits: nothing, or one line.

    kernel_bits: those of the file that is made of it; None for what the card says.
    """
    recipe, quantized = found.get("trained_with"), found.get("quantized_by")
    bits = recipe.get("qat_bits") if isinstance(recipe, dict) else None
    if not isinstance(bits, int) or bits >= 8:
        return ()
    accuracy = recipe.get(simulated_name(bits)) if isinstance(recipe, dict) else None
    measured = f", with an accuracy of {accuracy:.2%}" if isinstance(accuracy, float) else ""
    trained = f"trained with {bits} bits simulated{measured}"
    if kernel_bits is None and isinstance(quantized, dict):
        kernel_bits = quantized.get("kernel_bits")
    if bits == kernel_bits == 4:
        return (
            f"{trained}; the file has its int4 kernels, but activations and dense layers have 8 bits, so it is not that simulation",
        )
    how = "; el-larq quantize --kernel-bits 4 writes a file with these kernels" if bits == 4 else ""
    return (f"{trained}; this has more bits and is not that simulation{how}",)


def _without_weights(found: Card) -> None:
    """Remove from the card of a run's model what other weights of the run do not share with it."""
    found.pop("accuracy", None)
    if isinstance(recipe := found.get("trained_with"), dict):
        for name in ("epoch", "average", *(name for name in recipe if name.startswith(_SIMULATED))):
            recipe.pop(name, None)


def _stored(path: Path) -> Any:
    import h5py

    # Keras 2.12 wrote HDF5 under this name too.
    if path.suffix.lower() == ".keras" and not is_hdf5(path):
        with zipfile.ZipFile(path) as archive:
            if _MEMBER not in archive.namelist():
                return None
            with archive.open(_MEMBER) as member:
                return member.read(MAX_BYTES + 1)
    with h5py.File(path, "r") as file:
        return hdf5_attribute(file, NAME)


def preprocessing(card: Card, source: str) -> Preprocessing | None:
    fields = card.get("preprocessing")
    if fields is None:
        return None
    try:
        return Preprocessing.from_dict(fields)
    except (TypeError, ValueError, OverflowError) as error:
        raise ElLarqError(f"{source}: the preprocessing in its el-larq card is damaged") from error


def labels(card: Card, source: str) -> list[str] | None:
    """Names of the classes, in the order of the outputs."""
    return _names(card, "labels", source)


def labels_of_dataset(card: Card, classes: Sequence[str], source: str) -> list[str] | None:
    """The names of the classes, or their identifiers if a data set names its classes by these."""
    identifiers = _names(card, "label_ids", source)
    return identifiers if identifiers is not None and set(identifiers) == set(classes) else labels(card, source)


def _names(card: Card, field: str, source: str) -> list[str] | None:
    found = card.get(field)
    if found is not None and not (isinstance(found, list) and all(isinstance(label, str) for label in found)):
        raise ElLarqError(f"{source}: the labels on its card are not a list of names; convert or train the model again")
    return found


def dataset(card: Card) -> str | None:
    """The name of the data set that the model was trained on."""
    found = card.get("dataset")
    name = found.get("name") if isinstance(found, dict) else None
    return name if isinstance(name, str) else None
