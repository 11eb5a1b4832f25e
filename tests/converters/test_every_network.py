"""Each network with each method from training to a verified .tflite.

`make test` has each method once and each kind of block at least once. `make test-slow` has each kind of block with each method, in
networks of a few blocks; binary downsample convolutions; and a sample of all pairs at full depth, a different one each day.
EL_LARQ_SAMPLE repeats a day's sample: EL_LARQ_SAMPLE=2026-11-26 make test-slow.
"""

import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import binary_models as models
import numpy as np
import pytest
import tf_keras as keras
from shortened import shorten

import el_larq
from el_larq.converters.job import Options
from el_larq.counting import counts
from el_larq.keras_internals import leaf_layers
from el_larq.methods.method_registry import METHODS
from el_larq.models.network_registry import NETWORKS, fits
from el_larq.training.distillation import blocks
from el_larq.training.frozen_layers import find_head

SIZE = 16
CLASSES = 10
WIDTH, SHORT_WIDTH = 0.125, 0.25
IMAGES = 32

PAIRS = [(network, method) for network in NETWORKS for method in METHODS if fits(NETWORKS[network], METHODS[method])]

KINDS = (
    "resnet18",  # basic blocks
    "resnet26",  # bottleneck blocks
    "reactnet_resnet18",  # blocks of a single convolution
    "quicknet_small",
    "mobilenet",
    "reactnet_a",  # binary, reactnet_b grouped and reactnet_c real-valued convolutions that double the channels
    "reactnet_b",
    "reactnet_c",
    "densenet28",
    "densenet121",  # dense layers with a bottleneck
    "googlenet",
    "vgg_small",
    "mobilenet_v2",  # real-valued
)
"""A network for each kind of block; the others only repeat theirs more often."""

WITH_EL, WITH_ANY = 2, 2
"""How many networks with `el`, and how many other pairs, are tested at full depth on one day."""


def _pair_off() -> list[tuple[str, str]]:
    """Each method with the kind of block that is used least so far; methods that fit the fewest kinds choose first."""
    fitting = {method: [kind for kind in KINDS if (kind, method) in PAIRS] for method in METHODS}
    used = Counter[str]()
    pairs = []
    for method in sorted(METHODS, key=lambda method: len(fitting[method])):
        kind = min(fitting[method], key=used.__getitem__)
        used[kind] += 1
        pairs.append((kind, method))
    return pairs


FAST = _pair_off()
BY_KIND = [(network, method) for network, method in PAIRS if network in KINDS and (network, method) not in FAST]
_of_the_day = random.Random(os.environ["EL_LARQ_SAMPLE"])
_with_el = [(network, "el") for network in NETWORKS if not NETWORKS[network].real_valued]
_others = [pair for pair in PAIRS if pair not in _with_el]
SAMPLED = sorted([*_of_the_day.sample(_with_el, WITH_EL), *_of_the_day.sample(_others, WITH_ANY)])


def _train(model: keras.Model) -> None:
    """Three steps on random data, then normalization statistics that no initializer gives."""
    numbers = np.random.default_rng(0)
    x = numbers.standard_normal((48, SIZE, SIZE, 1), np.float32)
    y = numbers.integers(0, CLASSES, 48)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Three steps are not worth tracing a graph for.
    model.compile(keras.optimizers.legacy.Adam(1e-3), loss, run_eagerly=True)
    model.fit(x, y, batch_size=16, epochs=1, verbose=0)  # pyright: ignore[reportArgumentType]
    for layer in leaf_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            layer.gamma.assign(layer.gamma * numbers.uniform(0.8, 1.2, shape))
            layer.beta.assign(layer.beta + numbers.uniform(-0.2, 0.2, shape))
            layer.moving_mean.assign(layer.moving_mean + numbers.uniform(-0.1, 0.1, shape))


