from collections.abc import Callable
from typing import Any

import binary_models as models
import larq
import numpy as np
import pytest
import tf_keras as keras

import el_larq
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.job import Job, Options
from el_larq.converters.lower import lower_model
from el_larq.converters.verify import OUTPUT_TOLERANCE, Verification, verify, verify_model
from el_larq.errors import ElLarqError
from el_larq.tflite.reader import Operator, Tensor, parse

Change = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    """Real images: smooth, correlated, standardized."""
    return el_larq.load_dataset("photos", 16).test_images(64)[0]


@pytest.fixture(scope="module")
def checked(photos: np.ndarray) -> Any:
    """A network of three binary convolutions (one stays packed), frozen and lowered, and a way to verify altered copies."""

    def residual(x: Any) -> Any:
        y = models.norm("n1", 0, 288)(models.binary(32, "first")(x))
        y = keras.layers.Add()([x, y])
        return models.norm("n2", 10, 288)(models.binary(48, "second")(y))

    model = models.network(residual, models.binary(40, "third"), models.norm("n3", 20, 432), size=16)
    frozen, content = FrozenModel(model), lower_model(FrozenModel(model))

    class Checked:
        graph = parse(content)

        def verify(self, changed: bytes = content) -> Verification:
            return verify_model(frozen, changed, photos, "photos")

        def change(self, tensor: int, dtype: Any, change: Change) -> Verification:
            return self.verify(models.change_constant(content, tensor, dtype, change))

        @property
        def binary(self) -> list[Operator]:
            return [operator for operator in self.graph.operators if operator.name == "LceBconv2d"]

    assert len(Checked().binary) == 3
    return Checked()


def _constant(operator: Operator, index: int) -> Tensor:
    tensor = operator.inputs[index]
    assert tensor is not None
    assert tensor.constant
    return tensor


