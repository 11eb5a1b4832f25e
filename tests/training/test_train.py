import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from el_larq import card
from el_larq.data.dataset_registry import load_dataset
from el_larq.data.in_memory import InMemory, Split
from el_larq.data.preprocessing import Preprocessing
from el_larq.errors import ElLarqError, UsageError
from el_larq.loading.load import load_model
from el_larq.training.recipes import get_recipe
from el_larq.training.run_folder import free_folder
from el_larq.training.state_files import read_state
from el_larq.training.train import Trained, train


def tiny_digits(images: int = 128, **changes: Any) -> InMemory:
    data = load_dataset("digits")
    train, test = (split.part(np.random.RandomState(0).permutation(len(split))) for split in (data.train, data.test))
    parts = {"train": _some(train, 0, images), "validation": _some(train, images, 64), "test": _some(test, 0, 64)}
    return replace(data, **(parts | changes))


def _some(split: Split, first: int, count: int) -> Split:
    return split.part(np.arange(first, first + count))


def train_tiny(folder: Path, **changes: Any) -> Trained:
    arguments: dict[str, Any] = {
        "network": "vgg_small",
        "dataset": tiny_digits(),
        "epochs": 1,
        "batch_size": 32,
        "width": 0.125,
        "seed": 3,
        "out": folder,
    }
    return train(**(arguments | changes))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train_tiny(tmp_path_factory.mktemp("runs") / "run")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


# --- The run folder -------------------------------------------------------------------------------------------------------


def test_a_run_leaves_everything_in_its_folder(trained: Trained):
    assert {path.name for path in trained.folder.iterdir()} == {
        "config.json",
        "environment.json",
        "metrics.jsonl",
        "metrics.csv",
        "learning_curve.png",
        "confusion_matrix.png",
        ".lock",
        "tensorboard",
        "checkpoints",
        "model.h5",
        "model.keras",
        "result.json",
    }
    assert {path.name for path in (trained.folder / "checkpoints").iterdir()} == {
        "best.weights.h5",
        "last.weights.h5",
        "state-000000004.ckpt",
    }
    assert list((trained.folder / "tensorboard").rglob("events.out.tfevents.*"))
    assert trained.h5 == trained.folder / "model.h5"


def test_the_config_says_what_was_asked_for(trained: Trained):
    config = read_json(trained.folder / "config.json")
    assert config["recipe"].pop("summary")
    recipe = json.loads(json.dumps(asdict(get_recipe("standard").with_changes(epochs=1, batch_size=32))))
    assert config == {
        "network": "vgg_small",
        "method": "el",
        "link": "elastic",
        "placement": None,
        "link_options": {},
        "method_options": {"alpha": False, "k": "off"},
        "dataset": "digits",
        "dataset_version": 1,
        "dataset_fingerprint": "digits version 1",
        "image_size": 16,
        "preprocessing": tiny_digits().preprocessing.to_dict(),
        "width": 0.125,
        "network_options": {},
        "recipe": {name: value for name, value in recipe.items() if name != "summary"},
        "seed": 3,
        "strict": False,
        "deterministic": True,
        "distribution": None,
        "validation": "split",
        "init_from": None,
        "teacher": None,
        "compiled": None,
        "changes": [],
        "schema": 3,
    }


def test_the_environment_names_versions_and_machine(trained: Trained):
    environment = read_json(trained.folder / "environment.json")
    assert set(environment) == {"python", "platform", "machine", "cpus", "packages", "command", "resumed"}
    assert environment["packages"]["tensorflow"] == tf.__version__
    assert environment["packages"]["larq"].startswith("0.14")


