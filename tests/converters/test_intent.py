"""What a model was meant to be, by its layers' quantizers and by the graph, and what the audit says where LCE cannot do it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import binary_models as models
import larq
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import el_larq
from el_larq.converters.audit import Audit, audit_model
from el_larq.converters.fold.step import fold_model
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.graph import find_convolutions
from el_larq.converters.intent import read_intents
from el_larq.converters.job import Options
from el_larq.converters.lower import lower_model, run_converter
from el_larq.errors import ElLarqError
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import parse

Layers: Any = larq.layers
SEPARABLE: dict[str, Any] = {
    "input_quantizer": "ste_sign",
    "depthwise_quantizer": "ste_sign",
    "pointwise_quantizer": "ste_sign",
    "depthwise_constraint": "weight_clip",
    "pointwise_constraint": "weight_clip",
}


def _audit(model: keras.Model, layers: bool = True, fold: bool = False) -> Audit:
    """With what the layers declare, or by the graph alone."""
    frozen = FrozenModel(model)
    content = lower_model(fold_model(frozen).model if fold else frozen)
    return audit_model(find_convolutions(frozen), parse(content), (), read_intents(model) if layers else ())


def _found(result: Audit) -> dict[str, tuple[str, str]]:
    """Rule: layer and text, of everything that concerns one layer's intent."""
    rules = ("not-binary", "no-operator", "binary-depthwise", "low-bit", "stray-binary", "real-input")
    return {f.rule: (f.subject, f"{f.severity}: {f.reason}; {f.remedy}") for f in result.findings if f.rule in rules}


def _conv(**changes: Any) -> Any:
    return models.binary(32, "q", **changes)


def _chain(*layers: Callable[[Any], Any], shape: tuple[int, ...] = (8, 8, 3)) -> keras.Model:
    keras.utils.set_random_seed(0)
    image = x = keras.Input(shape, name="image")
    for layer in layers:
        x = layer(x)
    return keras.Model(image, x, name="tested")


def _cube(x: Any) -> Any:
    return keras.layers.Reshape((4, 4, 4, 32))(x)


def _row(x: Any) -> Any:
    return keras.layers.Reshape((-1, 32))(x)


def _one_pixel(x: Any) -> Any:
    return keras.layers.Reshape((1, 1, int(np.prod(x.shape[1:]))))(x)


NO_OPERATOR = {
    "Conv3D": (_cube, lambda: Layers.QuantConv3D(8, 3, name="q", **models.SIGNS), "CONV_3D", "use QuantConv2D"),
    "Conv3DTranspose": (
        _cube,
        lambda: Layers.QuantConv3DTranspose(8, 3, name="q", **models.SIGNS),
        "CONV_3D_TRANSPOSE",
        "keep it real-valued",
    ),
    "Conv2DTranspose": (
        None,
        lambda: Layers.QuantConv2DTranspose(8, 3, name="q", **models.SIGNS),
        "TRANSPOSE_CONV",
        "upsample and use QuantConv2D",
    ),
    "LocallyConnected1D": (
        _row,
        lambda: Layers.QuantLocallyConnected1D(4, 3, name="q", **models.SIGNS),
        "a real-valued operator",
        "use QuantConv2D, which has one kernel for all positions",
    ),
    "LocallyConnected2D": (
        None,
        lambda: Layers.QuantLocallyConnected2D(4, 3, name="q", **models.SIGNS),
        "a real-valued operator",
        "use QuantConv2D, which has one kernel for all positions",
    ),
}


@pytest.mark.parametrize("kind", NO_OPERATOR)
def test_a_layer_that_lce_has_no_binary_operator_for_is_a_separate_error(kind: str) -> None:
    shape, layer, became, remedy = NO_OPERATOR[kind]
    middle = [step for step in (shape, layer(), _one_pixel) if step is not None]
    result = _audit(models.network(*middle, size=8 if shape is _cube else 4))
    subject, text = _found(result).pop("no-operator")
    assert (subject, set(_found(result))) == ("q", {"no-operator"})
    assert text.startswith(f"error: runs as {became}, since LCE has no binary operator for {kind}; ")
    assert remedy in text
    assert "--allow no-operator" in text
    assert result.summary == "0 of 1 binary convolutions are LceBconv2d"
    assert result.evidence == "layers"


def test_the_graph_alone_shows_binary_3d_kernels() -> None:
    result = _audit(
        models.network(
            _cube,
            Layers.QuantConv3D(8, 3, name="cube", **models.SIGNS),
            _one_pixel,
            size=8,
        ),
        layers=False,
    )
    assert [finding.subject for finding in result.errors if finding.rule == "no-operator"] == ["cube"]
    assert result.summary == "0 of 1 binary convolutions are LceBconv2d (by the graph: no layer declares a quantizer)"