def _train_and_convert(folder: Path, network: str, method: str, width: float = WIDTH, **options: Any) -> None:
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    model = el_larq.build(network, method, input_shape=(SIZE, SIZE, 1), num_classes=CLASSES, width=width, **options)
    _check_what_recipes_need(model)
    uncounted = {type(layer).__name__ for layer, *shapes in counts.calls(model) if counts.count_call(layer, *shapes) is None}
    assert not uncounted, f"count {uncounted} in el_larq/counting/layer_macs.py, or list them in _WITHOUT_MACS"
    _train(model)
    path = models.save(keras.Model(model.inputs, model.outputs, name=model.name), folder / "model.h5")
    allow = NETWORKS[network].allow
    job = el_larq.convert(path, folder / "model.tflite", options=Options(verify_images=IMAGES, allow=allow))
    assert job.loaded is not None
    x = models.images(2, SIZE)
    np.testing.assert_array_equal(job.loaded(x, training=False), model(x, training=False))
    details = {entry.step: entry.details for entry in job.report}
    binary = [layer for layer in counts.count(model).layers if layer.binary]
    assert bool(binary) == METHODS[method].binary
    # Where the network breaks that rule by nature, binary depthwise convolutions stay real-valued ones; nothing else does.
    depthwise = {layer.name for layer in leaf_layers(model) if isinstance(layer, keras.layers.DepthwiseConv2D)}
    lost = [layer for layer in binary if layer.name in depthwise] if "binary-depthwise" in allow else []
    deployed = [layer for layer in binary if layer not in lost]
    assert {finding["rule"] for finding in details["audit"]["findings"] if finding["allowed"]} == ({*allow} if lost else set())
    rows = [row for row in details["audit"]["convolutions"] if row["kernel_bits"] == 1]
    assert len(rows) == sum(layer.products for layer in deployed)
    assert sum(row["macs"] for row in rows) == sum(layer.macs for layer in deployed)
    assert {row["layer"] for row in rows} == {layer.name for layer in deployed}
    assert details["audit"]["binary"] == len(rows)
    assert details["verify"]["failures"] == ()
    assert details["verify"]["images"] == IMAGES
    assert (folder / "model.tflite").stat().st_size == details["write"]["bytes"]


def _check_what_recipes_need(model: keras.Model) -> None:
    """Attention to a teacher compares blocks by name, and --freeze backbone needs to know the head."""
    found = blocks(model)
    assert found, (
        f"{model.name}: no layer's name begins like stage1_block1_; name the layers so, or extend _BLOCK in distillation.py"
    )
    quantized = [layer.name for layer in leaf_layers(model) if getattr(layer, "input_quantizer", None) is not None]
    outside = [name for name in quantized if not name.startswith((*(f"{block}_" for block in found), "transition"))]
    assert outside == [], "name these layers stageN_blockM_..., or extend _BLOCK in distillation.py"
    find_head(model)  # an error says that the network must end in a chain of single layers


def test_the_fast_pairs_have_every_method_and_every_kind_of_block() -> None:
    assert {method for _network, method in FAST} == set(METHODS)
    assert {network for network, _method in FAST} == set(KINDS)


def test_every_builder_has_a_network_among_the_kinds() -> None:
    missing = {network.builder for network in NETWORKS.values()} - {NETWORKS[name].builder for name in KINDS}
    assert missing == set(), "add a network of each of these builders to KINDS"
    missing = {network.arguments["block"] for network in NETWORKS.values() if "block" in network.arguments}
    missing -= {NETWORKS[name].arguments.get("block") for name in KINDS}
    assert missing == set(), "add a network with each of these blocks to KINDS"


def test_every_link_of_every_network_is_in_a_pair() -> None:
    binary = {(network, METHODS[method].link.name) for network, method in PAIRS if METHODS[method].binary}
    missing = {(name, link) for name, network in NETWORKS.items() for link in network.supported_links if not network.real_valued}
    missing -= binary
    assert missing == set(), "these links have no method that fits the network: add one, or leave them out of Network.links"


@pytest.mark.parametrize(("network", "method"), FAST)
def test_from_training_to_a_verified_tflite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str, method: str) -> None:
    shorten(monkeypatch, network)
    _train_and_convert(tmp_path, network, method, SHORT_WIDTH)


@pytest.mark.slow
@pytest.mark.parametrize(("network", "method"), BY_KIND)
def test_each_kind_of_block_with_each_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str, method: str) -> None:
    shorten(monkeypatch, network)
    _train_and_convert(tmp_path, network, method, SHORT_WIDTH)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "variant"), [(network, variant) for network in KINDS for variant in NETWORKS[network].variants]
)
def test_block_variants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str, variant: str) -> None:
    shorten(monkeypatch, network)
    _train_and_convert(tmp_path, network, "el", SHORT_WIDTH, variant=variant)


@pytest.mark.slow
@pytest.mark.parametrize(("network", "method"), SAMPLED)
def test_whole_networks(tmp_path: Path, network: str, method: str) -> None:
    _train_and_convert(tmp_path, network, method)


@pytest.mark.slow
@pytest.mark.parametrize("network", [name for name in KINDS if "downsample" in NETWORKS[name].options])
def test_binary_downsample_convolutions(tmp_path: Path, network: str) -> None:
    _train_and_convert(tmp_path, network, "el", downsample="binary")