def test_metrics_have_one_line_an_epoch(trained: Trained):
    lines = (trained.folder / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 1
    record = json.loads(lines[0])
    keys = {"epoch", "step", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"}
    keys |= {"flips", "starved", "positive", "entropy"}
    assert set(record) == keys
    assert (record["epoch"], record["step"]) == (1, 4)
    assert all(math.isfinite(record[key]) for key in keys)


def test_the_result_is_the_accuracy_of_the_model_saved(trained: Trained):
    result = read_json(trained.folder / "result.json")
    assert set(result) == {"accuracy", "validation_accuracy", "best_validation_accuracy", "best_epoch", "kept_epoch", "seconds"}
    assert result["accuracy"] == trained.accuracy
    data = tiny_digits()
    model: Any = load_model(trained.h5)
    logits = model(data.preprocessing.scale(data.test.images), training=False)
    # One image in 64 may fall on the other side of a sign.
    assert np.mean(np.argmax(logits, axis=1) == data.test.labels) == pytest.approx(trained.accuracy, abs=1.5 / 64)


def test_both_model_files_load_and_agree(trained: Trained):
    h5, archive = (load_model(trained.folder / f"model{suffix}") for suffix in (".h5", ".keras"))
    x, _ = tiny_digits().test_images(8)
    np.testing.assert_array_equal(h5(x), archive(x))
    np.testing.assert_array_equal(h5(x), trained.model(x))
    for a, b in zip(h5.get_weights(), trained.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert h5.name == "vgg_small"
    assert h5.optimizer is None


def test_checkpoints_fit_the_model(trained: Trained):
    model = load_model(trained.h5)
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    model.load_weights(trained.folder / "checkpoints" / "last.weights.h5")
    for a, b in zip(model.get_weights(), trained.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_the_card_is_stored_in_the_model_file(trained: Trained, suffix: str):
    path = trained.folder / f"model{suffix}"
    content = card.read(path)
    assert content["labels"] == list("0123456789")
    assert card.preprocessing(content, str(path)) == tiny_digits().preprocessing
    assert content["accuracy"] == {"split": "test", "top1": pytest.approx(trained.accuracy, abs=1e-5)}
    assert (content["network"], content["method"], content["link"]) == ("vgg_small", "el", "elastic")
    assert content["dataset"] == {"name": "digits", "version": 1}
    assert content["trained_with"]["seed"] == 3
    assert content["schema"] == card.SCHEMA


def test_a_run_that_cannot_start_does_not_announce_itself(tmp_path: Path):
    (tmp_path / "file").touch()
    notices: list[str] = []
    with pytest.raises(ElLarqError):
        train_tiny(tmp_path, notify=notices.append)
    assert notices == []


# --- Repeatable -----------------------------------------------------------------------------------------------------------


def test_one_seed_ends_with_equal_weights_and_another_does_not(trained: Trained, tmp_path: Path):
    again = train_tiny(tmp_path / "again")
    for a, b in zip(trained.model.get_weights(), again.model.get_weights(), strict=True):
        assert a.tobytes() == b.tobytes()
    assert again.accuracy == trained.accuracy


# --- What is refused ------------------------------------------------------------------------------------------------------


def test_a_folder_that_contains_files_is_left_untouched(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ElLarqError, match=r"already contains files.*-o"):
        train_tiny(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_free_folder_has_a_number_where_the_name_is_taken(tmp_path: Path):
    assert free_folder(tmp_path, "run") == tmp_path / "run"
    (tmp_path / "run").mkdir()
    assert free_folder(tmp_path, "run") == tmp_path / "run"
    (tmp_path / "run" / "file").touch()
    assert free_folder(tmp_path, "run") == tmp_path / "run-2"
    (tmp_path / "run-2").touch()
    assert free_folder(tmp_path, "run") == tmp_path / "run-3"


@pytest.mark.parametrize(
    "changes",
    [
        {"network": "resnet27"},
        {"method": "elastic"},
        {"link": "elastik"},
        {"recipe": "none"},
        {"dataset": "digit"},
        {"epochs": 0},
        {"batch_size": 129},
        {"width": -1.0},
        {"network_options": {"stem": "big"}},
        {"method": "float", "link": "elastic"},
        {"method": "bireal", "placement": "before_norm"},
    ],
)
def test_a_wrong_request_leaves_no_folder(tmp_path: Path, changes: dict[str, Any]):
    with pytest.raises(UsageError):
        train_tiny(tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


# --- A loss of NaN or Inf -------------------------------------------------------------------------------------------------


def arrays_in(path: Path) -> list[np.ndarray]:
    arrays: list[np.ndarray] = []
    with h5py.File(path) as file:
        file.visititems(lambda _, item: arrays.append(item[()]) if isinstance(item, h5py.Dataset) else None)
    return [array for array in arrays if np.issubdtype(array.dtype, np.floating)]


def assert_no_finished_run(folder: Path) -> None:
    assert not (folder / "model.h5").exists()
    assert not (folder / "result.json").exists()
    for checkpoint in (folder / "checkpoints").iterdir():
        weights = list(read_state(checkpoint).arrays.values()) if checkpoint.suffix == ".ckpt" else arrays_in(checkpoint)
        assert weights
        assert all(np.all(np.isfinite(weight)) for weight in weights), checkpoint.name


def train_until_it_breaks(folder: Path, **changes: Any) -> str:
    with pytest.raises(ElLarqError) as caught:
        train_tiny(folder, network="resnet18", **changes)
    message = str(caught.value)
    assert "\n" not in message
    assert "--learning-rate" in message
    return message


@pytest.mark.slow
def test_a_loss_of_nan_or_inf_ends_the_training_and_names_the_step(tmp_path: Path):
    flat = Preprocessing(16, 16, 1, mean=0.0, std=1e-44)  # pixels overflow
    # A stem without ReLU, which hides NaN.
    message = train_until_it_breaks(tmp_path / "run", dataset=tiny_digits(preprocessing=flat), network_options={"stem": "cifar"})
    assert "the loss is nan at step 1;" in message
    assert_no_finished_run(tmp_path / "run")


@pytest.mark.slow
def test_weights_that_overflow_in_an_epochs_last_step_are_not_saved(tmp_path: Path):
    """The loss of a step is computed before its update: with one step an epoch, it is the validation that shows it."""
    train_until_it_breaks(tmp_path / "run", batch_size=128, learning_rate=3e38)
    assert_no_finished_run(tmp_path / "run")


# --- Batch normalization --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_moving_statistics_are_true_after_a_short_run(tmp_path: Path):
    """With Keras' own momentum of 0.99, 64 steps would leave half of the initial values in the moving statistics."""
    data = tiny_digits()
    model: Any = train_tiny(tmp_path / "run", network="resnet18", method="el", batch_size=16, epochs=8).model
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    moving = [(norm.moving_mean.numpy(), np.sqrt(norm.moving_variance + norm.epsilon)) for norm in norms]
    # What every normalization is given over the training images; the probe's call updates the moving statistics.
    probe = keras.Model(model.inputs, [norm.input for norm in norms])
    inputs: Any = probe(data.preprocessing.scale(data.train.images), training=True)
    distances = []
    for norm, (moving_mean, moving_deviation), x in zip(norms, moving, inputs, strict=True):
        mean, variance = tf.nn.moments(x, [0, 1, 2])
        deviation = np.sqrt(variance + norm.epsilon)
        distances.append(np.abs(moving_mean - mean) / deviation)
        assert 0.5 < np.median(moving_deviation / deviation) < 2, norm.name
    assert np.median(np.concatenate(distances)) < 0.2