def test_a_correct_model_passes_on_real_images(checked: Any) -> None:
    result = checked.verify()
    assert result.failures == ()
    assert result.images == 64
    assert result.data == "photos"
    assert result.max_difference <= OUTPUT_TOLERANCE
    assert result.top1_agreement >= 0.99
    assert 1 <= result.classes <= 10
    assert 0 <= result.flipped_images < 64
    assert "64 images of photos" in result.summary


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("plane", [0, 7, 15])
def test_one_inverted_bit_plane_of_any_kernel_fails(checked: Any, number: int, plane: int) -> None:
    kernel = _constant(checked.binary[number], 1)
    result = checked.change(kernel.index, np.int32, lambda words: words ^ np.int32(1 << plane))
    assert any(f"kernel of {('first', 'second', 'third')[number]} differs" in failure for failure in result.failures)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_one_flipped_kernel_bit_fails(checked: Any, number: int) -> None:
    kernel = _constant(checked.binary[number], 1)

    def flip(words: np.ndarray) -> np.ndarray:
        words[len(words) // 2] ^= 1
        return words

    assert any("differs in 1 of" in failure for failure in checked.change(kernel.index, np.int32, flip).failures)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_inverted_filter_fails(checked: Any, number: int) -> None:
    """LCE inverts filters itself and makes up for it, so their bits alone do not tell."""
    kernel = _constant(checked.binary[number], 1)

    def invert(words: np.ndarray) -> np.ndarray:
        filters = words.reshape(kernel.shape)
        filters[0] = ~filters[0]
        return filters.reshape(-1)

    assert checked.change(kernel.index, np.int32, invert).failures


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("part", [2, 3])
def test_a_scale_or_bias_behind_a_convolution_that_is_5_percent_off_fails(checked: Any, number: int, part: int) -> None:
    """Inputs 2 and 3 of an LceBconv2d; where the result stays packed, thresholds (input 4) stand for both."""
    operator = checked.binary[number]
    if operator.inputs[part] is not None:
        result = checked.change(_constant(operator, part).index, np.float32, lambda values: 1.05 * values)
    else:
        result = checked.change(_constant(operator, 4).index, np.int32, lambda values: values + 3)
    assert result.failures


def test_a_changed_bias_of_the_classifier_fails(checked: Any) -> None:
    dense = next(operator for operator in checked.graph.operators if operator.name == "FULLY_CONNECTED")
    result = checked.change(_constant(dense, 2).index, np.float32, lambda values: values + 0.02)
    assert any("outputs differ" in failure for failure in result.failures)


def test_changed_weights_of_the_stem_fail(checked: Any) -> None:
    stem = next(operator for operator in checked.graph.operators if operator.name == "CONV_2D")
    result = checked.change(_constant(stem, 1).index, np.float32, lambda values: 1.01 * values + 0.01)
    assert any("within rounding" in failure and "first" in failure for failure in result.failures)


def test_an_output_that_is_not_finite_fails(checked: Any) -> None:
    dense = next(operator for operator in checked.graph.operators if operator.name == "FULLY_CONNECTED")
    result = checked.change(_constant(dense, 2).index, np.float32, lambda values: values * np.nan)
    assert any("not finite" in failure for failure in result.failures)


def _on_the_edge(offset: float, reader: Callable[[Any], Any] | None = None) -> keras.Model:
    """A binary convolution, or another reader, whose input is within ``offset`` of zero in one channel of four in every image."""
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(32, 3, padding="same", use_bias=False, name="stem")(image)
    gain: Any = keras.initializers.Constant(np.where(np.arange(32) % 4, 1.0, 0.0))  # pyright: ignore[reportArgumentType]
    shift: Any = keras.initializers.Constant(np.where(np.arange(32) % 4, 0.0, offset))  # pyright: ignore[reportArgumentType]
    x = keras.layers.BatchNormalization(name="edge", gamma_initializer=gain, beta_initializer=shift)(x)
    x = models.norm("n", fan_in=288)((reader or models.binary(32, "conv"))(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    decided: Any = keras.initializers.Constant(10 * np.arange(10))  # pyright: ignore[reportArgumentType]
    return keras.Model(image, keras.layers.Dense(10, name="logits", bias_initializer=decided)(x), name="edge")


@pytest.mark.parametrize(("offset", "excused"), [(1e-7, True), (1e-2, False)])
def test_only_flips_within_rounding_of_zero_are_excused(offset: float, excused: bool) -> None:
    frozen, content = _crossed(offset)
    result = verify_model(frozen, content, models.images(16))
    assert result.flipped_images == 16
    unexcused = [failure for failure in result.failures if "within rounding" in failure]
    assert bool(unexcused) != excused
    if excused:
        assert 0 < result.worst_flip < 1e-6
        assert "in 16 images" in result.summary
    else:
        assert "input of conv" in unexcused[0]
        assert "in 16 of 16 images" in unexcused[0]


def _crossed(offset: float, reader: Callable[[Any], Any] | None = None) -> tuple[FrozenModel, bytes]:
    """A model and the .tflite of the same weights with the channels' constant on the other side of zero."""
    keras.utils.set_random_seed(0)
    model, other = _on_the_edge(offset, reader), _on_the_edge(-offset, reader)
    weights = zip(model.weights, model.get_weights(), other.get_weights(), strict=True)
    other.set_weights([b if "edge" in variable.name else a for variable, a, b in weights])
    return FrozenModel(model), lower_model(FrozenModel(other))


@pytest.fixture(scope="module")
def all_flipped() -> tuple[FrozenModel, bytes, np.ndarray]:
    """A model, its .tflite and images: in every image signs flip, all within rounding of zero."""
    frozen, content = _crossed(1e-7)
    images = models.images(16)
    result = verify_model(frozen, content, images)
    assert result.failures == ()
    assert result.flipped_images == result.images == 16
    assert result.max_difference < 1e-5 < OUTPUT_TOLERANCE < result.max_difference_flipped
    return frozen, content, images


@pytest.mark.parametrize("fault", ["noise on the head", "last multipliers"])
def test_no_image_is_exempt_because_a_sign_flips(all_flipped: tuple[FrozenModel, bytes, np.ndarray], fault: str) -> None:
    frozen, content, images = all_flipped
    name, change = {
        "noise on the head": ("FULLY_CONNECTED", lambda v: v * (1 + 0.1 * np.random.default_rng(0).standard_normal(v.shape))),
        "last multipliers": ("LceBconv2d", lambda v: v * 1.5),
    }[fault]
    operator = next(operator for operator in parse(content).operators if operator.name == name)
    constant = _constant(operator, {"FULLY_CONNECTED": 1, "LceBconv2d": 2}[name])
    result = verify_model(frozen, models.change_constant(content, constant.index, np.float32, change), images)
    assert any("outputs differ" in failure for failure in result.failures)


def _sign(x: Any) -> Any:
    return keras.layers.Lambda(larq.quantizers.SteSign(), name="sign")(x)


def _real_convolution(x: Any) -> Any:
    return keras.layers.Conv2D(32, 3, use_bias=False, kernel_initializer="ones", name="conv")(_sign(x))


def _convolution_and_addition(x: Any) -> Any:
    x = _sign(x)
    return keras.layers.Add()([x, models.binary(32, "conv", input_quantizer=None)(x)])


def _two_convolutions(x: Any) -> Any:
    return keras.layers.Add()([models.binary(32, "conv")(x), models.binary(32, "other", 1)(x)])


@pytest.mark.parametrize("reader", [_real_convolution, _convolution_and_addition, _two_convolutions])
def test_flips_are_excused_whatever_reads_the_sign(reader: Any) -> None:
    frozen, content = _crossed(1e-7, reader)
    result = verify_model(frozen, content, models.images(16))
    assert result.failures == ()
    assert result.flipped_images == 16
    assert result.max_difference < 1e-5
    classifier = next(operator for operator in parse(content).operators if operator.name == "FULLY_CONNECTED")
    wrong = models.change_constant(content, _constant(classifier, 1).index, np.float32, lambda values: 1.5 * values)
    assert any("outputs differ" in failure for failure in verify_model(frozen, wrong, models.images(16)).failures)


def test_a_real_valued_model_is_verified_too() -> None:
    model = models.network()
    content = lower_model(FrozenModel(model))
    assert verify_model(FrozenModel(model), content, models.images(8)).failures == ()
    dense = next(operator for operator in parse(content).operators if operator.name == "FULLY_CONNECTED")
    damaged = models.change_constant(content, _constant(dense, 2).index, np.float32, lambda values: values + 0.1)
    assert verify_model(FrozenModel(model), damaged, models.images(8)).failures


def test_a_layer_that_is_called_twice_is_verified() -> None:
    shared = models.binary(32, "shared")
    model = models.network(shared, models.norm("n1"), shared, models.norm("n2", 5))
    assert verify_model(FrozenModel(model), lower_model(FrozenModel(model)), models.images(8)).failures == ()


def test_signs_of_as_many_words_in_another_layout_are_distinguished() -> None:
    """8x8x32 and 4x4x128 signs both are 64 words. The depthwise convolution's, which LCE unpacks, are found by shape."""
    signs = {name: value for name, value in models.SIGNS.items() if name in ("input_quantizer", "use_bias")}
    depthwise = larq.layers.QuantDepthwiseConv2D(3, depthwise_quantizer="ste_sign", padding="same", pad_values=1.0, **signs)
    model = models.network(models.binary(128, "conv", strides=2), models.norm("n1", 0, 288), depthwise, models.norm("n2", 5, 9))
    result = verify_model(FrozenModel(model), lower_model(FrozenModel(model)), models.images(8))
    assert result.failures == ()
    assert [record.compared for record in result.layers] == [8 * 8 * 8 * 32, 8 * 4 * 4 * 128]


def test_every_output_is_verified() -> None:
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.GlobalAveragePooling2D()(models.norm("n")(keras.layers.Conv2D(32, 3, name="stem")(image)))
    outputs = [keras.layers.Dense(size, bias_initializer="normal", name=f"head{size}")(x) for size in (4, 7)]
    model = keras.Model(image, outputs, name="two_headed")
    content = lower_model(FrozenModel(model))
    assert verify_model(FrozenModel(model), content, models.images(8)).failures == ()
    for dense in (operator for operator in parse(content).operators if operator.name == "FULLY_CONNECTED"):
        damaged = models.change_constant(content, _constant(dense, 2).index, np.float32, lambda values: values + 1)
        assert verify_model(FrozenModel(model), damaged, models.images(8)).failures, dense.outputs[0].shape


def _job(small: Any, **options: Any) -> Job:
    return Job(
        None,
        Options(**options),
        original=FrozenModel(small.model),
        tflite=lower_model(FrozenModel(small.model)),
        card=small.card,
    )


def test_the_step_uses_the_data_on_the_card(small: Any) -> None:
    job = verify(_job(small, verify_images=32))
    assert job.details["data"] == "digits"
    assert job.details["images"] == 32
    assert job.details["classes"] > 1
    assert job.details["failures"] == ()


def test_the_step_uses_the_requested_data(small: Any) -> None:
    assert verify(_job(small, verify_on="photos", verify_images=16)).details["data"] == "photos"


def test_the_step_says_when_it_has_no_data() -> None:
    model = models.network(models.binary(32, "conv"), models.norm("n"), image_channels=3)
    job = Job(
        None,
        Options(verify_images=8),
        original=FrozenModel(model),
        tflite=lower_model(FrozenModel(model)),
        card={"dataset": {"name": "elsewhere"}},
    )
    assert "8 images of random numbers" in verify(job).summary


def test_data_of_another_shape_is_refused() -> None:
    model = models.network(image_channels=3)
    job = Job(None, Options(verify_on="digits"), original=FrozenModel(model), tflite=lower_model(FrozenModel(model)))
    with pytest.raises(ElLarqError, match="digits has images of"):
        verify(job)


def test_data_for_a_model_of_vectors_is_refused() -> None:
    vector = keras.Input((64,), name="vector")
    model = keras.Model(vector, keras.layers.Dense(10)(vector), name="dense")
    content = lower_model(FrozenModel(model))
    assert verify(Job(None, Options(verify_images=4), original=FrozenModel(model), tflite=content)).details["images"] == 4
    with pytest.raises(ElLarqError, match="digits has images of"):
        verify(Job(None, Options(verify_on="digits"), original=FrozenModel(model), tflite=content))


def test_an_unknown_data_set_offers_the_nearest(small: Any) -> None:
    with pytest.raises(ElLarqError, match="did you mean digits"):
        verify(_job(small, verify_on="digit"))


def test_the_step_fails_in_one_line() -> None:
    model = models.network(models.binary(32, "conv"), models.norm("n"))
    content = lower_model(FrozenModel(model))
    kernel = _constant(next(o for o in parse(content).operators if o.name == "LceBconv2d"), 1)
    damaged = models.change_constant(content, kernel.index, np.int32, lambda words: ~words[::-1])
    with pytest.raises(ElLarqError, match=r"differs from the model: kernel of conv") as caught:
        verify(Job(None, Options(verify_images=8), original=FrozenModel(model), tflite=damaged))
    assert "\n" not in str(caught.value)


def test_by_layer_a_failure_says_where_signs_depart() -> None:
    model = models.network(models.binary(32, "a"), models.norm("n1"), models.binary(32, "b"), models.norm("n2"))
    frozen, content = FrozenModel(model), lower_model(FrozenModel(model))
    kernel = next(o for o in parse(content).operators if o.name == "LceBconv2d").inputs[1]
    assert kernel is not None
    damaged = models.change_constant(content, kernel.index, np.int32, lambda words: words ^ 2)
    result = verify_model(frozen, damaged, models.images(8))
    assert [(layer.layer, layer.flipped > 0) for layer in result.layers] == [("a", False), ("b", True)]
    job = Job(None, Options(by_layer=True, verify_images=8), original=frozen, tflite=damaged)
    with pytest.raises(ElLarqError, match=r"in order of execution: b \d+ of"):
        verify(job)
