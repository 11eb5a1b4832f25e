"""The card of a model: what its file must say of itself so that others can use it. Travels inside the file.

A JSON object: ``schema``, ``network``, ``method``, ``link``, ``labels``, ``preprocessing``, ``dataset``, ``accuracy`` and
``trained_with``; every field but the schema may be missing, since other people's models have none.
In .h5 it is the attribute ``el_larq_card``, in .keras a member of the archive, in .tflite a metadata buffer.
"""

import json
import zipfile
from pathlib import Path
from typing import Any

from el_larq.data.preprocessing import Preprocessing
from el_larq.errors import ElLarqError

SCHEMA = 1
NAME = "el_larq_card"
_MEMBER = f"{NAME}.json"

Card = dict[str, Any]


def dump(card: Card) -> bytes:
    return json.dumps({"schema": SCHEMA, **card}).encode()


def parse(content: bytes | str, source: str) -> Card:
    """A card from its JSON; raises ElLarqError when it is none."""
    try:
        card = json.loads(content)
    except ValueError:
        card = None
    if not isinstance(card, dict):
        raise ElLarqError(f"{source}: its el-larq card is damaged; convert or train the model again")
    return card


def attach(path: Path, card: Card) -> None:
    """Put the card into an .h5 or .keras file that Keras has just written."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(_MEMBER, dump(card))
    else:
        import h5py

        with h5py.File(path, "r+") as file:
            file.attrs[NAME] = dump(card).decode()


def read(path: Path) -> Card:
    """The card in an .h5 or .keras file, or an empty one."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            if _MEMBER not in archive.namelist():
                return {}
            return parse(archive.read(_MEMBER), str(path))
    if path.is_dir():
        return {}
    import h5py

    with h5py.File(path, "r") as file:
        content = file.attrs.get(NAME)
    return {} if content is None else parse(content, str(path))


def preprocessing(card: Card, source: str) -> Preprocessing | None:
    fields = card.get("preprocessing")
    if fields is None:
        return None
    try:
        return Preprocessing.from_dict(fields)
    except (TypeError, ValueError) as error:
        raise ElLarqError(f"{source}: the preprocessing in its el-larq card is damaged") from error