LOW_BIT = {
    "ternary kernel": ({"kernel_quantizer": "ste_tern"}, "CONV_2D, since its kernel has 2 bits (SteTern)"),
    "DoReFa kernel": (
        {"kernel_quantizer": larq.quantizers.DoReFa(3, "weights")},
        "CONV_2D, since its kernel has 3 bits (DoReFa)",
    ),
    "DoReFa input": ({"input_quantizer": "dorefa_quantizer"}, "CONV_2D, since its input has 2 bits (DoReFa)"),
}


@pytest.mark.parametrize("case", LOW_BIT)
def test_other_values_than_signs_are_a_separate_error(case: str) -> None:
    changes, reason = LOW_BIT[case]
    result = _audit(models.network(_conv(**changes), models.norm("n")))
    subject, text = _found(result)["low-bit"]
    assert (subject, set(_found(result))) == ("q", {"low-bit"})
    assert f"error: runs as {reason}" in text
    assert f"use a sign as {'kernel' if 'kernel' in case else 'input'}_quantizer, or allow it with --allow low-bit" in text
    assert result.summary == "0 of 0 binary convolutions are LceBconv2d, 1 quantized to other values than signs"


@pytest.mark.parametrize("layers", [True, False])
def test_a_ternary_input_keeps_a_binary_kernel_real_valued(layers: bool) -> None:
    model = models.network(_conv(input_quantizer="ste_tern"), models.norm("n"))
    result = _audit(model, layers=layers)
    assert result.errors == []
    (finding,) = (finding for finding in result.findings if finding.rule == "ternary-input")
    assert str(finding) == (
        "[ternary-input] q: runs as CONV_2D, since its input contains zeros, so its binary kernel needs as much time and "
        "memory as a real-valued one; use one of Larq's sign quantizers as input_quantizer if it should be binary"
    )
    assert result.summary == "0 of 0 binary convolutions are LceBconv2d, 1 quantized to other values than signs"


def test_a_ternary_input_converts_right() -> None:
    """LCE's converter takes it for a sign; a second convolution is binary."""
    convolutions = _conv(input_quantizer="ste_tern", pad_values=0.0), models.norm("n"), models.binary(32, "second")
    model = models.network(*convolutions)
    job = el_larq.convert(model, options=Options(verify_images=8))
    images = models.images(4)
    wanted = model(images).numpy()
    np.testing.assert_allclose(Interpreter(job.need_tflite()).run(images)[0], wanted, rtol=1e-4, atol=1e-4)
    details = {entry.step: entry.details for entry in job.report}
    assert (details["audit"]["binary"], details["audit"]["meant_binary"], details["audit"]["low_bit"]) == (1, 1, 1)


@pytest.mark.parametrize(("layers", "quantizer"), [(True, " (SteTern)"), (False, "")])
def test_a_ternary_input_that_lce_treats_as_a_sign_is_a_separate_error(layers: bool, quantizer: str) -> None:
    """As LCE's converter does with the graph as it is."""
    model = models.network(_conv(input_quantizer="ste_tern"), models.norm("n"))
    frozen = FrozenModel(model)
    content = run_converter(frozen)
    (finding,) = audit_model(find_convolutions(frozen), parse(content), (), read_intents(model) if layers else ()).errors
    assert (finding.rule, finding.subject) == ("zeros-as-signs", "q")
    assert finding.reason == (
        f"runs as LceBconv2d, which interprets every value as a sign, but its input{quantizer} contains zeros, "
        "so the results are wrong"
    )


def test_the_graph_alone_shows_a_ternary_kernel() -> None:
    result = _audit(models.network(_conv(kernel_quantizer="ste_tern"), models.norm("n")), layers=False)
    assert "its kernel contains zeros and one magnitude" in _found(result)["low-bit"][1]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kernel_quantizer": "ste_heaviside"}, "its kernel contains zeros (SteHeaviside)"),
        ({"input_quantizer": "ste_heaviside"}, "its input is 0 and 1 (SteHeaviside)"),
        (
            {"kernel_quantizer": larq.quantizers.NoOp(precision=1)},
            "its kernel contains real numbers, which NoOp passes on unchanged",
        ),
    ],
)
def test_one_bit_that_is_not_a_sign_was_meant_to_be_binary(changes: dict[str, Any], reason: str) -> None:
    result = _audit(models.network(_conv(**changes), models.norm("n")))
    assert set(_found(result)) == {"not-binary"}
    assert reason in _found(result)["not-binary"][1]
    assert result.summary == "0 of 1 binary convolutions are LceBconv2d"


