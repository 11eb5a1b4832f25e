"""LSQ: values and gradients against the paper's equations in NumPy, first steps, and trainings with learned steps."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from conftest import BATCH, few_digits, lines
from watched import kill_at

from el_larq import card
from el_larq.compression.best_steps import best_steps
from el_larq.converters.job import Options
from el_larq.converters.pipeline import convert
from el_larq.data.in_memory import InMemory
from el_larq.errors import UsageError
from el_larq.evaluation.evaluate import evaluate
from el_larq.training import training_state
from el_larq.training.average import WeightAverage
from el_larq.training.int8_aware import Simulation
from el_larq.training.learned_steps import LearnedKernel, LearnedStep, round_learned, with_steps
from el_larq.training.recipe import Recipe
from el_larq.training.train import Trained, resume, train
from el_larq.training.training_plan import make_plan

RECIPE = Recipe("lsq", "", epochs=3, batch_size=BATCH, learning_rate=1e-2, qat_bits=4)

NETWORK = """
import tf_keras as keras
layers = keras.layers

def build(input_shape, num_classes):
    image = keras.Input(input_shape, name="image")
    x = layers.Conv2D(8, 3, 2, "same", use_bias=False, name="stem")(image)
    x = layers.ReLU(name="stem_relu")(layers.BatchNormalization(momentum=0.9, name="stem_norm")(x))
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(momentum=0.9, name="norm")(x))
    x = layers.Conv2D(8, 1, name="conv")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(num_classes, name="logits")(x), name="real")
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("network") / "real.py"
    path.write_text(NETWORK)
    return f"{path}:build"


