"""What each link adds to a convolution's output, by itself: no method, no network."""

from typing import Any

import pytest
import tf_keras as keras

from el_larq.conv import Conv
from el_larq.errors import UsageError
from el_larq.layers import ElasticLink, GatedLink, gamma_start
from el_larq.links.link_registry import LINKS, get_link


def attach(link: str, shape: tuple[int, int, int], conv: Conv, **options: Any) -> Any:
    """The model of a link alone: x, z -> y, with z of the shape that the convolution makes of x."""
    height, width, _ = shape
    x: Any = keras.Input(shape)
    z: Any = keras.Input((-(-height // conv.strides), -(-width // conv.strides), conv.filters))
    return keras.Model([x, z], get_link(link).with_options(**options).attach(x, z, conv))


def added(model: Any) -> list[type]:
    return [type(layer) for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]


@pytest.mark.parametrize("name", LINKS)
def test_every_link_is_found_by_its_name(name: str) -> None:
    assert get_link(name).name == name
    assert get_link(name).summary


def test_an_unknown_link_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown link 'elastik'; did you mean elastic"):
        get_link("elastik")


def test_none_adds_nothing() -> None:
    assert added(attach("none", (4, 4, 8), Conv("c", 8, 3))) == []


@pytest.mark.parametrize(("filters", "strides", "layers"), [(8, 1, [keras.layers.Add]), (16, 1, []), (8, 2, [])])
def test_identity_adds_where_the_shapes_agree(filters: int, strides: int, layers: list[type]) -> None:
    assert added(attach("identity", (4, 4, 8), Conv("c", filters, 3, strides))) == layers


@pytest.mark.parametrize(("filters", "strides", "layers"), [(8, 1, [GatedLink]), (8, 2, [GatedLink]), (16, 1, [])])
def test_gated_adds_where_the_channels_agree(filters: int, strides: int, layers: list[type]) -> None:
    assert added(attach("gated", (4, 4, 8), Conv("c", filters, 3, strides))) == layers


@pytest.mark.parametrize("filters", [4, 8, 16, 12])
@pytest.mark.parametrize("strides", [1, 2])
def test_elastic_fits_any_pair_of_shapes(filters: int, strides: int) -> None:
    model = attach("elastic", (4, 4, 8), Conv("c", filters, 3, strides))
    assert added(model) == [ElasticLink]
    assert model.output_shape[1:] == model.input_shape[1][1:]


@pytest.mark.parametrize("filters", [4, 8, 16])
def test_gamma_starts_at_half_next_to_a_shortcut(filters: int) -> None:
    alone = attach("elastic", (4, 4, 8), Conv("c", filters, 3)).get_layer("c_link").gamma.numpy()
    next_to_shortcut = attach("elastic", (4, 4, 8), Conv("c", filters, 3, bypassed=True)).get_layer("c_link").gamma.numpy()
    assert alone == pytest.approx(gamma_start(8, filters))
    assert next_to_shortcut == pytest.approx(alone / 2)


def test_a_given_initializer_overrides_the_half() -> None:
    model = attach("elastic", (4, 4, 8), Conv("c", 8, 3, bypassed=True), gamma_initializer="zeros")
    assert model.get_layer("c_link").gamma.numpy() == 0
