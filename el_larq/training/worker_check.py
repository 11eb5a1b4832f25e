"""What the workers of a training have found, each on its own machine, is compared before it can make a difference.

Another data set would be trained on silently, and arrays of other sizes make TensorFlow wait for ever. Settings and files are
compared earlier, before TensorFlow starts (`el_larq.training.multi_worker`).
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from el_larq.data.dataset import Dataset
from el_larq.errors import ElLarqError
from el_larq.training.distribution import Distribution

_BYTES = 8
"""The number of bytes of a hash that are compared."""


def check_same_data(data: Dataset, distribution: Distribution) -> None:
    """Raise ElLarqError unless all workers have the same data set, prepared in the same way; all of them have to ask."""
    if distribution.share.count == 1:
        return  # a fingerprint may read many files
    facts = {
        "data set": data.fingerprint,
        "number of images": {name: len(split) for name, split in data.splits.items()},
        "list of classes": data.labels,
        "preprocessing": data.preprocessing.to_dict(),
        "augmentation": data.augmentation_text,
    }
    check_equal({name: str(fact).encode("utf-8", "surrogateescape") for name, fact in facts.items()}, distribution)


def check_same_start(model: keras.Model, fresh: Iterable[str], distribution: Distribution) -> None:
    """Raise ElLarqError unless the model has the same weights in all workers, and the same layers that nothing initialized.

    Moving statistics, which have a value per replica, are left out.
    """
    if distribution.share.count == 1:
        return  # reading all weights takes time
    digest = hashlib.sha256(repr(sorted(fresh)).encode())
    for variable in model.variables:
        if variable.synchronization != tf.VariableSynchronization.ON_READ:
            digest.update(str(variable.shape).encode() + variable.numpy().tobytes())
    check_equal({"set of initial weights": digest.digest()}, distribution)


def check_equal(facts: Mapping[str, bytes], distribution: Distribution) -> None:
    """Raise ElLarqError if a worker has found other facts than worker 0. All workers have to ask, for facts of the same names."""
    rows = distribution.gathered(np.concatenate([_hashed(fact) for fact in facts.values()]))
    wrong = (rows != rows[0]).reshape(len(rows), len(facts), _BYTES).any(axis=-1)
    cluster = distribution.cluster
    for position, name in enumerate(facts):
        if cluster is not None and (others := np.flatnonzero(wrong[:, position])).size:
            who = " and ".join(cluster.name_of(int(index)) for index in others)
            has = "has" if len(others) == 1 else "have"
            raise ElLarqError(f"{who} {has} another {name} than {cluster.name_of(0)}; give all workers the same files")


def count_in_all(names: Iterable[str], distribution: Distribution) -> int:
    """The number of different names in all workers together; all of them have to ask."""
    names = list(names)
    longest = int(distribution.gathered(np.array([len(names)])).max())
    if longest == 0:
        return 0
    own = np.zeros((longest, 1 + _BYTES))
    for row, name in zip(own, names, strict=False):
        row[:] = 1, *_hashed(name.encode("utf-8", "surrogateescape"))
    return len({tuple(row) for row in distribution.gathered(own.ravel()).reshape(-1, 1 + _BYTES).tolist() if row[0]})


def _hashed(fact: bytes) -> Any:
    """The first bytes of a hash, as numbers that are exact in float32."""
    return np.frombuffer(hashlib.sha256(fact).digest()[:_BYTES], np.uint8)