@pytest.mark.parametrize(
    "quantizer", ["ste_sign", "approx_sign", "swish_sign", "magnitude_aware_sign", lambda kernel: larq.math.sign(kernel)]
)
def test_every_sign_passes_as_kernel_quantizer(quantizer: Any) -> None:
    result = _audit(models.network(_conv(kernel_quantizer=quantizer), models.norm("n")))
    assert _found(result) == {}
    assert result.summary == "1 of 1 binary convolutions are LceBconv2d"


def test_a_binary_kernel_on_a_real_input_is_a_warning_that_says_why_and_what_it_costs() -> None:
    """Larq's CIFAR-10 tutorial has such a first layer; a later one has no input quantizer either."""
    first, later = _conv(input_quantizer=None), models.binary(32, "later", input_quantizer=None)
    result = _audit(_chain(first, models.norm("n"), models.binary(32, "second"), models.norm("n2"), later))
    assert result.errors == []
    assert result.summary == "1 of 1 binary convolutions are LceBconv2d"
    costs = "its binary kernel needs as much time and memory as a real-valued one"
    assert [str(finding) for finding in result.findings if finding.severity == "warning"] == [
        f"[real-input] q: runs as CONV_2D, since it reads the model's real-valued input: {costs}; this is usual for a first layer",
        f"[real-input] later: runs as CONV_2D, since it has no input_quantizer and its input is not a sign: {costs}; "
        "if it was meant to be binary, set its input_quantizer to one of Larq's sign quantizers",
    ]


