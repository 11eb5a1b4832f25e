"""Pruning: masks against definitions in NumPy, the schedule, exact resume, zeros in the .tflite, and what is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras as keras
from conftest import BATCH, STEPS, lines
from watched import kill_at

from el_larq.converters.job import Options
from el_larq.converters.pipeline import convert
from el_larq.converters.unused_channels import without_unused_channels
from el_larq.data.in_memory import InMemory
from el_larq.errors import UsageError
from el_larq.inspection.tflite_graph import inspect_graph
from el_larq.tflite.reader import parse
from el_larq.training.pruning import Pruning, largest, two_of_four
from el_larq.training.recipe import Recipe
from el_larq.training.recipes import RECIPES
from el_larq.training.train import Trained, resume, train
from el_larq.training.training_plan import make_plan

RECIPE = Recipe("prune", "", epochs=3, batch_size=BATCH, learning_rate=1e-2, prune="magnitude", sparsity=0.4)

NETWORK = """
import tf_keras as keras
layers = keras.layers

def build(input_shape, num_classes):
    image = keras.Input(input_shape, name="image")
    x = layers.Conv2D(8, 3, 2, "same", use_bias=False, name="stem")(image)
    x = layers.ReLU(name="stem_relu")(layers.BatchNormalization(momentum=0.9, name="stem_norm")(x))
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.Conv2D(16, 1, name="conv")(x)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(momentum=0.9, name="norm")(x))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(num_classes, name="logits")(x), name="real")
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("network") / "real.py"
    path.write_text(NETWORK)
    return f"{path}:build"


