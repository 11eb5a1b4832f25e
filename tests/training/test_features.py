"""A head trained on features that are computed once, against the same head trained with the whole network at each step."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras as keras
from watched import when_renamed

import el_larq
from el_larq.data.in_memory import InMemory
from el_larq.errors import UsageError
from el_larq.training import features
from el_larq.training.recipe import Recipe

RECIPE = Recipe("head", "", epochs=3, batch_size=32, learning_rate=1e-2, freeze="backbone")
NETWORK: dict[str, Any] = {"network": f"{Path(__file__).parents[1]}/data/run_schema1/network.py:build"}


@pytest.fixture(scope="module")
def plain_digits(digits: InMemory) -> InMemory:
    """Without augmentation."""
    return replace(digits, shift=0)


@pytest.fixture(scope="module")
def source(plain_digits: InMemory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained network whose batch normalizations have statistics of the data."""
    recipe = Recipe("source", "", epochs=2, batch_size=32, learning_rate=1e-2)
    return el_larq.train(
        **NETWORK, dataset=plain_digits, recipe=recipe, seed=1, out=tmp_path_factory.mktemp("source") / "run"
    ).folder


@pytest.fixture(scope="module")
def uninterrupted(source: Path, plain_digits: InMemory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("uninterrupted") / "run"
    return el_larq.train(**NETWORK, dataset=plain_digits, recipe=RECIPE, init_from=source, seed=2, out=out).folder


def _weights(folder: Path) -> dict[str, list[np.ndarray]]:
    model = el_larq.load_model(folder / "model.h5")
    assert all(layer.trainable for layer in model.layers)
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def test_the_cached_head_is_the_one_trained_on_images(
    source: Path, plain_digits: InMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    notices: list[str] = []
    arguments: dict[str, Any] = {"dataset": plain_digits, "recipe": RECIPE, "init_from": source, "seed": 2}
    cached = el_larq.train(**NETWORK, **arguments, out=tmp_path / "cached", notify=notices.append)
    assert any("features of the frozen backbone are computed once" in notice for notice in notices)
    monkeypatch.setattr(features, "MAX_BYTES", 0)
    at_each_step = el_larq.train(**NETWORK, **arguments, out=tmp_path / "steps", notify=notices.append)
    assert any("so the backbone is computed at each step" in notice for notice in notices)
    before, one, other = (_weights(folder) for folder in (source, cached.folder, at_each_step.folder))
    for name, arrays in one.items():
        for a, b, c in zip(arrays, other[name], before[name], strict=True):
            if name == "logits":
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
                assert np.abs(a - c).max() > 1e-2
            else:
                np.testing.assert_array_equal(a, c)
                np.testing.assert_array_equal(b, c)
    assert cached.accuracy == at_each_step.accuracy


def test_a_training_on_features_resumes_exactly(
    source: Path, uninterrupted: Path, plain_digits: InMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    arguments: dict[str, Any] = {"dataset": plain_digits, "recipe": RECIPE, "init_from": source, "seed": 2}
    with monkeypatch.context() as patch:
        when_renamed(patch, "metrics.jsonl", 2, lambda: signal.raise_signal(signal.SIGINT), after=True)
        with pytest.raises(KeyboardInterrupt):
            el_larq.train(**NETWORK, **arguments, out=tmp_path / "run")
    resumed = el_larq.resume(tmp_path / "run", dataset=plain_digits)
    for name, arrays in _weights(uninterrupted).items():
        for one, other in zip(arrays, _weights(resumed.folder)[name], strict=True):
            np.testing.assert_array_equal(one, other)


@dataclass(frozen=True, repr=False, kw_only=True)
class Interrupting(InMemory):
    """A data set that sends a signal with the third batch that is read from front to back. ``read`` counts the batches."""

    read: list[str]

    def plain_batches(self, split: str, batch_size: int) -> Iterator[Any]:
        for batch in super().plain_batches(split, batch_size):
            self.read.append(split)
            if len(self.read) == 3:
                signal.raise_signal(signal.SIGINT)
            yield batch


def test_a_stop_takes_effect_while_features_are_computed(
    source: Path, uninterrupted: Path, plain_digits: InMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    arguments: dict[str, Any] = {"recipe": RECIPE, "init_from": source, "seed": 2}
    monkeypatch.setattr(features, "BATCH", 16)
    own = {item.name: getattr(plain_digits, item.name) for item in fields(plain_digits)}
    data, notices = Interrupting(**own, read=[]), list[str]()
    with pytest.raises(KeyboardInterrupt, match="stopped at step 0 of"):
        el_larq.train(**NETWORK, **arguments, dataset=data, out=tmp_path / "run", notify=notices.append)
    assert len(data.read) == 3
    assert "to continue: el-larq train --resume" in notices[-1]
    monkeypatch.undo()
    resumed = el_larq.resume(tmp_path / "run", dataset=plain_digits)
    for name, arrays in _weights(uninterrupted).items():
        for one, other in zip(arrays, _weights(resumed.folder)[name], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"mixup": 0.2}, "mixup changes the images"),
        ({"random_augment": 1}, "random_augment changes the images"),
        ({"average": 0.9}, "an average of weights is evaluated on images"),
        ({"cross_entropy": 0.5}, "the network has a custom training step"),
    ],
)
def test_what_needs_images_gets_them(source: Path, plain_digits: InMemory, tmp_path: Path, changes: dict[str, Any], reason: str):
    notices: list[str] = []
    recipe = replace(RECIPE, epochs=1, **changes)
    el_larq.train(**NETWORK, dataset=plain_digits, recipe=recipe, init_from=source, out=tmp_path / "run", notify=notices.append)
    assert f"{reason}, so the backbone is computed at each step" in notices


def test_augmented_images_have_no_features_in_advance(source: Path, digits: InMemory, tmp_path: Path):
    notices: list[str] = []
    recipe = replace(RECIPE, epochs=1)
    el_larq.train(**NETWORK, dataset=digits, recipe=recipe, init_from=source, out=tmp_path / "run", notify=notices.append)
    assert any("digits augments its images (--augment none does not)" in notice for notice in notices)


def test_freezing_needs_a_trained_start(plain_digits: InMemory, tmp_path: Path):
    with pytest.raises(UsageError, match="frozen layers would keep random weights; start from a trained model with --init-from"):
        el_larq.train("mobilenet", width=0.125, dataset=plain_digits, recipe=RECIPE, out=tmp_path / "run")


def test_names_that_do_not_fit_are_refused_before_a_folder_is_made(source: Path, plain_digits: InMemory, tmp_path: Path):
    with pytest.raises(UsageError, match="no layer with weights has such a name"):
        el_larq.train(**NETWORK, dataset=plain_digits, recipe=RECIPE, freeze="nothing*", init_from=source, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_random_layers_of_the_backbone_need_images(plain_digits: InMemory, tmp_path: Path):
    """Features that are computed once would leave out the dropout, which is below the head."""
    image = keras.Input((16, 16, 1))
    x = keras.layers.Dense(8, activation="relu", name="below")(keras.layers.Flatten()(image))
    model = keras.Model(image, keras.layers.Dense(10, name="logits")(keras.layers.Dropout(0.5, name="drop")(x)))
    notices: list[str] = []
    shape = plain_digits.preprocessing.input_shape
    assert shape == (16, 16, 1)
    trained = el_larq.train(
        model, dataset=plain_digits, recipe=replace(RECIPE, epochs=1), out=tmp_path / "run", notify=notices.append
    )
    assert "layer drop draws random numbers, so the backbone is computed at each step" in notices
    assert type(trained.model) is type(model)


def test_the_returned_model_maps_images(source: Path, plain_digits: InMemory, tmp_path: Path):
    recipe = replace(RECIPE, epochs=1, keep="best", class_weights="balanced")
    trained = el_larq.train(**NETWORK, dataset=plain_digits, recipe=recipe, init_from=source, out=tmp_path / "run")
    images, labels = plain_digits.test_images(64)
    predicted = np.argmax(trained.model.predict(images, verbose=0), -1)
    assert (predicted == labels).mean() == pytest.approx(trained.accuracy, abs=1e-6)


def test_a_backbone_that_is_not_there_is_refused(plain_digits: InMemory, tmp_path: Path):
    el_larq.build("mobilenet", width=0.125, input_shape=plain_digits.preprocessing.input_shape).save(tmp_path / "source.keras")
    settings: dict[str, Any] = {"dataset": plain_digits, "recipe": RECIPE, "init_from": tmp_path / "source.keras"}
    with pytest.raises(UsageError, match="would be frozen with random weights, since the model that the training starts from"):
        el_larq.train("mobilenet", width=0.25, partial=True, out=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()
