from functools import cache
from pathlib import Path
from typing import Any

import larq
import numpy as np
import pytest
import tf_keras as keras
from counted import binary_weights, real_weights

import el_larq
from el_larq.converters.job import Options
from el_larq.counting.counts import count
from el_larq.errors import UsageError
from el_larq.keras_internals import leaf_layers
from el_larq.layers import ElasticLink
from el_larq.methods.method_registry import METHODS
from el_larq.models.build import build
from el_larq.models.network_registry import NETWORKS
from el_larq.models.zoo.zoo_build import build_zoo
from el_larq.published import of_network, of_zoo

QUICKNETS = ("quicknet_small", "quicknet", "quicknet_large")


def small(network: str = "quicknet_small", method: Any = "el", **arguments: Any) -> Any:
    """A network small enough to build in a moment, with QuickNet's own stem."""
    return build(network, method, **{"input_shape": (64, 64, 3), "num_classes": 10, "width": 0.125} | arguments)


@cache
def common(network: str, method: str) -> Any:
    """The `small` network without further arguments, built once; only to be read."""
    return small(network, method)


def layers_of(model: Any, kind: Any) -> list[Any]:
    return [layer for layer in leaf_layers(model) if isinstance(layer, kind)]


def test_layers_are_those_of_larq_zoo() -> None:
    """So `--init-from zoo:quicknet` finds each of them; below 64 pixels, the stem is another one."""

    def shapes(model: Any) -> dict[str, list[Any]]:
        return {layer.name: [array.shape for array in layer.get_weights()] for layer in leaf_layers(model) if layer.weights}

    wanted = shapes(build_zoo("quicknet_small", input_shape=(64, 64, 3), num_classes=10))
    assert shapes(small(method="binary", width=1.0)) == wanted
    assert wanted.items() < shapes(small(method="el", width=1.0)).items()


# --- Counts ---------------------------------------------------------------------------------------------------------------


@cache
def full_size(network: str) -> Any:
    """224x224x3 with 1000 classes, and no link, which the original does not have."""
    return build(network, "binary")


# Parameters and MiB of memory as Larq Zoo's docstrings have them.
PUBLISHED = [
    ("quicknet_small", 12_655_688, 4.00),
    ("quicknet", 13_234_088, 4.17),
    ("quicknet_large", 23_342_248, 5.40),
]


@pytest.mark.parametrize(("network", "parameters", "memory"), PUBLISHED)
def test_parameters_and_memory_are_those_that_larq_zoo_publishes(network: str, parameters: int, memory: float):
    """By Larq's own count, which leaves the moving statistics of a normalization to what they are folded into."""
    profile = larq.models.ModelProfile(full_size(network))
    assert profile.weight_count() == parameters
    assert round(profile.memory / 8 / 2**20, 2) == memory


@pytest.mark.parametrize("network", QUICKNETS)
def test_an_accuracy_is_listed_only_for_the_network_it_was_measured_on(network: str):
    """A block of this network has no ReLU, with whatever method; Larq Zoo's has one."""
    assert "top-1" not in of_network(network)
    assert "top-1" in of_zoo(network)
    assert f"zoo:{network}" in NETWORKS[network].summary
    assert of_network(network).items() <= of_zoo(network).items()