@pytest.fixture(scope="module")
def pruned(real: str, start: Any, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return start(tmp_path_factory.mktemp("pruned") / "run", network=real, recipe=RECIPE)


def _network(width: int = 8) -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(width, 3, name="first")(image)
    x = keras.layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = keras.layers.Conv2D(4, 3, name="conv")(x)
    return keras.Model(image, keras.layers.Dense(5, name="dense")(keras.layers.GlobalAveragePooling2D()(x)), name="own")


def _layer(model: keras.Model | None, name: str) -> Any:
    assert model is not None
    return model.get_layer(name)


def _zeros(model: keras.Model | None, name: str) -> np.ndarray:
    return _layer(model, name).get_weights()[0] == 0


def test_the_smallest_weights_are_masked() -> None:
    weights = np.random.default_rng(0).normal(size=(3, 3, 4, 5))
    mask = largest(weights, 0.3)
    assert (~mask).sum() == round(0.3 * 180)
    assert np.abs(weights[~mask]).max() < np.abs(weights[mask]).min()


def test_two_of_each_four_inputs_remain() -> None:
    kernel = np.random.default_rng(1).normal(size=(3, 3, 8, 5))
    mask = two_of_four(kernel)
    for position in np.ndindex(3, 3, 2, 5):
        y, x, group, output = position
        four = slice(4 * group, 4 * group + 4)
        assert sorted(np.flatnonzero(mask[y, x, four, output])) == sorted(np.argsort(np.abs(kernel[y, x, four, output]))[2:])


def test_the_sparsity_follows_the_polynomial() -> None:
    pruning = Pruning(_network(), replace(RECIPE, prune_from=0.1, prune_to=0.5), 100)
    for step, share in ((0, 0), (9, 0), (10, 0), (20, 1 - 0.75**3), (30, 1 - 0.5**3), (50, 1), (99, 1)):
        assert pruning.sparsity_at(step) == pytest.approx(0.4 * share)


@pytest.mark.parametrize(("kind", "share"), [("magnitude", 0.4), ("layer-magnitude", 0.4), ("2:4", 0.5)])
def test_masks_are_of_all_layers_or_of_each(kind: str, share: float) -> None:
    network = _network()
    pruning = Pruning(network, replace(RECIPE, prune=kind, sparsity=0.4 if share == 0.4 else 0.0), 100)
    conv, dense = _layer(network, "conv"), _layer(network, "dense")
    dense.set_weights([10 * w for w in dense.get_weights()])
    for step in range(51):
        pruning.before_step(step)
        for layer in (conv, dense):
            layer.set_weights([w + 0.01 for w in layer.get_weights()])
        pruning.after_step()
    masks = [mask.numpy() for mask in pruning.variables]
    pruning.before_step(10)  # what a longer training may do: its share at a step is lower
    assert all(np.array_equal(old, mask.numpy()) for old, mask in zip(masks, pruning.variables, strict=True))
    assert not _zeros(network, "first").any()
    assert not _zeros(network, "depthwise").any()
    shares = {name: _zeros(network, name).mean() for name in ("conv", "dense")}
    assert pruning.sparsity() == pytest.approx(share, abs=0.01)
    if kind == "magnitude":
        assert shares["dense"] < 0.1 < share < shares["conv"]
    else:
        assert shares == pytest.approx({"conv": share, "dense": share}, abs=0.03)


def test_a_training_ends_with_the_sparsity(pruned: Trained) -> None:
    kernels = [_layer(pruned.model, name).get_weights()[0] for name in ("conv", "logits")]
    zeros = sum((kernel == 0).sum() for kernel in kernels)
    assert zeros == round(0.4 * sum(kernel.size for kernel in kernels))
    result = json.loads((pruned.folder / "result.json").read_text())
    assert result["sparsity"] == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize("step", [3, pytest.param(9, marks=pytest.mark.slow)])
def test_masks_resume_exactly(step: int, pruned: Trained, real: str, start: Any, digits: InMemory, tmp_path: Path) -> None:
    """While the sparsity rises, until step 6 of 12, and after."""
    assert STEPS == 12
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "run", network=real, recipe=RECIPE, checkpoint_steps=1, dataset=kill_at(digits, step))
    resumed = resume(tmp_path / "run", dataset=digits)
    for one, other in zip(resumed.model.get_weights(), pruned.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert lines(resumed.folder) == lines(pruned.folder)


def test_masks_are_kept_while_int8_is_simulated_and_in_the_file(
    pruned: Trained, real: str, digits: InMemory, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, epochs=1, prune="keep", sparsity=0.0, qat_bits=8)
    found = train(real, dataset=digits, recipe=recipe, init_from=pruned.folder, out=tmp_path / "run")
    for name in ("conv", "logits"):
        assert not np.any(_zeros(pruned.model, name) & ~_zeros(found.model, name))
        assert not np.array_equal(_layer(found.model, name).get_weights()[0], _layer(pruned.model, name).get_weights()[0])
    sparsity = np.mean(np.concatenate([_zeros(found.model, name).ravel() for name in ("conv", "logits")]))
    assert json.loads((found.folder / "result.json").read_text())["sparsity"] == pytest.approx(sparsity, abs=1e-5)
    job = convert(found.folder, options=Options(int8="full", calibrate="digits", calibration_images=32, verify_images=16))
    assert job.tflite is not None
    kernels = [o.inputs[1].array() for o in parse(job.tflite).operators if o.name in ("CONV_2D", "FULLY_CONNECTED") and o.inputs[1]]
    there = {kernel.size: kernel for kernel in kernels}
    found_there = {layer.weights[8]: layer.zeros for layer in inspect_graph(parse(job.tflite), "").layers if layer.weights.get(8)}
    for name in ("conv", "logits"):
        masked = _zeros(pruned.model, name)
        assert (there[masked.size] == 0).sum() >= masked.sum()
        assert found_there[masked.size] == pytest.approx((there[masked.size] == 0).mean(), abs=1e-4)


def test_the_recipe_prunes_then_quantizes() -> None:
    stages = make_plan(
        "mobilenet_v2", dataset="digits", recipe="prune-quantize", sparsity=0.5, prune="layer-magnitude"
    ).recipe.stages
    assert [(stage.prune, stage.sparsity, stage.qat_bits) for stage in stages] == [
        ("layer-magnitude", 0.5, 0),
        ("keep", 0.0, 0),
        ("keep", 0.0, 8),
    ]
    assert [stage.start for stage in stages] == [None, "prune", "fine-tune"]
    two_of_four = make_plan("mobilenet_v2", dataset="digits", recipe="prune-quantize", prune="2:4").recipe.stages
    assert [(stage.prune, stage.sparsity) for stage in two_of_four] == [("2:4", 0.0), ("keep", 0.0), ("keep", 0.0)]
    assert make_plan("mobilenet_v2", dataset="digits", recipe="prune-quantize").recipe.stages == RECIPES["prune-quantize"].stages


@pytest.mark.slow
def test_the_stages_keep_the_masks(real: str, digits: InMemory, tmp_path: Path) -> None:
    found = train(real, dataset=digits, recipe="prune-quantize", epochs=3, batch_size=BATCH, out=tmp_path / "run")
    first = keras.models.load_model(tmp_path / "run/1-prune/model.h5")
    zeros = [_zeros(first, name) for name in ("conv", "logits")]
    assert sum(part.sum() for part in zeros) == round(0.3 * sum(part.size for part in zeros))
    for name, part in zip(("conv", "logits"), zeros, strict=True):
        assert np.all(_zeros(found.model, name)[part])


def test_a_pruned_channel_is_0_with_all_that_belongs_to_it() -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(10, 1, name="expand")(image)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(beta_initializer="ones", name="norm")(x))
    x = keras.layers.DepthwiseConv2D(3, bias_initializer="ones", name="depthwise")(x)
    x = keras.layers.Conv2D(4, 1, bias_initializer="ones", name="project")(x)
    network = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    kernel = _layer(network, "expand").get_weights()[0]
    pruning = Pruning(network, replace(RECIPE, prune="channels", sparsity=0.5), 100)
    for step in range(51):
        pruning.before_step(step)
    for layer in network.layers:
        layer.set_weights([w + 1e-3 for w in layer.get_weights()])
    pruning.after_step()
    gone = np.sort(np.argsort(np.abs(kernel).sum((0, 1, 2)))[:5])
    for name, number in (("expand", 2), ("norm", 2), ("depthwise", 2)):
        for array in _layer(network, name).get_weights()[:number]:
            assert list(np.flatnonzero(~np.any(array.reshape(-1, 10), axis=0))) == list(gone)
    assert all(np.all(array) for array in _layer(network, "project").get_weights())
    assert pruning.sparsity() == 0.5

    again = Pruning(network, replace(RECIPE, prune="keep", sparsity=0.0), 100)
    again.before_step(0)
    for layer in network.layers:
        layer.set_weights([w + 1 for w in layer.get_weights()])
    again.after_step()
    beta = _layer(network, "norm").get_weights()[1]
    assert list(np.flatnonzero(beta == 0)) == list(gone)

    smaller, line = without_unused_channels(network)
    assert line.startswith("5 channels left out that are always 0: ")
    assert _layer(smaller, "expand").get_weights()[0].shape == (1, 1, 3, 5)
    assert _layer(smaller, "project").get_weights()[0].shape == (1, 1, 5, 4)
    images = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(smaller(images), network(images), rtol=1e-5)
    assert without_unused_channels(smaller) == (smaller, "")


