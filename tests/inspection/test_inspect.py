import json
import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import larq
import numpy as np
import pytest
import tf_keras as keras
from hypothesis import given, settings
from hypothesis import strategies as st

from el_larq.errors import ElLarqError, UsageError
from el_larq.inspection.inspect import inspect
from el_larq.inspection.keras_layers import inspect_model
from el_larq.inspection.layer_plot import plot
from el_larq.inspection.summary import bit_class
from el_larq.inspection.tflite_graph import inspect_graph
from el_larq.models.build import build
from el_larq.tflite.reader import parse

DATA = Path(__file__).parents[1] / "data"


def test_bits_in_between_count_to_the_next_class() -> None:
    assert [bit_class(bits) for bits in (1, 2, 4, 8, 16, 32, 64)] == [1, 8, 8, 8, 32, 32, 32]


def test_a_binary_tflite_layer_by_layer() -> None:
    """By hand: 32x32x64, a 3x3 convolution to 64, pooling, norm; on half the size a 3x3 and a 1x1 to 64."""
    inspection = inspect(DATA / "binpool.tflite")
    binary = [layer for layer in inspection.layers if layer.kind == "LceBconv2d"]
    assert [layer.macs for layer in binary] == [32 * 32 * 64 * 9 * 64, 16 * 16 * 64 * 9 * 64, 16 * 16 * 64 * 64]
    assert all(layer.mac_bits == 1 for layer in binary)
    assert binary[0].weights == {1: 9 * 64 * 64, 32: 128}
    assert binary[0].output_shape == (1, 32, 32, 64)
    assert binary[0].memory == 9 * 64 * 64 // 8 + 2 * 64 * 4
    assert binary[0].activation == 32 * 32 * 64 * 4
    assert inspection.bops == sum(layer.macs for layer in binary)
    assert inspection.flops == 0
    assert inspection.ops == inspection.bops / 64
    pack = inspection.layers[0]
    assert (pack.kind, pack.output_shape, pack.activation) == ("LceQuantize", (1, 32, 32, 64), 32 * 32 * 64 // 8)


def test_an_int8_tflite_of_somebody_else() -> None:
    inspection = inspect(DATA / "int8.tflite")
    assert inspection.macs[8] == inspection.flops == 15_188_608
    assert inspection.weights[8] == 864 + 18_432 + 36_864 + 576 + 640
    assert inspection.inputs[0]["type"] == "int8"
    assert inspection.predicted_size <= inspection.size < 1.2 * inspection.predicted_size
    assert "min_runtime_version" in inspection.metadata
    assert inspection.card == {}


@pytest.mark.parametrize("name", ["bin4", "binpool", "float", "int8", "t1"])
def test_file_size_is_near_what_weights_foretell(name: str) -> None:
    inspection = inspect(DATA / f"{name}.tflite")
    # What is left is names, shapes and operators: a few hundred bytes for each.
    assert 0 <= inspection.size - inspection.predicted_size < 1000 * len(inspection.layers) + 2000


def test_keras_and_tflite_say_the_same(small: Any) -> None:
    tflite, h5, archive, saved = (inspect(path) for path in (small.tflite, small.h5, small.keras, small.saved_model))
    assert tflite.macs == h5.macs == archive.macs == saved.macs
    assert tflite.weights[1] == h5.weights[1] == 9 * 32 * 32 + 9 * 32 * 48
    assert sum(h5.weights.values()) == small.model.count_params()
    assert tflite.balance is not None
    assert h5.balance is not None
    assert tflite.balance.entropy == pytest.approx(h5.balance.entropy)
    balanced = [[layer.balance.entropy for layer in one.layers if layer.balance] for one in (tflite, h5, saved)]
    assert balanced[1] == balanced[2] == pytest.approx(balanced[0])
    assert len(balanced[0]) == 2
    assert h5.predicted["binary kernels"] == tflite.predicted["binary kernels"]
    assert h5.predicted_size == pytest.approx(tflite.predicted_size - tflite.predicted["metadata"], rel=0.05)
    assert h5.arena == pytest.approx(tflite.arena, rel=0.15)
    assert tflite.card["dataset"]["name"] == h5.card["dataset"]["name"] == "digits"
    assert saved.card == {}
    assert saved.size > 0


def reactnet_a() -> keras.Model:
    """ReActNet-A's convolutions (Liu, Shen, Savvides, Cheng, ECCV 2020): MobileNetV1 with 3x3 and 1x1 binary convolutions."""
    binary: dict[str, Any] = {
        "input_quantizer": "ste_sign",
        "kernel_quantizer": "ste_sign",
        "kernel_constraint": "weight_clip",
        "use_bias": False,
        "padding": "same",
    }
    image = keras.Input((224, 224, 3))
    x: Any = keras.layers.Conv2D(32, 3, 2, "same", use_bias=False)(image)
    channels = 32
    for filters, strides in [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]:
        x = larq.layers.QuantConv2D(channels, 3, strides, **binary)(x)
        halves = [larq.layers.QuantConv2D(channels, 1, **binary)(x) for _ in range(filters // channels)]
        x = keras.layers.Concatenate()(halves) if len(halves) > 1 else halves[0]
        channels = filters
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(1000)(x))


def test_published_operations_of_reactnet_a() -> None:
    inspection = inspect_model(reactnet_a(), "reactnet")
    assert inspection.bops == pytest.approx(4.82e9, rel=0.01)
    # Published with two digits as 0.12e8: a stem of 3x3x3 to 32 and a classifier of 1024 to 1000, nothing else.
    assert inspection.flops == 112 * 112 * 27 * 32 + 1024 * 1000
    assert round(inspection.flops / 1e8, 2) == 0.12
    assert inspection.ops == pytest.approx(0.87e8, rel=0.01)


def test_published_operations_of_bi_real_resnet18() -> None:
    inspection = inspect_model(build("resnet18", "bireal"), "resnet18")
    assert inspection.ops == pytest.approx(1.63e8, rel=0.01)


def test_a_shared_layer_computes_twice_and_is_stored_once() -> None:
    image = keras.Input((8, 8, 4))
    layer = keras.layers.Conv2D(4, 3, padding="same", use_bias=False)
    inspection = inspect_model(keras.Model(image, layer(layer(image))), "shared")
    assert [entry.macs for entry in inspection.layers] == [64 * 9 * 16] * 2
    assert inspection.weights[32] == 9 * 16
    assert inspection.predicted_size == 4 * 9 * 16


def test_models_that_do_not_show_their_layers_or_sizes_are_refused() -> None:
    class Subclassed(keras.Model):
        def call(self, inputs: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            return inputs

    with pytest.raises(ElLarqError, match="a subclassed model does not show its layers; convert it"):
        inspect_model(Subclassed(), "s.h5")
    image = keras.Input((None, None, 3))
    with pytest.raises(ElLarqError, match="no fixed size"):
        inspect_model(keras.Model(image, keras.layers.Conv2D(2, 3)(image)), "open.h5")


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(("binpool", "t1")), st.data())
def test_damaged_files_are_inspected_or_refused_in_one_line(name: str, data: st.DataObject) -> None:
    content = bytearray((DATA / f"{name}.tflite").read_bytes())
    size = len(content)
    place = st.one_of(st.integers(0, size - 1), st.integers(0, 4000), st.integers(size - 6000, size - 1))
    for position, value in data.draw(st.lists(st.tuples(place, st.integers(0, 255)), min_size=1, max_size=10)):
        content[position] = value
    message = ""
    try:
        inspect_graph(parse(bytes(content), "a"), "a")
    except ElLarqError as error:
        message = str(error)
    assert re.fullmatch(r"(a: .+)?", message)


def test_the_picture_is_the_same_each_time(tmp_path: Path) -> None:
    inspection = inspect(DATA / "t1.tflite")
    for name in ("a.svg", "b.svg"):
        plot(inspection, tmp_path / name)
    first = (tmp_path / "a.svg").read_text()
    assert first == (tmp_path / "b.svg").read_text()
    assert "planned arena" in first
    with pytest.raises(UsageError, match="its name must end in"):
        plot(inspection, tmp_path / "a.txt")


def test_the_command(el_larq_command: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    model = DATA / "t1.tflite"
    result = el_larq_command("inspect", model, "--plot", tmp_path / "t.svg", "--json")
    assert result.returncode == 0, result.stderr
    content = json.loads(result.stdout)
    assert content["arena"] == 1069056
    assert (tmp_path / "t.svg").is_file()
    text = el_larq_command("inspect", model, "--full").stdout
    assert "LceBconv2d" in text
    assert "peak RAM   1,069,056 bytes" in text
    assert el_larq_command("inspect", model, "--total").stdout == text[text.index("file  ") :]
    assert "no such file" in el_larq_command("inspect", tmp_path / "none.tflite").stderr
    assert el_larq_command("inspect", model, "--plot", "t.txt").returncode == 2


def test_predicted_instructions_of_a_file(el_larq_here: Callable[..., CompletedProcess[str]]) -> None:
    model = DATA / "int8.tflite"
    text = " ".join(el_larq_here("inspect", model, "--cost", "cortex-a76").stdout.split())
    assert "Predicted instructions of one inference on cortex-a76; instructions are not time" in text
    assert "instructions of SOFTMAX are not counted" in text
    assert re.search(r"instr\. more than [0-9,]+ on cortex-a76, without MAX_POOL_2D, MEAN, SOFTMAX, an estimate", text)
    assert text.count("not counted") == 3 + 3  # a row and a note for each
    content = json.loads(el_larq_here("inspect", model, "--cost", "cortex-a76", "--json").stdout)
    assert content["cost"]["core"] == "cortex-a76"
    assert content["cost"]["uncounted"] == ["MAX_POOL_2D", "MEAN", "SOFTMAX"]
    assert content["cost"]["instructions"] == sum(layer["instructions"] or 0 for layer in content["layers"])
    assert "instructions" not in el_larq_here("inspect", model).stdout
    refused = el_larq_here("inspect", model, "--cost", "cortex-m4")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "unknown core 'cortex-m4'" in refused.stderr


def test_sizes_of_a_model_without_fixed_batch_or_size(tmp_path: Path) -> None:
    inspection = inspect_graph(parse((DATA / "float.tflite").read_bytes()), "float")
    assert all(np.prod(layer.output_shape) > 0 for layer in inspection.layers)


def test_the_selection_of_boxes_is_an_operator_without_weights(detector: Any) -> None:
    found = inspect(detector.tflite)
    last = found.layers[-1]
    assert (last.kind, last.weights, last.macs) == ("TFLite_Detection_PostProcess", {}, 0)
    assert [output["name"] for output in found.outputs] == ["boxes", "classes", "scores", "count"]
    assert not found.uncounted
    assert not any("Detection" in note for note in found.notes)
    assert sum(sum(layer.weights.values()) for layer in found.layers) < 40_000