@pytest.fixture(scope="module")
def trained(real: str, start: Any, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return start(tmp_path_factory.mktemp("lsq") / "run", network=real, recipe=RECIPE)


def reference(v: np.ndarray, s: float, q_n: int, q_p: int, upstream: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Equations 1 to 3 and section 2.2 of the paper, one value at a time: v-hat, dL/dv, and dL/ds with its scale g."""
    v_hat, dv, ds = np.zeros_like(v), np.zeros_like(v), 0.0
    for index, value in np.ndenumerate(v):
        ratio = value / s
        v_hat[index] = np.round(np.clip(ratio, -q_n, q_p)) * s
        if ratio <= -q_n:
            d = -q_n
        elif ratio >= q_p:
            d = q_p
        else:
            d = -ratio + np.round(ratio)
            dv[index] = upstream[index]
        ds += upstream[index] * d
    return v_hat, dv, ds / np.sqrt(n * q_p)


@pytest.mark.parametrize(("q_n", "q_p"), [(8, 7), (0, 15), (0, 63), (128, 127)])
def test_values_and_gradients_of_a_tensor_are_those_of_the_paper(q_n: int, q_p: int) -> None:
    random = np.random.default_rng(0)
    v, upstream = random.normal(0, 3, (2, 5, 5, 4)), random.normal(size=(2, 5, 5, 4))
    s = 3.0 / q_p
    expected, dv, ds = reference(v, s, q_n, q_p, upstream, 100)
    x, log_s = tf.constant(v, tf.float32), tf.Variable(tf.constant(np.log(s), tf.float32))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = round_learned(x, log_s, tf.constant(-float(q_n)), tf.constant(float(q_p)), 100)
        loss = tf.reduce_sum(y * upstream.astype(np.float32))
    found: Any = tape.gradient(loss, [x, log_s])
    np.testing.assert_allclose(y, expected, atol=1e-5)
    np.testing.assert_allclose(found[0], dv, atol=1e-6)
    np.testing.assert_allclose(found[1], s * ds, rtol=1e-4)  # of log s


def test_each_channel_of_a_kernel_has_its_own_gradient() -> None:
    random = np.random.default_rng(1)
    w, upstream = random.normal(0, 0.3, (3, 3, 4, 5)).astype(np.float32), random.normal(size=(3, 3, 4, 5)).astype(np.float32)
    kernel = tf.Variable(tf.constant(w))
    learned = LearnedKernel(kernel, [3], 4)
    steps = np.array([0.02, 0.05, 0.1, 0.2, 0.4], np.float32)
    learned.variables[0].assign(np.log(steps).reshape(1, 1, 1, 5))
    with tf.GradientTape() as tape:
        tape.watch(learned.trained[0])
        y = learned.round(kernel)
        loss = tf.reduce_sum(y * upstream)
    found: Any = tape.gradient(loss, [kernel, learned.trained[0]])
    for channel in range(5):
        expected, dw, ds = reference(w[..., channel], float(steps[channel]), 7, 7, upstream[..., channel], 36)
        np.testing.assert_allclose(y[..., channel], expected, atol=1e-6)
        np.testing.assert_allclose(found[0][..., channel], dw, atol=1e-6)
        np.testing.assert_allclose(found[1][0, 0, 0, channel], steps[channel] * ds, rtol=1e-3)


def test_the_first_step_has_the_least_error() -> None:
    values = np.random.default_rng(2).normal(size=(4000, 2)).astype(np.float32) * [1, 10]
    steps = best_steps(values.astype(np.float32), (0,), -8, 7)

    def error(channel: int, step: float) -> float:
        v = values[:, channel]
        return float(((step * np.clip(np.round(v / step), -8, 7) - v) ** 2).sum())

    for channel in range(2):
        step = float(steps[0, channel])
        assert error(channel, step) <= min(error(channel, step / 1.15), error(channel, step * 1.15))
    assert steps[0, 1] == pytest.approx(10 * steps[0, 0], rel=0.1)
    assert best_steps(np.zeros((5, 1), np.float32), (0,), -7, 7) == 1


def test_a_tensor_without_negative_values_has_no_negative_integers() -> None:
    positive, both = LearnedStep(4), LearnedStep(4)
    values = np.random.default_rng(3).uniform(0, 6, (10, 8)).astype(np.float32)
    for site, seen in ((positive, values), (both, values - 3)):
        site.start()
        site.calibrate(seen)
        site.finish()
        assert len(np.unique(site.round(tf.constant(seen)))) in (15, 16)  # -8 may be unused
        assert np.abs(site.round(tf.constant(seen)) - seen).max() < 0.6
    assert float(np.min(positive.round(tf.constant(-values)))) == 0


def test_rare_negative_values_are_negative_integers() -> None:
    values = np.random.default_rng(3).uniform(0, 6, (100, 1000)).astype(np.float32)
    values[3, 77] = -5
    site = LearnedStep(4)
    site.start()
    site.calibrate(values)
    site.finish()
    assert float(site.round(tf.constant(values))[3, 77]) == pytest.approx(-5, abs=0.6)


def test_a_training_step_of_its_own_is_not_left_out() -> None:
    class Own(keras.Model):
        def train_step(self, data: Any) -> Any:
            return super().train_step(data)

    image = keras.Input((4,))
    network = Own(image, keras.layers.Dense(2)(image), name="own")
    with pytest.raises(UsageError, match="own has a training step of its own, which learned steps would leave out"):
        with_steps(network, [])
    added = keras.Model(image, keras.layers.Dense(2)(image), name="added")
    added.add_loss(tf.reduce_mean(added.outputs[0]))
    with pytest.raises(UsageError, match=r"added has losses that were added to it after it was made \(add_loss\)"):
        with_steps(added, [])


def test_inputs_and_kernels_are_rounded_and_the_ends_have_8_bits(real: str) -> None:
    scope: dict[str, Any] = {}
    exec(NETWORK, scope)
    network = scope["build"]((16, 16, 1), 10)
    images = np.random.default_rng(4).normal(size=(8, 16, 16, 1)).astype(np.float32)
    simulation = Simulation(network, 4, "learned")
    inner = keras.Model(network.inputs, [network.get_layer(name).output for name in ("stem_relu", "depthwise", "pool")])
    with simulation:
        simulation.calibrate(network, [(images,)])
        relu, depthwise, pool = inner(images)
    assert len(np.unique(relu)) > 1000  # what a convolution reads is rounded, not what an addition may read
    kernel = network.get_layer("depthwise").depthwise_kernel.numpy()
    steps = best_steps(kernel, (0, 1), -7, 7)
    x = simulation._inputs[network.get_layer("depthwise")].round(relu)
    assert len(np.unique(x)) <= 16
    y = tf.nn.depthwise_conv2d(x, steps * np.clip(np.round(kernel / steps), -7, 7), (1, 1, 1, 1), "SAME")
    np.testing.assert_allclose(depthwise, y, atol=1e-5)
    assert 16 < len(np.unique(simulation._inputs[network.get_layer("logits")].round(pool))) <= 256
    assert "simulated with learned steps: kernels and inputs of 4 layers" in simulation.describe()


def test_frozen_layers_keep_their_weights() -> None:
    scope: dict[str, Any] = {}
    exec(NETWORK, scope)
    network = scope["build"]((16, 16, 1), 10)
    network.get_layer("conv").trainable = False
    before = {name: network.get_layer(name).get_weights()[0] for name in ("conv", "logits")}
    simulation = Simulation(network, 4, "learned")
    with simulation:
        simulation.calibrate(network, [(np.ones((2, 16, 16, 1), np.float32),)])
        simulation.store_kernels()
    assert np.array_equal(network.get_layer("conv").get_weights()[0], before["conv"])
    assert not np.array_equal(network.get_layer("logits").get_weights()[0], before["logits"])


@pytest.mark.parametrize(("bits", "is_rounded"), [(4, True), (8, False)])
def test_kernels_of_few_bits_are_stored_rounded_with_averaged_ranges_too(bits: int, is_rounded: bool) -> None:
    """A file of 4 bits finds their steps in them. Of 8 bits, a file rounds them in the same way."""
    image = keras.Input((4, 4, 2))
    inner = keras.layers.Conv2D(3, 3, padding="same")
    x = keras.layers.Flatten()(inner(keras.layers.Conv2D(4, 3)(image)))
    network = keras.Model(image, keras.layers.Dense(2)(x))
    kernel = inner.get_weights()[0].reshape(-1, 3)
    with (simulation := Simulation(network, bits, "averaged")):
        simulation.calibrate(network, [(np.ones((2, 4, 4, 2), np.float32),)])
        simulation.store_kernels()
    steps = np.abs(kernel).max(0) / 7
    wanted = np.round(kernel / steps) * steps if is_rounded else kernel
    np.testing.assert_allclose(inner.get_weights()[0].reshape(-1, 3), wanted, rtol=1e-5, atol=1e-7)


def test_a_step_of_the_optimizer_changes_all_steps() -> None:
    image = keras.Input((4, 4, 2))
    x = keras.layers.Flatten()(keras.layers.Conv2D(3, 3, name="conv")(image))
    network = keras.Model(image, keras.layers.Dense(2)(x))
    simulation = Simulation(network, 4, "learned")
    images = np.random.default_rng(5).normal(size=(8, 4, 4, 2)).astype(np.float32)
    with simulation:
        simulation.calibrate(network, [(images,)])
        model = with_steps(network, simulation.trained)
        model.compile("adam", "mse", run_eagerly=True)
        before = [variable.numpy() for variable in simulation.trained]
        model.train_on_batch(images, np.ones((8, 2)))
    assert len(before) == 3
    for old, variable in zip(before, simulation.trained, strict=True):
        assert np.all(old != variable.numpy())
    assert len(model.weights) == 4


def test_the_steps_are_trained_and_the_saved_model_is_plain(trained: Trained, tmp_path: Path) -> None:
    """Its kernels are those that were computed with, so a file has the same integers or rounds once more, finely."""
    assert type(trained.model) is type(keras.Model(trained.model.inputs, trained.model.outputs))
    loaded = keras.models.load_model(trained.h5)
    assert [v.shape for v in loaded.variables] == [v.shape for v in trained.model.variables]
    kernel = loaded.get_layer("conv").get_weights()[0].reshape(8, 8)
    assert max(len(np.unique(channel)) for channel in kernel.T) <= 15
    with h5py.File(trained.folder / "checkpoints/last.weights.h5") as file:
        group: Any = file["el_larq_beside"]
        assert len(group) == 4 + 2 * 3  # steps of kernels; steps and lowest integers of inputs
    result = json.loads((trained.folder / "result.json").read_text())
    assert 0 < result["simulated_int4_accuracy"] <= 1
    assert card.read(trained.h5)["trained_with"]["qat_bits"] == 4
    (note,) = card.notes_of_bits(card.read(trained.h5))
    assert note.startswith(f"trained with 4 bits simulated, with an accuracy of {result['simulated_int4_accuracy']:.2%}")
    assert not card.notes_of_bits({"trained_with": {"qat_bits": 8}})
    assert note in convert(trained.folder, options=Options(verify_images=8)).report[0].summary
    assert note in evaluate(trained.h5, "digits", out=tmp_path / "evaluation").notes


@pytest.mark.parametrize("step", [5, pytest.param(11, marks=pytest.mark.slow)])
def test_learned_steps_resume_exactly(step: int, trained: Trained, real: str, start: Any, digits: InMemory, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "run", network=real, recipe=RECIPE, checkpoint_steps=2, dataset=kill_at(digits, step, stream=2))
    resumed = resume(tmp_path / "run", dataset=digits)
    for one, other in zip(resumed.model.get_weights(), trained.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert lines(resumed.folder) == lines(trained.folder)
    found, expected = (json.loads((run.folder / "result.json").read_text()) for run in (resumed, trained))
    assert {**found, "seconds": 0} == {**expected, "seconds": 0}


def test_the_best_epoch_has_its_own_steps(trained: Trained, real: str, start: Any, tmp_path: Path) -> None:
    """Validation in the kept epoch is what the steps in its file give: the test split is the validation split here."""
    data = few_digits()
    data = replace(data, test=data.validation)
    recipe = replace(RECIPE, keep="best", epochs=3, learning_rate=0.05)
    found = start(tmp_path / "run", network=real, recipe=recipe, dataset=data)
    result = json.loads((found.folder / "result.json").read_text())
    assert result["simulated_int4_accuracy"] == pytest.approx(result["validation_accuracy"])


class _Recorded(WeightAverage):
    """Keeps what it averages: the weights and steps behind each step."""

    seen: ClassVar[list[list[np.ndarray]]] = []

    def update(self, step: int) -> None:
        super().update(step)
        self.seen.append([variable.numpy() for variable in self._weights])


@pytest.mark.parametrize("ranges", ["learned", pytest.param("averaged", marks=pytest.mark.slow)])
def test_the_average_of_weights_and_steps_is_tested_and_saved(
    ranges: str, real: str, start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPE, epochs=2, qat_bits=8, qat_ranges=ranges, average=0.8)
    monkeypatch.setattr(training_state, "WeightAverage", _Recorded)
    monkeypatch.setattr(_Recorded, "seen", [])
    found = start(tmp_path / "run", network=real, recipe=recipe)
    averages = [np.zeros_like(value) for value in _Recorded.seen[0]]
    for step, values in enumerate(_Recorded.seen):
        decay = min(0.8, step / (step + 9))
        averages = [decay * average + (1 - decay) * value for average, value in zip(averages, values, strict=True)]
    weights = found.model.trainable_variables
    kernels = [number for number, variable in enumerate(weights) if "kernel" in variable.name]
    learned = averages[len(weights) :]
    assert (len(learned) > len(kernels)) if ranges == "learned" else not learned
    for number, log_step in zip(kernels, learned, strict=False):
        steps = np.exp(log_step)
        averages[number] = steps * np.clip(np.round(averages[number] / steps), -127, 127)
    for variable, wanted in zip(weights, averages, strict=False):
        assert np.mean(np.isclose(variable, wanted, atol=1e-5)) > 0.98  # but for ties of roundings
    if learned:
        with h5py.File(found.folder / "checkpoints/last.weights.h5") as file:
            group: Any = file["el_larq_beside"]
            beside = [value[()] for value in group.values()]
        for wanted in learned:
            assert any(one.shape == wanted.shape and np.allclose(one, wanted, atol=1e-5) for one in beside)
    assert card.read(found.h5)["trained_with"]["average"] == 0.8
    assert 0 < json.loads((found.folder / "result.json").read_text())["simulated_int8_accuracy"] <= 1
    assert convert(found.folder, options=Options(verify_images=8)).report[-1].step == "write"


@pytest.mark.slow
@pytest.mark.parametrize("ranges", ["learned", "averaged"])
def test_an_average_with_simulated_int8_resumes_exactly(
    ranges: str, real: str, start: Any, digits: InMemory, tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {"network": real, "recipe": replace(RECIPE, qat_bits=8, qat_ranges=ranges, average=0.8)}
    whole = start(tmp_path / "whole", **arguments)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "run", checkpoint_steps=2, dataset=kill_at(digits, 11, stream=2), **arguments)
    resumed = resume(tmp_path / "run", dataset=digits)
    for one, other in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert lines(resumed.folder) == lines(whole.folder)


def test_averaged_ranges_have_few_bits_too(real: str, digits: InMemory, tmp_path: Path) -> None:
    notes: list[str] = []
    recipe = replace(RECIPE, epochs=1, qat_bits=6, qat_ranges="averaged")
    found = train(real, dataset=digits, recipe=recipe, out=tmp_path / "run", notify=notes.append)
    assert "simulated_int6_accuracy" in json.loads((found.folder / "result.json").read_text())
    assert any("6 bits are simulated with averaged ranges" in line for line in notes)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"qat_bits": 4, "qat_ranges": "best"}, "unknown qat_ranges"),
        ({"qat_ranges": "learned"}, "qat_ranges learned needs qat_bits"),
        ({"network": "resnet18", "recipe": "two-stage", "qat_bits": 4}, "qat_bits 4 is for networks without binary layers"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], message: str, one_line: Callable[[BaseException], str]) -> None:
    network = settings.pop("network", "mobilenet_v2")
    with pytest.raises(UsageError) as error:
        make_plan(network, dataset="digits", **settings)
    assert message in one_line(error.value)


@pytest.mark.parametrize("changes", [{"qat_bits": 4}, {"qat_bits": 8, "qat_ranges": "learned"}])
def test_binary_networks_have_averaged_ranges_of_8_bits(changes: dict[str, Any], start: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is for networks without binary layers, and tiny has binary"):
        start(tmp_path / "run", recipe=replace(RECIPE, **changes))
    assert not (tmp_path / "run").exists()
