"""The outputs that an evaluation has computed so far, in a file, so that an interrupted evaluation can be resumed."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from el_larq import own_folders
from el_larq.files import atomic_path

NAME = "unfinished.npz"


class PartialOutputs:
    """The outputs of the first images, in ``folder``/unfinished.npz, with ``key``: everything that the outputs depend on."""

    def __init__(self, folder: Path, key: dict[str, Any]):
        self.path = folder / NAME
        self.key = json.dumps(key, sort_keys=True)

    def load(self) -> np.ndarray | None:
        """The outputs (n, classes) of an evaluation with the same key; None if there are none, or the file is damaged.

        Raises:
            ElLarqError: the file is a link or a pipe.
        """
        try:
            with own_folders.open_file(self.path) as file, np.load(file, allow_pickle=False) as content:
                return content["outputs"] if str(content["key"]) == self.key else None
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return None

    def save(self, outputs: np.ndarray) -> None:
        with atomic_path(self.path) as temporary:
            np.savez(temporary, key=np.array(self.key), outputs=outputs)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