def test_a_file_has_no_pruned_channels(real: str, digits: InMemory, tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=1, prune="channels", sparsity=0.5)
    found = train(real, dataset=digits, recipe=recipe, out=tmp_path / "run")
    job = convert(found.folder, options=Options(verify_images=16))
    assert job.tflite is not None
    shapes = [o.inputs[1].shape for o in parse(job.tflite).operators if o.inputs[1:] and o.inputs[1] is not None]
    assert (4, 3, 3, 1) in map(tuple, shapes)  # the stem had 8
    assert (8, 1, 1, 4) in map(tuple, shapes)  # the convolution had 16 and 8
    assert "12 channels left out that are always 0" in job.report[0].summary


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prune": "magnitude", "sparsity": 1.5}, "sparsity must be above 0 and below 1; got 1.5"),
        ({"prune": "magnitude"}, "prune magnitude needs a sparsity, such as 0.3"),
        ({"sparsity": 0.3}, "sparsity needs prune, such as magnitude"),
        ({"prune": "2:4", "sparsity": 0.3}, "prune 2:4 has the sparsity 0.5"),
        ({"prune": "keep", "sparsity": 0.3}, "prune keep has the sparsity of the start"),
        ({"prune": "random", "sparsity": 0.3}, "unknown prune 'random'"),
        ({"prune": "2:4", "average": 0.9}, "an average of weights is not 0 where they were pruned"),
        ({"prune": "2:4", "strategy": "mirrored"}, "prune masks weights on one replica only"),
        ({"prune": "2:4", "recipe": "two-stage"}, "no stage of two-stage prunes"),
        ({"prune": "none", "recipe": "prune-quantize"}, "stages of prune-quantize prune; choose another way, such as magnitude"),
        ({"prune": "magnitude", "sparsity": 0.3, "keep": "best"}, "keep best may choose an epoch before the sparsity is reached"),
        ({"prune": "2:4", "method": "el", "network": "resnet18"}, "prune is for networks without binary layers, and method el"),
        ({"recipe": replace(RECIPE, prune_from=0.6)}, "prune_from and prune_to must be fractions of all steps, in this order"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], message: str, one_line: Callable[[BaseException], str]) -> None:
    network = settings.pop("network", "mobilenet_v2")
    with pytest.raises(UsageError) as error:
        make_plan(network, dataset="digits", **settings)
    assert message in one_line(error.value)


def test_networks_that_cannot_be_pruned(start: Any, real: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has the binary layer binary, whose weights are -1 and"):
        start(tmp_path / "run", recipe=RECIPE)
    with pytest.raises(UsageError, match="and conv has 6 input channels"):
        Pruning(_network(6), replace(RECIPE, prune="2:4", sparsity=0.0), 10)
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 1)(keras.layers.Conv2D(4, 3)(image))
    x = keras.layers.Conv2D(4, 1)(keras.layers.Add()([x, keras.layers.Conv2D(4, 3)(image)]))
    network = keras.Model(image, keras.layers.Add()([x, x]), name="sum")
    Pruning(network, replace(RECIPE, prune="channels"), 10)
    with pytest.raises(UsageError, match="sum has no layer whose channels only one other layer reads"):
        Pruning(keras.Model(image, keras.layers.Conv2D(4, 1)(image), name="sum"), replace(RECIPE, prune="channels"), 10)
    with pytest.raises(UsageError, match="prune keep keeps weights at 0 that are 0 at the start, and the network has none"):
        start(tmp_path / "run", network=real, recipe=replace(RECIPE, prune="keep", sparsity=0.0))
    assert not (tmp_path / "run").exists()


def test_the_command_refuses_in_one_line(el_larq_here: Callable[..., Any], tmp_path: Path) -> None:
    done = el_larq_here(
        "train", "mobilenet_v2", "--dataset", "digits", "--prune", "magnitude", "--sparsity", 1.5, "-o", tmp_path / "run"
    )
    assert done.returncode != 0
    assert done.stderr.strip().endswith("sparsity must be above 0 and below 1; got 1.5")
    assert not (tmp_path / "run").exists()
