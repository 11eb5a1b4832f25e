"""A training's plan: checked once, without TensorFlow, for the command line, Python and comparisons alike; and Keras models."""

import el_larq  # isort: skip  # noqa: F401  (first: it selects Keras 2)

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras as keras

from el_larq.data.dataset_registry import load_dataset
from el_larq.errors import ElLarqError, UsageError
from el_larq.training.train import Trained, resume, train
from el_larq.training.training_plan import make_plan

SHORT: dict[str, Any] = {"dataset": "digits", "image_size": 8, "epochs": 1, "batch_size": 512}


def test_a_plan_is_made_without_tensorflow() -> None:
    code = (
        "import sys; from el_larq.training.training_plan import make_plan;"
        "from el_larq.comparison.comparison_plan import plan_comparison;"
        "make_plan('resnet26', width=0.25, dataset='digits', network_options={'stem': 'small'});"
        "plan_comparison(['resnet18'], ['all'], 3, dataset='digits'); assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"method": "elk"}, "unknown method 'elk'"),
        ({"method": "binary", "placement": "before_norm"}, "link 'none' has no placement"),
        ({"link_options": {"per_channel": True}, "link": "identity"}, "--gamma-per-channel is an option of link elastic"),
        ({"width": 0.0}, "width must be positive; got 0"),
        ({"image_size": 4}, "image size 4 is too small"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"recipe": "fast"}, "unknown recipe 'fast'"),
        ({"validation": 1.5}, "validation must be a share"),
        ({"dataset": "dir:/no/such/folder"}, "no such folder"),
        ({"network_options": {"variant": "mid"}}, "has no block variant 'mid'"),
        ({"network_options": {"depthwise": "real"}}, "has no option 'depthwise'"),
        ({"init_from": "no_such.h5"}, "no_such.h5: no such file"),
    ],
    ids=str,
)
def test_what_cannot_be_trained_is_refused_when_the_plan_is_made(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ElLarqError, match=reason):
        make_plan("resnet18", **settings)


def test_a_setting_that_does_not_exist_is_a_type_error() -> None:
    wrong: Any = {"learning": 1.0}
    with pytest.raises(TypeError, match="no such setting of a training: learning"):
        make_plan("resnet18", **wrong)


def test_a_plan_arrives_in_another_process_as_it_was(tmp_path: Path) -> None:
    plan = make_plan(
        "resnet26",
        method="reactnet",
        link="elastic",
        placement="before_norm",
        link_options={"per_channel": True},
        network_options={"stem": "small", "variant": None},
        dataset="digits",
        epochs=2,
        seed=3,
        out=tmp_path / "run",
    )
    again = pickle.loads(pickle.dumps(plan))
    assert again.settings() == plan.settings()
    assert again.out == plan.out
    assert (again.method.link.name, dict(again.method.link.options), again.method.order) == (
        "elastic",
        dict(plan.method.link.options),
        plan.method.order,
    )
    assert again.network_options == {"stem": "small"}


def _model(size: int = 8, classes: int = 10) -> keras.Model:
    # A training enables it for the rest of the process; initial weights depend on it.
    keras.backend.experimental.enable_tf_random_generator()
    keras.utils.set_random_seed(0)
    image = keras.Input((size, size, 1))
    x = keras.layers.Dropout(0.1)(keras.layers.Flatten()(image))
    return keras.Model(image, keras.layers.Dense(classes, name="logits")(x), name="mine")


def _weights(trained: Trained) -> list[np.ndarray]:
    return trained.model.get_weights()


def test_a_keras_model_is_trained_and_resumed(tmp_path: Path) -> None:
    trained = train(_model(), out=tmp_path / "whole", **SHORT)
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    assert (config["network"], config["method"]) == ("network.keras", "own")
    assert (tmp_path / "whole" / "network.keras").is_file()

    class EnoughError(Exception):
        pass

    lines: list[str] = []

    def stop(line: str) -> None:
        lines.append(line)
        if line.startswith("training"):
            raise EnoughError

    with pytest.raises(EnoughError):
        train(_model(), out=tmp_path / "stopped", notify=stop, **SHORT)
    assert lines == [line for line in lines if line.startswith("training mine with method own")]
    resumed = resume(tmp_path / "stopped")
    for a, b in zip(_weights(trained), _weights(resumed), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_compiled_keras_model_keeps_its_optimizer_and_is_needed_again(tmp_path: Path) -> None:
    def compiled() -> keras.Model:
        model = _model()
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    def stop(line: str) -> None:
        if "is compiled" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(compiled(), out=tmp_path / "run", notify=stop, **SHORT)
    with pytest.raises(ElLarqError, match=r"build and compile the model again and pass it: el_larq\.resume\(folder, model=model\)"):
        resume(tmp_path / "run")
    assert resume(tmp_path / "run", model=compiled()).accuracy >= 0


@pytest.mark.parametrize(
    ("model", "settings", "reason"),
    [
        (lambda: _model(16), {}, r"must map \(8, 8, 1\) to 10 logits"),
        (lambda: _model(8, 3), {}, r"must map \(8, 8, 1\) to 10 logits"),
        (_model, {"method": "el"}, "mine takes no 'method'"),
        (_model, {"width": 0.5}, "a Keras model has its own"),
    ],
)
def test_a_keras_model_that_does_not_fit_is_refused(model: Any, settings: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=reason):
        train(model(), out=tmp_path / "run", **SHORT, **settings)
    assert not (tmp_path / "run").exists()


def test_a_loaded_data_set_is_planned_with(tmp_path: Path) -> None:
    data = load_dataset("digits", 8)
    with pytest.raises(UsageError, match="batch size 5000 is larger than"):
        train("resnet18", dataset=data, batch_size=5000, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
