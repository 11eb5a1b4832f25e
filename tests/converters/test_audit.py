from typing import Any

import binary_models as models
import larq
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from el_larq.converters.audit import Audit, audit, audit_model
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.graph import find_convolutions
from el_larq.converters.intent import read_intents
from el_larq.converters.job import Job, Options
from el_larq.converters.lower import lower_model, run_converter
from el_larq.converters.rewrite import with_metadata
from el_larq.counting import counts
from el_larq.errors import ElLarqError, UsageError
from el_larq.tflite.reader import parse


def _audit(model: keras.Model, allow: tuple[str, ...] = (), content: bytes | None = None) -> Audit:
    frozen = FrozenModel(model)
    return audit_model(find_convolutions(frozen), parse(content or lower_model(frozen)), allow, read_intents(model))


def _finding(result: Audit, layer: str, rule: str = "not-binary") -> Any:
    (finding,) = result.errors
    assert finding.rule == rule
    assert finding.subject == layer
    assert finding.reason
    assert finding.remedy
    assert "\n" not in str(finding)
    return finding


def _with_dead_filter(model: keras.Model) -> keras.Model:
    layer = models.layer(model, "conv")
    kernel = layer.kernel.numpy()
    kernel[..., 3] = 0
    layer.kernel.assign(kernel)
    return model


def test_a_binary_network_passes_every_rule() -> None:
    model = models.network(models.binary(48, "a"), models.norm("n1"), models.binary(64, "b", 1), models.norm("n2"))
    result = _audit(model)
    assert [finding.severity for finding in result.findings] == ["note", "note"]  # 48 channels, and packed results
    assert result.binary == result.meant_binary == 2
    assert result.summary == "2 of 2 binary convolutions are LceBconv2d"


@pytest.mark.parametrize("padding", [{"padding": "valid"}, {"pad_values": 0.0}, {"pad_values": 1.0}])
def test_paddings_that_lce_takes_pass(padding: dict[str, Any]) -> None:
    changes: dict[str, Any] = {"padding": "same"} | padding
    assert _audit(models.network(models.binary(32, "conv", 3, **changes), models.norm("n"))).errors == []


def test_padding_that_is_neither_a_sign_nor_zero_is_found() -> None:
    finding = _finding(_audit(models.network(models.binary(32, "conv", pad_values=0.5), models.norm("n"))), "conv")
    assert "CONV_2D" in finding.reason
    assert "padded with 0.5" in finding.reason


def test_a_binary_dense_layer_is_found() -> None:
    image = keras.Input((8, 8, 1), name="image")
    x = models.norm("n")(keras.layers.Conv2D(32, 3, 2, name="stem")(image))
    x = keras.layers.GlobalAveragePooling2D()(x)
    result = _audit(keras.Model(image, larq.layers.QuantDense(10, name="dense", **models.SIGNS)(x)))
    finding = _finding(result, "dense")
    assert "FULLY_CONNECTED" in finding.reason
    assert "dense" in finding.reason
    assert result.summary == "0 of 1 binary convolutions are LceBconv2d"


def test_a_binary_depthwise_layer_is_found() -> None:
    depthwise = larq.layers.QuantDepthwiseConv2D(
        3, input_quantizer="ste_sign", depthwise_quantizer="ste_sign", depthwise_constraint="weight_clip", name="depthwise"
    )
    finding = _finding(_audit(models.network(depthwise, models.norm("n"))), "depthwise", "binary-depthwise")
    assert "DEPTHWISE_CONV_2D" in finding.reason


def test_a_dead_filter_is_found() -> None:
    alive = models.network(models.binary(32, "conv", kernel_quantizer=larq.quantizers.MagnitudeAwareSign()), models.norm("n"))
    assert _audit(alive).errors == []
    assert "1 of its filters are all zero" in _finding(_audit(_with_dead_filter(alive)), "conv").reason


def test_groups_are_taken_in_words_of_32_channels_and_found_otherwise() -> None:
    whole = models.network(models.binary(64, "conv", groups=2), models.norm("n"), channels=64)
    assert _audit(whole).errors == []
    partial = models.network(models.binary(64, "conv", groups=4), models.norm("n"), channels=64)
    assert "groups" in _finding(_audit(partial), "conv").reason


