"""Kernels stored as int8 or float16: the file shrinks, and everything is computed from exactly the stored values."""

from typing import Any

import binary_models as models
import larq_compute_engine as lce
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from el_larq import convert
from el_larq.converters.audit import audit_model
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.graph import find_convolutions
from el_larq.converters.job import Job, Options
from el_larq.converters.lower import lower_model
from el_larq.converters.stored_comparison import compare_stored
from el_larq.converters.stored_kernels import with_restored_kernels, with_stored_kernels
from el_larq.errors import ElLarqError, UsageError
from el_larq.inspection.tflite_graph import inspect_graph
from el_larq.tflite.arena import plan_arena
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import TfliteGraph, parse

L = keras.layers


def _model() -> keras.Model:
    """A real convolution, a depthwise one, a binary one, and a dense layer; each kernel but the binary one is to be stored."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = models.norm("stem_norm")(L.Conv2D(64, 3, padding="same", use_bias=False, name="stem")(image))
    x = models.norm("depth_norm")(L.DepthwiseConv2D(3, padding="same", use_bias=False, name="depth")(x))
    x = models.norm("norm", fan_in=576)(models.binary(64, "conv")(x))
    return keras.Model(image, L.Dense(10, name="logits")(L.GlobalAveragePooling2D(name="pool")(x)), name="tested")


def test_kernels_with_nan_are_refused_and_vanishing_ones_stored() -> None:
    model = _model()
    kernel = models.layer(model, "stem").get_weights()[0]
    kernel[..., 0] = 1e-44
    models.layer(model, "stem").set_weights([kernel])
    assert "verify" in [entry.step for entry in convert(model, options=Options(verify_images=4, int8="weights")).report]
    kernel[0, 0, 0, 0] = np.nan
    models.layer(model, "stem").set_weights([kernel])
    content = lower_model(FrozenModel(model))
    for kind in ("int8", "float16"):
        with pytest.raises(ElLarqError, match="contains NaN or Inf"):
            with_stored_kernels(content, kind)


@pytest.fixture(scope="module")
def stored() -> Job:
    return convert(_model(), options=Options(verify_images=20, int8="weights"))


def _kernels(graph: TfliteGraph) -> dict[str, Any]:
    return {o.name: o.inputs[1] for o in graph.operators if o.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")}


def test_every_real_kernel_is_int8_with_a_scale_per_channel(stored: Job) -> None:
    kernels = _kernels(parse(stored.need_tflite()))
    assert len(kernels) == 3
    for tensor in kernels.values():
        assert not tensor.constant
        assert tensor.type == "float32"
        assert tensor.stored.type == "int8"
        assert len(tensor.stored.data) == tensor.elements
    assert stored.unstored is not None
    saved = sum(3 * tensor.elements for tensor in kernels.values())
    assert saved == 3 * (3 * 3 * 3 * 64 + 3 * 3 * 64 + 64 * 10)
    assert -next(entry.details["bytes"] for entry in stored.report if entry.step == "store") > saved - 3000  # scales, tensors


@pytest.mark.parametrize("xnnpack", [True, False])
@pytest.mark.parametrize("indirect", [True, False])
def test_what_runs_equals_bit_by_bit_the_values_that_numpy_dequantizes(stored: Job, xnnpack: bool, indirect: bool) -> None:
    """The reference takes integers and scales from the file and multiplies them; it does not share code with the conversion."""
    content, before = stored.need_tflite(), parse(stored.unstored or b"")

    def restore(model: Any) -> None:
        graph = model.subgraphs[0]
        graph.operators, dequantizes = graph.operators[3:], graph.operators[:3]
        for operator in dequantizes:
            source, output = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
            integers = np.frombuffer(bytes(model.buffers[source.buffer].data), np.int8).reshape(source.shape)
            shape = [-1 if axis == source.quantization.quantizedDimension else 1 for axis in range(integers.ndim)]
            values = integers.astype(np.float32) * np.reshape(source.quantization.scale, shape).astype(np.float32)
            wanted = before.tensors[operator.outputs[0]].array()
            assert np.abs(values - wanted).max() <= 0.501 * source.quantization.scale.max()
            buffer = type(model.buffers[0])()
            buffer.data = np.frombuffer(values.astype("<f4").tobytes(), np.uint8)
            model.buffers.append(buffer)
            output.buffer = len(model.buffers) - 1

    options = {"num_threads": 1, "use_xnnpack": xnnpack, "use_indirect_bgemm": indirect}
    got, wanted = (lce.testing.Interpreter(c, **options) for c in (content, models.edit(content, restore)))
    for batch in (models.images(3, 8, 3), models.images(5, 8, 3)[3:]):  # the second inference uses what the first one restored
        np.testing.assert_array_equal(got.predict(batch, verbose=0), wanted.predict(batch, verbose=0))


def test_restoring_is_the_inverse_of_storing(stored: Job) -> None:
    images = models.images(4, 8, 3)
    restored = with_restored_kernels(stored.need_tflite())
    assert all(tensor.constant and tensor.stored is None for tensor in _kernels(parse(restored)).values())
    assert "DEQUANTIZE" not in {operator.name for operator in parse(restored).operators}
    np.testing.assert_array_equal(Interpreter(restored).run(images)[0], Interpreter(stored.need_tflite()).run(images)[0])
    assert parse(with_stored_kernels(restored, "int8")[0]).size == pytest.approx(parse(stored.need_tflite()).size, abs=6000)


def test_the_report_has_the_sqnr_of_each_kernel_and_the_effect(stored: Job) -> None:
    entries = {entry.step: entry for entry in stored.report}
    assert list(entries) == ["load", "fold", "lower", "arrange", "store", "audit", "verify", "write"]
    found = entries["store"].details
    assert found["type"] == "int8"
    assert [kernel["sqnr"] for kernel in found["kernels"]] == sorted(kernel["sqnr"] for kernel in found["kernels"])
    assert {kernel["layer"] for kernel in found["kernels"]} == {"stem", "depth", "logits"}
    assert all(35 < kernel["sqnr"] < 60 for kernel in found["kernels"])
    effect = entries["verify"].details["stored"]
    assert 0 < effect["max_difference"] < 0.2
    assert 0 < effect["signs_flipped"] < 0.05
    assert "with kernels as int8, top-1 agrees for" in entries["verify"].summary


def test_the_audit_finds_the_layers_and_the_bits_of_stored_kernels(stored: Job) -> None:
    audit = next(entry.details for entry in stored.report if entry.step == "audit")
    bits = {row["layer"]: (row["kernel_bits"], row["input_bits"]) for row in audit["convolutions"]}
    assert bits == {"stem": (8, 32), "depth": (8, 32), "conv": (1, 1), "logits": (8, 32)}
    assert [f["rule"] for f in audit["findings"]] == []


def test_a_file_that_is_larger_than_its_stored_weights_need_is_reported(stored: Job) -> None:
    def grow(model: Any) -> None:
        buffer = type(model.buffers[0])()
        buffer.data = np.zeros(80_000, np.uint8)
        model.buffers.append(buffer)
        tensor = type(model.subgraphs[0].tensors[0])()
        tensor.shape, tensor.type, tensor.name, tensor.buffer = [80_000], 9, "unused", len(model.buffers) - 1
        model.subgraphs[0].tensors.append(tensor)

    convolutions = find_convolutions(stored.need_original())
    for content, rules in ((stored.need_tflite(), []), (models.edit(stored.need_tflite(), grow), ["size"])):
        assert [f.rule for f in audit_model(convolutions, parse(content)).findings] == rules


def test_inspect_counts_stored_weights_once_by_their_bits_and_the_memory_they_take(stored: Job) -> None:
    graph = parse(stored.need_tflite())
    elements = sum(tensor.elements for tensor in _kernels(graph).values())
    inspected, before = (
        inspect_graph(parse(content), "stored", "cortex-a72") for content in (stored.need_tflite(), stored.unstored or b"")
    )
    assert inspected.weights[8] == elements
    assert inspected.predicted["8-bit weights"] == elements
    assert inspected.macs[8] == 0  # int8 is restored before anything is computed
    assert inspected.macs[32] == before.macs[32] > 0
    assert inspected.cost == before.cost
    assert inspected.cost is not None
    assert "DEQUANTIZE" not in {layer.kind for layer in inspected.layers}
    assert "DEQUANTIZE" not in {one.operator for one in inspected.other_operations}
    assert any(f"{4 * elements:,} bytes of RAM in addition" in note for note in inspected.notes)
    assert plan_arena(graph).size == plan_arena(parse(stored.unstored or b"")).size


def test_float16_halves_the_kernels_and_is_nearly_exact() -> None:
    job = convert(_model(), options=Options(verify_images=20, weights="float16"))
    kernels = _kernels(parse(job.need_tflite()))
    assert {tensor.stored.type for tensor in kernels.values()} == {"float16"}
    entries = {entry.step: entry for entry in job.report}
    assert all(kernel["sqnr"] > 65 for kernel in entries["store"].details["kernels"])
    assert entries["verify"].details["stored"]["max_difference"] < 0.05


def test_small_kernels_stay_and_without_others_there_is_nothing_to_store() -> None:
    content = lower_model(FrozenModel(models.network(models.binary(16, "conv"), channels=16)))
    with pytest.raises(UsageError, match=r"no kernel of a real-valued layer of 1,024 bytes or more, so .*; omit --int8"):
        with_stored_kernels(content, "int8")


def test_a_model_whose_kernels_are_int8_already_is_refused() -> None:
    def fake(x: Any) -> Any:
        return L.Lambda(lambda x: tf.quantization.fake_quant_with_min_max_vars(x, -3.0, 3.0))(x)

    image = keras.Input((8, 8, 16))
    x = fake(L.Conv2D(16, 3, padding="same")(fake(image)))
    with pytest.raises(UsageError, match="the model is quantized already"):
        with_stored_kernels(lower_model(FrozenModel(keras.Model(image, x))), "int8")


def test_a_value_too_large_for_float16_is_refused() -> None:
    image = keras.Input((8, 8, 3))
    large: Any = keras.initializers.RandomUniform
    model = keras.Model(image, L.Conv2D(32, 3, kernel_initializer=large(100_000, 100_001), name="big")(image))
    with pytest.raises(ElLarqError, match=r"contains 10000.*, which float16 cannot represent; use --int8 weights"):
        with_stored_kernels(lower_model(FrozenModel(model)), "float16")


@pytest.mark.parametrize("change", ["integer", "scale"])
def test_a_kernel_that_is_stored_wrongly_fails_the_verification(stored: Job, change: str) -> None:
    def edit(model: Any) -> None:
        tensor = next(t for t in model.subgraphs[0].tensors if t.type == 9)
        if change == "scale":
            tensor.quantization.scale = tensor.quantization.scale * np.float32(1.02)
        else:
            data = np.array(model.buffers[tensor.buffer].data, np.uint8)
            data[5] ^= 1
            model.buffers[tensor.buffer].data = data

    with pytest.raises(ElLarqError, match="is stored wrongly"):
        compare_stored(models.edit(stored.need_tflite(), edit), stored.unstored or b"", [models.images(2, 8, 3)])


def test_the_two_ways_to_store_exclude_each_other_and_unknown_ones_are_named() -> None:
    with pytest.raises(UsageError, match="either as int8 or as float16; give one"):
        Options(int8="weights", weights="float16")
    with pytest.raises(UsageError, match="unknown kind of int8 'weight'; did you mean weights"):
        Options(int8="weight")
    with pytest.raises(UsageError, match="unknown type of weights 'float61'; did you mean float16"):
        Options(weights="float61")