# By hand from channels and maps: 3x3 convolutions at 56, 28, 14, 7 pixels; stem, blurs, 1x1 convolutions, classifier.
@pytest.mark.parametrize(
    ("network", "filters", "repeats"),
    [
        ("quicknet_small", (32, 64, 256, 512), (4, 4, 4, 4)),
        ("quicknet", (64, 128, 256, 512), (4, 4, 4, 4)),
        ("quicknet_large", (64, 128, 256, 512), (6, 8, 12, 6)),
    ],
)
def test_weights_and_operations_at_full_size(network: str, filters: tuple[int, ...], repeats: tuple[int, ...]):
    counts = count(full_size(network))
    sizes = (56, 28, 14, 7)
    kernels = [9 * c * c for c in filters]
    assert binary_weights(counts) == sum(n * kernel for n, kernel in zip(repeats, kernels, strict=True))
    assert counts.bops == sum(n * kernel * size**2 for n, kernel, size in zip(repeats, kernels, sizes, strict=True))
    assert sum(layer.binary for layer in counts.layers) == sum(repeats)

    first, quarter = filters[0], filters[0] // 4
    steps = list(zip(filters, filters[1:], sizes[1:], strict=False))
    classifier = 512 * 1000
    stem_weights = 27 * quarter + 9 * quarter + quarter * first
    assert real_weights(counts) == stem_weights + sum(9 * c + c * d for c, d, _ in steps) + classifier
    stem_flops = 27 * quarter * 112**2 + (9 * quarter + quarter * first) * 56**2
    assert counts.flops == stem_flops + sum((9 * c + c * d) * size**2 for c, d, size in steps) + classifier


