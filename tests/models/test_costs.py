"""Networks at 224x224 with 1000 classes, built and counted, against the figures of `el_larq.published`."""

from dataclasses import replace
from functools import cache
from typing import Any

import larq
import pytest

from el_larq.counting.counts import count
from el_larq.methods.method_registry import METHODS
from el_larq.models.build import build
from el_larq.published import of_network

OPERATIONS = ("BOPs", "FLOPs", "OPs")

# The networks whose authors publish operations of exactly what is built here.
REACTNETS = ("reactnet_a", "reactnet_b", "reactnet_c", "reactnet_resnet18")
DENSENETS = ("densenet28", "densenet37")


@cache
def full_size(network: str) -> Any:
    """A network with binary convolutions and without links, normalized before them where the original does so."""
    binary = METHODS["binary"]
    if network.startswith("densenet"):
        binary = replace(binary, order=("norm", "conv", "link", "shortcut", "activation"))
    return build(network, binary)


def rounds_to(value: float, published: float) -> bool:
    """Whether a value is a published one, which has three digits at most, within a percent or when rounded as it is."""
    return value == pytest.approx(published, rel=0.01) or round(value / 1e8, 2) == round(published / 1e8, 2)


@pytest.mark.parametrize("network", [*REACTNETS, *DENSENETS])
def test_counted_operations_are_the_published_ones(network: str) -> None:
    counts, published = count(full_size(network)), of_network(network)
    counted: dict[str, float] = dict(zip(OPERATIONS, (counts.bops, counts.flops, counts.ops), strict=True))
    figures = {what: published[what][0] for what in OPERATIONS if what in published}
    numbers = {what: figure for what, figure in figures.items() if not isinstance(figure, str)}
    assert numbers
    assert {what: counted[what] for what, figure in numbers.items() if not rounds_to(counted[what], float(figure))} == {}


@pytest.mark.parametrize("network", REACTNETS)
def test_published_operations_agree_with_each_other_or_say_that_they_do_not(network: str) -> None:
    """OPs = FLOPs + BOPs / 64. Where a published row contradicts that, the table has words in place of a number."""
    bops, flops, ops = (of_network(network)[what][0] for what in OPERATIONS)
    expected = float(flops) + float(bops) / 64
    if isinstance(ops, str):
        assert f"{expected / 1e8:.2f}e8" in ops
    else:
        assert float(ops) == pytest.approx(expected, rel=0.02)  # each figure has two or three digits


def test_reactnet_a_counted_by_hand() -> None:
    """3x3 and 1x1 at each block's channels; the map halves in blocks 2, 4, 6, 12 before the 3x3's output."""
    plan = [(32, 64, 112), (64, 128, 56), (128, 128, 56), (128, 256, 28), (256, 256, 28), (256, 512, 14)]
    plan += [(512, 512, 14)] * 5 + [(512, 1024, 7), (1024, 1024, 7)]
    bops = sum((9 * c * c + c * d) * size**2 for c, d, size in plan)
    counts = count(full_size("reactnet_a"))
    assert counts.bops == bops
    assert counts.flops == 27 * 32 * 112**2 + 1024 * 1000


@pytest.mark.parametrize("network", DENSENETS)
def test_binary_densenets_have_the_published_parameters_and_size(network: str) -> None:
    """Parameters as Larq Zoo's table has them, moving statistics included; MB (2**20 bytes) as in the authors' wiki."""
    model, published = full_size(network), of_network(network)
    assert model.count_params() == published["parameters"][0]
    assert f"{larq.models.ModelProfile(model).memory / 8 / 2**20:.2f} MB" == published["size"][0]
