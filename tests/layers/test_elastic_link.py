from pathlib import Path
from typing import Any

import align_reference as reference
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from el_larq.layers import ElasticLink

Shape = tuple[int | None, ...]


def constant(value: Any) -> Any:
    return keras.initializers.Constant(value)


# x's shape and z's, without the batch.
SHAPES: list[tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int]]] = [
    ((4, 5, 6), (4, 5, 6), (1, 1)),
    ((4, 5, 8), (4, 5, 2), (1, 1)),
    ((4, 5, 2), (4, 5, 8), (1, 1)),
    ((5, 7, 7), (3, 4, 3), (2, 2)),
    ((5, 7, 3), (3, 4, 7), (2, 2)),
    ((7, 7, 10), (3, 3, 4), (3, 3)),
    ((8, 6, 4), (8, 3, 10), (1, 2)),
]


def random_tensor(*shape: int, seed: int = 0) -> Any:
    return tf.constant(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def random_pair(x: tuple[int, ...], z: tuple[int, ...], batch: int = 2) -> tuple[Any, Any]:
    return random_tensor(batch, *x, seed=1), random_tensor(batch, *z, seed=2)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(("x_shape", "z_shape", "strides"), SHAPES)
def test_output_and_gradients_agree_with_the_definition(x_shape: Any, z_shape: Any, strides: Any, per_channel: bool):
    x, z = random_pair(x_shape, z_shape)
    link = ElasticLink(per_channel, keras.initializers.RandomNormal(1.0, 0.5, seed=3))
    with tf.GradientTape() as tape:
        tape.watch([x, z])
        y: Any = link([x, z])
    upstream = random_tensor(*y.shape, seed=4)
    gradients: Any = tape.gradient(y, [x, z, link.gamma], output_gradients=upstream)
    dx, dz, dgamma = gradients

    gamma, g = link.gamma.numpy(), upstream.numpy()
    aligned = reference.align(x.numpy(), z_shape[-1], strides)
    np.testing.assert_allclose(y, z.numpy() + gamma * aligned, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(dz, g)
    np.testing.assert_allclose(dx, reference.align_transposed(gamma * g, x.shape, strides), rtol=1e-4, atol=1e-5)
    axes = (0, 1, 2) if per_channel else (0, 1, 2, 3)
    np.testing.assert_allclose(dgamma, (g * aligned).sum(axis=axes), rtol=1e-4, atol=1e-4)
    assert link.gamma.shape == ((z_shape[-1],) if per_channel else ())


def test_whole_numbers_come_out_exactly():
    x = tf.reshape(tf.range(1 * 2 * 2 * 6, dtype=tf.float32), (1, 2, 2, 6))
    z = tf.ones((1, 2, 2, 3))
    y = ElasticLink(gamma_initializer=constant(0.5))([x, z])
    np.testing.assert_array_equal(y, 1 + 0.5 * reference.align(x.numpy(), 3))


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(("c_in", "c_out", "start"), [(4, 4, 1.0), (16, 4, 0.25), (4, 16, 1.0), (10, 4, 0.4)])
def test_gamma_starts_so_that_a_squeeze_is_a_mean(c_in: int, c_out: int, start: float, per_channel: bool):
    link = ElasticLink(per_channel)
    link.build([(None, 3, 3, c_in), (None, 3, 3, c_out)])
    np.testing.assert_allclose(link.gamma, start, rtol=1e-6)
    assert [weight.name.split(":")[0] for weight in link.trainable_weights] == ["gamma"]


@pytest.mark.parametrize("initializer", ["zeros", constant(0.0)])
def test_a_given_start_of_gamma_is_taken(initializer: Any):
    x, z = random_pair((2, 2, 4), (2, 2, 2))
    link = ElasticLink(gamma_initializer=initializer)
    np.testing.assert_array_equal(link([x, z]), z)


@pytest.mark.parametrize(("x_shape", "z_shape", "strides"), SHAPES)
def test_strides_given_equal_strides_inferred(x_shape: Any, z_shape: Any, strides: Any):
    pair = list(random_pair(x_shape, z_shape))
    np.testing.assert_array_equal(ElasticLink(strides=strides)(pair), ElasticLink()(pair))


@pytest.mark.parametrize("shape", [(None, None, None, 4), (None, 8, None, 4), (None, None, 8, 4)])
def test_sizes_that_are_not_static_need_strides(shape: Any):
    with pytest.raises(ValueError, match="strides="):
        ElasticLink().build([shape, (None, 4, 4, 4)])


@pytest.mark.parametrize("strides", [1, 3, (2, 1), (1, 2)])
def test_strides_that_do_not_lead_to_the_size_are_refused(strides: Any):
    with pytest.raises(ValueError, match="do not take"):
        ElasticLink(strides=strides).build([(None, 8, 8, 4), (None, 4, 4, 4)])


@pytest.mark.parametrize("strides", [0, -1, (2, 0)])
def test_strides_below_one_are_refused(strides: Any):
    def make() -> None:
        ElasticLink(strides=strides).build([(None, None, None, 4), (None, None, None, 4)])

    with pytest.raises(ValueError, match="strides"):
        make()


@pytest.mark.parametrize("z", [(None, 9, 9, 4), (None, 5, 5, 4), (None, 16, 16, 4)])
def test_sizes_that_no_stride_leads_to_are_refused(z: Shape):
    with pytest.raises(ValueError, match="cannot align"):
        ElasticLink().build([(None, 8, 8, 4), z])


def test_anything_but_two_feature_maps_is_refused():
    x = tf.zeros((1, 4, 4, 2))
    with pytest.raises(ValueError, match=r"two tensors, \[x, z\]"):
        ElasticLink()(x)
    with pytest.raises(ValueError, match=r"two tensors, \[x, z\]"):
        ElasticLink()([x])
    with pytest.raises(ValueError, match=r"two tensors, \[x, z\]"):
        ElasticLink()([x, x, x])
    with pytest.raises(ValueError, match="known channels"):
        ElasticLink()([x[0], x[0]])
    with pytest.raises(ValueError, match="known channels"):
        ElasticLink().build([(None, 4, 4, None), (None, 4, 4, 2)])


@pytest.mark.parametrize("per_channel", [False, True])
def test_one_tf_function_serves_any_batch_size(per_channel: bool):
    link = ElasticLink(per_channel)
    signature: Any = [tf.TensorSpec((None, 5, 5, 6)), tf.TensorSpec((None, 3, 3, 4))]

    @tf.function(input_signature=signature)
    def call(x: Any, z: Any) -> Any:
        return link([x, z])

    for batch in (1, 5):
        x, z = random_pair((5, 5, 6), (3, 3, 4), batch)
        expected = z.numpy() + reference.align(x.numpy(), 4, (2, 2)) * 4 / 6
        np.testing.assert_allclose(call(x, z), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (9, 2)])
@pytest.mark.parametrize(("c_in", "c_out"), [(6, 4), (4, 6), (4, 4)])
def test_sizes_may_be_dynamic_when_strides_are_given(size: tuple[int, int], c_in: int, c_out: int):
    inputs = keras.Input((None, None, c_in)), keras.Input((None, None, c_out))
    model: Any = keras.Model(inputs, ElasticLink(strides=2)(list(inputs)))
    assert model.output_shape == (None, None, None, c_out)
    x, z = random_pair((*size, c_in), (-(-size[0] // 2), -(-size[1] // 2), c_out), batch=3)
    expected = z.numpy() + min(1, c_out / c_in) * reference.align(x.numpy(), c_out, (2, 2))
    np.testing.assert_allclose(model([x, z]), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize(
    "options",
    [{}, {"per_channel": True, "gamma_initializer": constant(0.3), "strides": (2, 1)}, {"strides": 2}],
)
def test_a_saved_model_loads_without_custom_objects(tmp_path: Path, suffix: str, options: dict[str, Any]):
    strides = (2, 1) if options.get("strides") == (2, 1) else (2, 2)
    shapes = (6, 6, 8), (6 // strides[0], 6 // strides[1], 4)
    inputs = [keras.Input(shape) for shape in shapes]
    model: Any = keras.Model(inputs, ElasticLink(name="link", **options)(inputs))
    link = model.get_layer("link")
    link.set_weights([np.random.default_rng(5).normal(size=link.gamma.shape)])
    path = tmp_path / f"model{suffix}"
    model.save(path)
    loaded: Any = keras.models.load_model(path)

    assert loaded.get_layer("link").get_config() == link.get_config()
    pair = list(random_pair(*shapes))
    np.testing.assert_array_equal(loaded(pair), model(pair))


def test_the_config_makes_an_equal_layer():
    link = ElasticLink(per_channel=True, gamma_initializer="ones", strides=2, name="link")
    config: Any = link.get_config()
    assert config["per_channel"] is True
    assert config["strides"] == (2, 2)
    assert ElasticLink.from_config(config).get_config() == config
    assert ElasticLink.from_config(ElasticLink(name="plain").get_config()).gamma_initializer is None
