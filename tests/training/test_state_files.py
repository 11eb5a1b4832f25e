"""The file of a training's state."""

import hashlib
import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from el_larq.training.state_files import MAGIC, DamagedError, SavedState, read_state, write_state

ARRAYS = {
    "kernel": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "generator": np.array([2**64 - 1, 1], np.uint64),
    "mask": np.array([True, False]),
    "step": np.array(7, np.int64),
    "none": np.zeros((0, 3), np.float16),
    "half": np.array([[1.5], [-2]], ml_dtypes.bfloat16),
    "scalar half": np.array(0.5, ml_dtypes.bfloat16),
}


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_state(tmp_path / "state", SavedState(3, {"records": [{"epoch": 1}]}, ARRAYS))
    found = read_state(tmp_path / "state")
    assert (found.step, found.facts, list(found.arrays)) == (3, {"records": [{"epoch": 1}]}, list(ARRAYS))
    for name, array in ARRAYS.items():
        assert found.arrays[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found.arrays[name], array, strict=True)


@pytest.mark.parametrize("kind", ["float16", "float32", ml_dtypes.bfloat16])
def test_nan_is_found_in_every_type_of_number(kind: str) -> None:
    assert SavedState(0, {}, ARRAYS).is_finite
    assert not SavedState(0, {}, {"a": np.array([1, np.nan], kind)}).is_finite


def test_every_changed_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_state(path, SavedState(3, {"a": 1}, {"b": np.ones(2, np.float32)}))
    content = path.read_bytes()
    for position in range(len(content)):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with pytest.raises(DamagedError, match="is damaged"):
            read_state(path)


@pytest.mark.parametrize(
    "array", [["a", "float32", [3]], ["a", "float32", [-1]], ["a", "float32", [10**30]], ["a", "object", [1]], ["a", "int", [1.0]]]
)
def test_an_array_outside_the_file_is_refused_although_the_checksum_is_right(tmp_path: Path, array: object) -> None:
    header = json.dumps({"step": 1, "facts": {}, "arrays": [array]}).encode()
    body = MAGIC + len(header).to_bytes(8, "little") + header + bytes(8)
    (tmp_path / "state").write_bytes(body + hashlib.sha256(body).digest())
    with pytest.raises(DamagedError, match="its header does not describe its content"):
        read_state(tmp_path / "state")