def test_a_plain_sign_is_distinguished_from_one_that_lce_supports() -> None:
    class Plain(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return tf.sign(inputs)

    result = _audit(models.network(Plain(), models.binary(32, "conv", 1, input_quantizer=None), models.norm("n")))
    assert "tf.sign" in _finding(result, "conv").reason


def test_kernels_with_several_magnitudes_are_found() -> None:
    class Uneven(larq.quantizers.SteSign):
        def call(self, inputs: Any) -> Any:
            return super().call(inputs) * tf.linspace(1.0, 2.0, inputs.shape[2])[:, None]

    result = _audit(models.network(models.binary(32, "conv", kernel_quantizer=Uneven()), models.norm("n")))
    assert "one magnitude" in _finding(result, "conv").reason


def test_constants_that_no_weight_explains_are_a_warning() -> None:
    class Wide(keras.layers.Layer):
        """A table as large as the map, tiled: constants that belong to no kernel."""

        def call(self, inputs: Any) -> Any:
            table = np.random.default_rng(0).standard_normal((1, 8, 8, 32 * 32)).astype(np.float32)
            return tf.reduce_sum(tf.reshape(tf.tile(inputs, [1, 1, 1, 32]) * table, [-1, 8, 8, 32, 32]), axis=-1)

    small = models.network(models.binary(32, "conv"), models.norm("n"))
    assert "size" not in {finding.rule for finding in _audit(small).findings}
    wide = models.network(models.binary(512, "conv"), models.norm("n"))
    content = with_metadata(lower_model(FrozenModel(wide)), "ballast", bytes(200_000))
    assert "size" not in {finding.rule for finding in _audit(wide, content=content).findings}  # metadata is not a constant
    table = models.network(models.binary(32, "conv"), models.norm("n"), Wide())
    assert "size" in {finding.rule for finding in _audit(table).findings}


def test_a_binary_convolution_from_nowhere_is_found() -> None:
    model = models.network(models.binary(32, "conv"), models.norm("n"))
    other = models.network(models.binary(32, "a"), models.norm("n1"), models.binary(48, "b"), models.norm("n2"))
    result = _audit(model, content=lower_model(FrozenModel(other)))
    assert [finding.rule for finding in result.errors] == ["stray-binary"]
    assert result.errors[0].subject.startswith("operator ")


def test_an_allowed_rule_stays_in_the_report() -> None:
    model = models.network(models.binary(32, "conv", pad_values=0.5), models.norm("n"))
    result = _audit(model, allow=("not-binary",))
    assert result.errors == []
    assert [finding.allowed for finding in result.findings if finding.rule == "not-binary"] == [True]
    assert result.to_dict()["findings"][0]["allowed"]


def test_a_rule_that_is_allowed_in_one_layer_still_finds_others() -> None:
    first, second = models.binary(32, "conv1", pad_values=0.5), models.binary(32, "conv2", pad_values=0.5)
    model = models.network(first, models.norm("n1"), second, models.norm("n2"))
    content = lower_model(FrozenModel(model))
    _finding(_audit(model, ("not-binary:conv1",), content), "conv2")
    _finding(_audit(model, ("not-binary:conv2", "low-bit"), content), "conv1")
    assert _audit(model, ("not-binary:conv1", "not-binary:conv2"), content).errors == []
    assert _audit(model, ("not-binary",), content).errors == []
    assert len(_audit(model, ("low-bit:conv1",), content).errors) == 2


def test_findings_of_operators_name_their_layer_and_can_be_allowed_there() -> None:
    model = models.network(models.binary(32, "wide", pad_values=0.0, dilation_rate=4), models.norm("n"), size=8)
    content = run_converter(FrozenModel(model))
    finding = _finding(_audit(model, content=content), "operator 2 (wide)", "zero-padded-small-map")
    assert finding.layer == "wide"
    assert _audit(model, ("zero-padded-small-map:wide",), content).errors == []


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("not-binery", "unknown audit rule 'not-binery'; did you mean not-binary"),
        ("not-binery:conv", "unknown audit rule 'not-binery'; did you mean not-binary"),
        ("not-binary:", "--allow not-binary:: the layer is missing; name one, or use --allow not-binary for all layers"),
        ("not-binary:cnv", "no convolution or dense layer 'cnv'; did you mean conv"),
    ],
)
def test_an_unknown_rule_or_layer_offers_the_nearest(entry: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        _audit(models.network(models.binary(32, "conv")), allow=(entry,))
    assert "\n" not in str(caught.value)


def test_the_step_fails_in_one_line_with_rule_layer_and_remedy() -> None:
    model = models.network(models.binary(32, "conv", pad_values=0.5), models.norm("n"))
    job = Job(None, Options(), original=FrozenModel(model), model=FrozenModel(model), tflite=lower_model(FrozenModel(model)))
    with pytest.raises(ElLarqError, match=r"0 of 1 binary.*\[not-binary\] conv: .*; use pad_values") as caught:
        audit(job)
    assert "\n" not in str(caught.value)
    allowed = audit(
        Job(
            None,
            Options(allow=("not-binary",)),
            original=FrozenModel(model),
            model=FrozenModel(model),
            tflite=job.need_tflite(),
        )
    )
    assert allowed.details["findings"][0]["rule"] == "not-binary"


def _model_of_everything() -> keras.Model:
    def middle(x: Any) -> Any:
        x = models.norm("n1")(models.binary(48, "one_by_one", 1)(x))
        x = models.norm("n2")(models.binary(40, "strided", strides=2)(x))
        x = models.norm("n3")(keras.layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x))
        return models.norm("n4")(models.binary(32, "last", padding="valid")(x))

    return models.network(middle, size=12)


def test_rows_have_the_bits_and_operations_that_are_counted_in_the_model() -> None:
    model = _model_of_everything()
    rows = {row.layer: row for row in _audit(model).rows}
    wanted = {layer.name: layer for layer in counts.count(model).layers}
    assert set(rows) == set(wanted)
    for name, layer in wanted.items():
        assert (rows[name].kernel_bits, rows[name].input_bits) == (layer.kernel_bits, layer.input_bits), name
        assert rows[name].macs == layer.macs, name
        assert rows[name].output_shape[1:] == layer.output_shape, name


def test_rows_of_a_chain_that_stays_packed_count_channels_not_words() -> None:
    model = models.network(models.binary(48, "a"), models.norm("n1"), models.binary(40, "b"), models.norm("n2"))
    rows = {row.layer: row for row in _audit(model).rows}
    assert {row.layer: row.macs for row in rows.values()} == {c.name: c.macs for c in counts.count(model).layers}
    assert rows["a"].output_shape == (1, 8, 8, 48)
