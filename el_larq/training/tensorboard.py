"""metrics.jsonl for TensorBoard. The folder is rewritten from these records, so a resumed run contains each epoch once."""

import shutil
from pathlib import Path
from typing import Any

import tensorflow as tf

from el_larq import own_folders
from el_larq.errors import ElLarqError, summarize

_TAGS = {
    "train": ("loss", "accuracy", "learning_rate", "flips", "starved", "positive", "entropy"),
    "validation": ("val_loss", "val_accuracy", "val_map_50"),
}


class TensorBoard:
    """Writes two TensorBoard runs, train and validation, with epochs counted from 0 and under the names that Keras uses.

    Raises:
        ElLarqError: the folder cannot be written, or is a link.
    """

    def __init__(self, folder: Path, records: list[dict[str, Any]]):
        self.folder = folder
        own_folders.is_there(folder)
        shutil.rmtree(folder, ignore_errors=True)
        self._writers = {name: tf.summary.create_file_writer(str(folder / name)) for name in _TAGS}
        for record in records:
            self.add(record)

    def add(self, record: dict[str, Any]) -> None:
        try:
            for name, writer in self._writers.items():
                with writer.as_default(step=record["epoch"] - 1):
                    for key in _TAGS[name]:
                        if key in record:
                            tf.summary.scalar(f"epoch_{key.removeprefix('val_')}", record[key])
                writer.flush()
        except (tf.errors.OpError, OSError) as error:
            raise ElLarqError(f"cannot write {self.folder}: {summarize(error)}") from error

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