# --- Structure ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", QUICKNETS)
def test_stages_halve_the_map(network: str):
    model = common(network, "el")
    repeats, filters = (NETWORKS[network].arguments[name] for name in ("repeats", "filters"))
    for stage, (blocks, channels) in enumerate(zip(repeats, filters, strict=True)):
        size = 16 >> stage
        assert model.get_layer(f"stage{stage + 1}_block{blocks}_conv").output_shape == (None, size, size, channels // 8)
    assert model.output_shape == (None, 10)


@pytest.mark.parametrize("stem", [None, "quicknet", "imagenet", "small", "cifar"])
def test_every_stem_fits(stem: str | None):
    model = small(input_shape=(64, 64, 1), stem=stem)
    assert model.get_layer("stage1_block1_conv").output_shape[1:3] == ((64, 64) if stem == "cifar" else (16, 16))


@pytest.mark.parametrize(("size", "after"), [(8, 8), (63, 63), (64, 16)])
def test_small_images_get_the_stem_that_keeps_their_size(size: int, after: int):
    assert small(input_shape=(size, size, 1)).get_layer("stage1_block1_conv").output_shape[1:3] == (after, after)


@pytest.mark.parametrize(("shape", "last"), [((9, 20), (1, 2)), ((4, 4), (1, 1)), ((2, 8), (1, 4)), ((1, 1), (1, 1))])
def test_odd_and_tiny_maps_pass_the_transitions(shape: tuple[int, int], last: tuple[int, int]):
    model = small(input_shape=(*shape, 1), stem="cifar")
    assert model.get_layer("stage4_block4_conv").output_shape[1:3] == last
    assert np.all(np.isfinite(model(np.ones((1, *shape, 1), np.float32), training=False)))


def test_only_the_blocks_convolutions_are_binary():
    model = common("quicknet_large", "binary")
    names = [layer.name for layer in layers_of(model, larq.layers.QuantConv2D)]
    blocks = [f"stage{s + 1}_block{b + 1}" for s, n in enumerate((6, 8, 12, 6)) for b in range(n)]
    assert names == [f"{block}_conv" for block in blocks]
    assert [layer.name for layer in layers_of(model, keras.layers.Add)] == [f"{block}_shortcut" for block in blocks]


@pytest.mark.parametrize("method", ["float", "binary", "bireal", "el"])
def test_each_convolution_has_one_residual_and_the_links_of_its_method(method: str):
    model = common("quicknet_small", method)
    link = METHODS[method].link
    suffix = "_link" if link.residual else "_shortcut"
    adds = [layer.name for layer in layers_of(model, keras.layers.Add)]
    assert len(adds) == 16
    assert all(name.endswith(suffix) for name in adds)
    assert len(layers_of(model, ElasticLink)) == (16 if link.name == "elastic" else 0)


def test_a_binary_downsample_binarizes_the_transitions_on_values_of_both_signs():
    model = small(downsample="binary")
    transitions = [layer for layer in layers_of(model, larq.layers.QuantConv2D) if layer.name.startswith("transition")]
    assert [layer.name for layer in transitions] == [f"transition{i}_conv" for i in (1, 2, 3)]
    assert {layer.kernel_size for layer in transitions} == {(1, 1)}
    assert [layer.name for layer in layers_of(model, keras.layers.ReLU)] == ["stem_relu", "final_relu"]


def test_the_blur_is_a_fixed_low_pass():
    model = common("quicknet_small", "el")
    for i in (1, 2, 3):
        blur = model.get_layer(f"transition{i}_blur")
        assert not blur.trainable_weights
        kernel = blur.depthwise_kernel.numpy()
        expected = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
        for channel in range(kernel.shape[2]):
            np.testing.assert_array_equal(kernel[:, :, channel, 0], expected)


def test_a_transition_computes_what_its_definition_says():
    """On a ramp, inside the borders: the maximum of two by two, then a mean weighted 1, 2, 1 around every second position."""
    model = common("quicknet_small", "binary")
    ramp = np.broadcast_to(np.arange(16.0, dtype=np.float32)[None, None, :, None], (1, 16, 16, 4))
    x = model.get_layer("transition1_relu")(ramp - 8)
    y = model.get_layer("transition1_blur")(model.get_layer("transition1_pool")(x)).numpy()
    assert y.shape == (1, 8, 8, 4)
    maximum = np.maximum(np.arange(16) - 8, 0)[1:]
    padded = np.pad(maximum, 1)
    blurred = (padded[:-2] + 2 * padded[1:-1] + padded[2:])[::2] / 4
    np.testing.assert_allclose(y[0, 1:-1, :, 0], np.tile(blurred, (6, 1)), rtol=1e-6)


# --- Saved, converted -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_saved_models_load_alike(tmp_path: Path, suffix: str):
    model = small()
    model.compile()
    model.save(tmp_path / f"model{suffix}")
    loaded = el_larq.load_model(tmp_path / f"model{suffix}")
    x = np.random.default_rng(0).standard_normal((2, 64, 64, 3)).astype(np.float32)
    np.testing.assert_array_equal(loaded(x, training=False), model(x, training=False))
    blur: Any = loaded.get_layer("transition1_blur")
    assert not blur.trainable_weights


@pytest.mark.slow
@pytest.mark.parametrize("downsample", ["real", "binary"])
def test_every_binary_convolution_becomes_one_of_lces(tmp_path: Path, downsample: str):
    keras.utils.set_random_seed(0)
    model = small(downsample=downsample)
    model.compile()
    model.save(tmp_path / "model.keras")
    job = el_larq.convert(tmp_path / "model.keras", tmp_path / "model.tflite", options=Options(verify_images=8))
    details = {entry.step: entry.details for entry in job.report}
    convolutions = 16 if downsample == "real" else 19
    assert details["audit"]["binary"] == details["audit"]["meant_binary"] == convolutions
    rows = [row for row in details["audit"]["convolutions"] if row["kernel_bits"] == 1]
    assert {row["layer"] for row in rows} == {layer.name for layer in layers_of(model, larq.layers.QuantConv2D)}
    assert sum(row["macs"] for row in rows) == count(model).bops
    assert details["verify"]["failures"] == ()


# --- What is refused ------------------------------------------------------------------------------------------------------


def test_unknown_stems_and_downsamples_offer_the_nearest():
    with pytest.raises(UsageError, match="unknown stem 'quiknet'; did you mean quicknet"):
        small(stem="quiknet")
    with pytest.raises(UsageError, match="unknown downsample 'bin'; did you mean binary"):
        small(downsample="bin")


def test_an_image_too_small_for_the_stem_is_refused():
    with pytest.raises(UsageError, match="use --stem cifar"):
        small(input_shape=(3, 8, 1), stem="quicknet")
