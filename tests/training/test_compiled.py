"""A network that its builder compiled is trained with its own optimizer and loss, and resumed exactly."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from watched import kill_at

from el_larq.data.in_memory import InMemory
from el_larq.errors import ElLarqError, UsageError
from el_larq.training.config import read_config
from el_larq.training.train import resume

NETWORK = """
import larq, tf_keras as keras

class Own(keras.Model):
    def train_step(self, data):
        return super().train_step(data)

def build(input_shape, num_classes):
    image = keras.Input(input_shape)
    x = keras.layers.Conv2D(8, 3, 4, name="stem")(image)
    x = larq.layers.QuantConv2D(
        8, 3, input_quantizer="ste_sign", kernel_quantizer=larq.quantizers.NoOp(precision=1), use_bias=False, name="binary"
    )(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = KIND(image, keras.layers.Dense(num_classes, name="logits")(x))
    model.compile(COMPILE)
    return model
"""

BOP = (
    "larq.optimizers.CaseOptimizer((larq.optimizers.Bop.is_binary_variable, larq.optimizers.Bop(threshold=1e-6, gamma=1e-2)), "
    "default_optimizer=keras.optimizers.legacy.Adam(0.01))"
)
SPARSE = "keras.losses.SparseCategoricalCrossentropy(from_logits=True)"


Compile = Callable[..., str]


@pytest.fixture
def compiled(tmp_path: Path) -> Compile:
    """The network's name, of a model that is compiled so."""

    def write(arguments: str, kind: str = "keras.Model") -> str:
        (tmp_path / "net.py").write_text(NETWORK.replace("COMPILE", arguments).replace("KIND", kind))
        return f"{tmp_path / 'net.py'}:build"

    return write


def everything(trained: Any) -> list[bytes]:
    from el_larq.training.optimizer import optimizer_variables

    return [variable.numpy().tobytes() for variable in (*trained.model.variables, *optimizer_variables(trained.model))]


@pytest.mark.slow
def test_bop_keeps_its_kernels_binary_and_is_resumed_exactly(
    start: Any, digits: InMemory, compiled: Compile, tmp_path: Path
) -> None:
    network = compiled(f"{BOP}, {SPARSE}")
    notices: list[str] = []
    whole = start(tmp_path / "whole", network=network, notify=notices.append)
    assert notices[2] == (
        f"{network} is compiled: optimizer CaseOptimizer (Bop, Adam), loss SparseCategoricalCrossentropy; "
        "the recipe's learning rate, backbone rate, schedule, weight decay and label smoothing do not apply"
    )
    assert read_config(whole.folder).compiled == {
        "optimizer": "CaseOptimizer (Bop, Adam)",
        "loss": "SparseCategoricalCrossentropy",
    }
    kernel = whole.model.get_layer("binary").kernel.numpy()
    assert set(np.unique(kernel)) == {-1.0, 1.0}
    record = json.loads((whole.folder / "metrics.jsonl").read_text().splitlines()[0])
    assert record["learning_rate"] == pytest.approx(0.01)
    assert "val_accuracy" in record

    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "run", network=network, checkpoint_steps=3, dataset=kill_at(digits, 7))
    again = resume(tmp_path / "run", dataset=digits)
    assert everything(again) == everything(whole)
    assert again.accuracy == whole.accuracy


@pytest.mark.parametrize(
    ("arguments", "loss"), [("'sgd'", "the recipe's"), (f"keras.optimizers.SGD(0.1), {SPARSE}, metrics=['acc']", "SparseCa")]
)
def test_what_compile_leaves_open_is_the_recipes(start: Any, compiled: Compile, tmp_path: Path, arguments: str, loss: str) -> None:
    notices: list[str] = []
    trained = start(tmp_path / "run", network=compiled(arguments), epochs=1, notify=notices.append)
    assert f"is compiled: optimizer SGD, loss {loss}" in notices[2]
    assert type(trained.model.optimizer).__name__ == "SGD"


@pytest.mark.parametrize(
    ("arguments", "kind", "changes", "message"),
    [
        (f"'adam', {SPARSE}", "Own", {}, "cannot be trained with its own train_step()"),
        (f"'adam', {SPARSE}, loss_weights=[2.0]", "keras.Model", {}, "with its own compile(loss_weights=...)"),
        (f"'adam', {SPARSE}, steps_per_execution=4", "keras.Model", {}, "with its own compile(steps_per_execution=...)"),
        (f"keras.optimizers.Adam(use_ema=True), {SPARSE}", "keras.Model", {}, "moving average of weights (use_ema)"),
        ("'adam', 'categorical_crossentropy'", "keras.Model", {}, "its loss categorical_crossentropy does not take integer labels"),
        (f"'adam', {SPARSE}", "keras.Model", {"learning_rate": 0.1}, "is compiled, so --learning-rate does not apply"),
        (
            f"larq.optimizers.CaseOptimizer((lambda _: False, larq.optimizers.Bop()), "
            f"default_optimizer=keras.optimizers.legacy.Adam()), {SPARSE}",
            "keras.Model",
            {},
            "its optimizer CaseOptimizer (Bop, Adam) cannot be used",
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name_and_leaves_no_folder(
    start: Any,
    compiled: Compile,
    tmp_path: Path,
    one_line: Callable[[BaseException], str],
    arguments: str,
    kind: str,
    changes: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(ElLarqError) as caught:
        start(tmp_path / "run", network=compiled(arguments, kind), **changes)
    assert message in one_line(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_names_what_the_network_is_compiled_with(start: Any, compiled: Compile, tmp_path: Path) -> None:
    network = compiled(f"keras.optimizers.SGD(1e38), {SPARSE}")
    with pytest.raises(ElLarqError, match="change the optimizer or loss that the network is compiled with"):
        start(tmp_path / "run", network=network)
    with pytest.raises(UsageError, match="is compiled, so --learning-rate does not apply; omit it"):
        resume(tmp_path / "run", learning_rate=0.1)