@keras.utils.register_keras_serializable("el_larq_tests")
class Choice(keras.layers.Layer):
    """A sign as others write it: constants chosen by a comparison. LCE knows it with plain numbers and not with ones_like."""

    def __init__(self, known: bool = True, scale: float = 1.0, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.known, self.scale = known, scale

    def call(self, inputs: Any) -> Any:
        ones = tf.ones_like(inputs)
        return self.scale * (tf.where(inputs >= 0, 1.0, -1.0) if self.known else tf.where(inputs > 0.1, ones, -ones))


LOST = {
    "an input quantizer that makes no sign": lambda: _conv(input_quantizer=larq.quantizers.NoOp(precision=1)),
    "a choice that LCE does not support": lambda: [Choice(known=False), _conv(input_quantizer=None)],
    "zeros around signs, pooled": lambda: [
        larq.quantizers.SteSign(),
        keras.layers.ZeroPadding2D(1),
        keras.layers.MaxPooling2D(2),
        _conv(input_quantizer=None),
    ],
    "tf.sign": lambda: [keras.layers.Lambda(tf.sign), _conv(input_quantizer=None)],
}


@pytest.mark.parametrize("case", LOST)
def test_a_sign_that_got_lost_is_an_error(case: str) -> None:
    layers = LOST[case]()
    result = _audit(models.network(*(layers if isinstance(layers, list) else [layers]), models.norm("n")))
    assert [(finding.rule, finding.subject) for finding in result.errors] == [("not-binary", "q")]
    assert "input" in result.errors[0].reason
    assert result.summary == "0 of 1 binary convolutions are LceBconv2d"


def test_the_graph_alone_tells_the_pointwise_part_from_a_lost_sign() -> None:
    result = _audit(models.network(Layers.QuantSeparableConv2D(32, 3, name="q", **SEPARABLE)), layers=False)
    assert {rule: text.partition(":")[0] for rule, (_, text) in _found(result).items()} == {
        "binary-depthwise": "error",
        "real-input": "warning",
    }


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_kernel_of_signs_behind_any_sign_is_binary(scale: float) -> None:
    """A plain Conv2D whose kernel contains +1 and -1 itself: LCE makes it binary, and that is right."""
    plain = keras.layers.Conv2D(32, 3, use_bias=False, name="q")
    result = _audit(_with_signs(models.network(Choice(scale=scale), plain, models.norm("n"))), fold=True)
    assert result.errors == []
    assert result.summary == "1 of 1 binary convolutions are LceBconv2d (by the graph: no layer declares a quantizer)"


def test_a_first_dense_layer_with_a_real_input_is_a_warning() -> None:
    dense = Layers.QuantDense(32, name="q", **(models.SIGNS | {"input_quantizer": None}))
    second = Layers.QuantDense(10, name="second", **models.SIGNS)
    result = _audit(_chain(keras.layers.Flatten(), dense, models.norm("n"), second), fold=True)
    assert {rule: subject for rule, (subject, _) in _found(result).items()} == {"real-input": "q"}
    assert result.summary == "1 of 1 binary convolutions are LceBconv2d"


@pytest.mark.parametrize("row", [False, True])
def test_a_separable_convolution_is_one_warning(row: bool) -> None:
    layer = (Layers.QuantSeparableConv1D if row else Layers.QuantSeparableConv2D)(32, 3, name="q", **SEPARABLE)
    result = _audit(models.network(*[step for step in (_row if row else None, layer, _one_pixel) if step]))
    assert result.errors == []
    assert _found(result) == {}
    assert [str(finding) for finding in result.findings if finding.rule == "separable"] == [
        "[separable] q: runs real-valued: LCE has no binary depthwise convolution, and the pointwise part reads its real-valued "
        "sums; for a binary pointwise part use DepthwiseConv2D, then QuantConv2D of 1x1 with an input_quantizer"
    ]


def test_a_dense_layer_on_more_than_vectors_gets_a_true_remedy() -> None:
    dense = Layers.QuantDense(16, name="q", **models.SIGNS)
    found = _found(_audit(models.network(dense), fold=True))
    assert found["not-binary"][0] == "q"
    assert "LCE has no binary dense layer" in found["not-binary"][1]
    assert "give it vectors (N, C)" in found["not-binary"][1]


def _with_signs(model: keras.Model, name: str = "q") -> keras.Model:
    kernel = models.layer(model, name).kernel
    kernel.assign(np.where(kernel.numpy() < 0, -1.0, 1.0))
    return model


def test_a_kernel_of_signs_is_binary_without_a_quantizer() -> None:
    """A plain Conv2D after binarization."""
    plain = keras.layers.Conv2D(32, 3, use_bias=False, name="q")
    result = _audit(_with_signs(models.network(larq.quantizers.SteSign(), plain, models.norm("n"))))
    assert _found(result) == {}
    assert result.summary == "1 of 1 binary convolutions are LceBconv2d (by the graph: no layer declares a quantizer)"


def test_a_layer_that_inference_does_not_use_is_not_missed() -> None:
    class Auxiliary(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="auxiliary")
            self.conv, self.other = models.binary(32, "conv"), models.binary(48, "other")

        def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
            self.other(inputs)
            return self.conv(inputs)

    result = _audit(models.network(Auxiliary(), models.norm("n")))
    assert result.summary == "1 of 1 binary convolutions are LceBconv2d"
    assert _found(result) == {}


def test_a_kernel_trained_with_bop_converts_and_is_verified(tmp_path: Path) -> None:
    """Bop keeps kernels at +1 and -1, which no quantizer of the graph shows."""
    noop = {"kernel_quantizer": larq.quantizers.NoOp(precision=1), "kernel_constraint": None}
    model = _with_signs(models.network(_conv(**noop), models.norm("n")))
    bop: Any = larq.optimizers.Bop
    optimizer = larq.optimizers.CaseOptimizer(
        (bop.is_binary_variable, bop(threshold=1e-8)), default_optimizer=keras.optimizers.legacy.Adam(0.01)
    )
    before = models.layer(model, "q").kernel.numpy()
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(models.images(32), np.arange(32) % 10, batch_size=16, verbose=0)  # pyright: ignore[reportArgumentType]
    after = models.layer(model, "q").kernel.numpy()
    assert set(np.unique(after)) == {-1.0, 1.0}
    assert np.any(before != after)
    path = models.save(keras.Model(model.inputs, model.outputs, name=model.name), tmp_path / "model.h5")
    job = el_larq.convert(path, options=Options(verify_images=16))
    details = {entry.step: entry.details for entry in job.report}
    assert (details["audit"]["binary"], details["audit"]["meant_binary"], details["audit"]["evidence"]) == (1, 1, "layers")
    assert [row["layer"] for row in details["audit"]["convolutions"] if row["kernel_bits"] == 1] == ["q"]
    assert [layer["layer"] for layer in details["verify"]["layers"]] == ["q"]


def test_a_file_is_refused_by_what_its_layers_declare_and_converted_when_that_is_allowed(tmp_path: Path) -> None:
    tern = models.binary(32, "tern", kernel_quantizer="ste_tern")
    cube = NO_OPERATOR["Conv3D"][1]()
    model = models.network(tern, models.norm("n"), _cube, cube, _one_pixel)
    path = models.save(model, tmp_path / "model.h5")
    with pytest.raises(ElLarqError, match=r"audit: 0 of 1 binary .*\[no-operator\] q: .*\[low-bit\] tern: ") as caught:
        el_larq.convert(path, tmp_path / "model.tflite")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model.tflite").exists()
    job = el_larq.convert(path, tmp_path / "model.tflite", options=Options(verify_images=4, allow=("no-operator", "low-bit")))
    details = {entry.step: entry.details for entry in job.report}
    assert (details["audit"]["binary"], details["audit"]["meant_binary"], details["audit"]["low_bit"]) == (0, 1, 1)
    rows = {row["layer"]: row for row in details["audit"]["convolutions"]}
    assert rows["q"]["operator"] == "CONV_3D"
    assert rows["q"]["macs"] == 27 * 32 * 8 * 8
    assert tf.io.gfile.exists(str(tmp_path / "model.tflite"))
