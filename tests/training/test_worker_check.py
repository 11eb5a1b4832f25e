"""What workers compare, in threads of one process."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tf_keras as keras

from el_larq.data.dataset_registry import load_dataset
from el_larq.data.in_memory import InMemory
from el_larq.data.mnist_like import MnistLike
from el_larq.errors import ElLarqError
from el_larq.training.cluster import Cluster
from el_larq.training.distribution import Distribution
from el_larq.training.worker_check import check_same_data, check_same_start, count_in_all

ADDRESSES = ("a:1", "b:2", "c:3")


class _Together:
    """The distributions of several workers in one process, as their threads see them."""

    def __init__(self, count: int):
        self._rows: list[Any] = [None] * count
        self._barrier = threading.Barrier(count, timeout=30)

    def of(self, index: int) -> Distribution:
        distribution: Any = Distribution(cluster=Cluster(ADDRESSES[: len(self._rows)], index))

        def gathered(values: np.ndarray) -> np.ndarray:
            self._rows[index] = values
            self._barrier.wait()
            rows = np.stack(self._rows).astype(np.float32)
            self._barrier.wait()
            return rows

        distribution.gathered = gathered
        return distribution


def in_all(function: Callable[[Any, Distribution], Any], arguments: list[Any]) -> list[Any]:
    """What the function returns in each worker, or the message of its error."""
    together = _Together(len(arguments))

    def one(index: int) -> Any:
        try:
            return function(arguments[index], together.of(index))
        except ElLarqError as error:
            return str(error)

    with ThreadPoolExecutor(len(arguments)) as pool:
        return list(pool.map(one, range(len(arguments))))


@pytest.fixture(scope="module")
def digits() -> InMemory:
    return load_dataset("digits")


def test_equal_data_pass_and_may_have_other_paths(digits: InMemory) -> None:
    assert in_all(check_same_data, [digits, digits, digits]) == [None] * 3
    fields = {name: getattr(digits, name) for name in ("version", "labels", "preprocessing", "train", "test")}
    parts = [MnistLike(name, **fields, short_name=name[4:], contents="1a2b") for name in ("idx:/a", "idx:/b")]
    assert in_all(check_same_data, parts) == [None] * 2


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("data set", {"version": 7}),
        ("number of images", {"validation": "test"}),
        ("list of classes", {"labels": tuple("abcdefghij")}),
        ("preprocessing", {"preprocessing": "bgr"}),
        ("augmentation", {"shift": 3}),
    ],
)
def test_other_data_are_named_in_all_workers(digits: InMemory, what: str, change: dict[str, Any]) -> None:
    if "validation" in change:
        change = {"validation": digits.test.part(np.arange(5))}
    elif "preprocessing" in change:
        change = {"preprocessing": replace(digits.preprocessing, mean=(0.5,), std=(2.0,))}
    other = replace(digits, **change)
    message = f"worker 1 (b:2) has another {what} than worker 0 (a:1); give all workers the same files"
    assert in_all(check_same_data, [digits, other]) == [message] * 2
    (several, *_) = in_all(check_same_data, [digits, other, other])
    assert several == f"worker 1 (b:2) and worker 2 (c:3) have another {what} than worker 0 (a:1); give all workers the same files"


def test_other_weights_or_other_fresh_layers_are_named() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    other = keras.models.clone_model(model)
    message = "worker 1 (b:2) has another set of initial weights than worker 0 (a:1); give all workers the same files"

    def start(case: Any, distribution: Distribution) -> None:
        model, fresh = case
        check_same_start(model, fresh, distribution)

    assert in_all(start, [(model, ["a"]), (other, ["a"])]) == [message] * 2
    other.set_weights(model.get_weights())
    assert in_all(start, [(model, ["a"]), (other, ["a"])]) == [None] * 2
    assert in_all(start, [(model, ["a"]), (other, [])]) == [message] * 2


def test_names_are_counted_once_over_all_workers() -> None:
    assert in_all(count_in_all, [["a", "b"], [], ["b", "c", "d"]]) == [4] * 3
    assert in_all(count_in_all, [[], []]) == [0] * 2
    assert count_in_all(["a", "b"], Distribution()) == 2
