"""The paper's table as it stands in the library and in the docs, beside what methods and networks say of themselves."""

from pathlib import Path

import pytest

from el_larq.methods import published
from el_larq.methods.published import NETWORKS, NOT_CONVERGED, TABLE
from el_larq.methods.registry import METHODS
from el_larq.models.published import COUNTED, costs
from el_larq.models.registry import NETWORKS as ALL_NETWORKS


def test_the_table_is_the_posters() -> None:
    assert NETWORKS == ("resnet26", "resnet50", "mobilenet", "resnet18", "resnet34")
    assert set(NETWORKS) <= set(ALL_NETWORKS)
    assert len(TABLE) == 13
    cells = [figure for row in TABLE for figure in row.top1]
    assert len(cells) == 65
    # Added up by hand: figures and dashes of each column.
    for column, total, dashes in zip(range(5), (481.4, 507.3, 297.4, 694.7, 615.2), (5, 5, 4, 1, 3), strict=True):
        figures = [row.top1[column] for row in TABLE]
        assert sum(figure for figure in figures if isinstance(figure, float)) == pytest.approx(total), NETWORKS[column]
        assert figures.count(None) == dashes
    assert [row.label for row in TABLE if NOT_CONVERGED in row.top1] == ["XNOR", "ABC-Net", "Bi-Real", "BinaryE"]


def test_methods_do_not_contradict_the_table() -> None:
    for row in TABLE:
        if row.method is None:
            continue
        told = METHODS[row.method].published
        for network, figure in zip(NETWORKS, row.top1, strict=True):
            if not isinstance(figure, float):
                assert network not in told, f"{row.method} has a figure for {network}, the table has {figure}"
                continue
            if network not in told:
                continue
            value, source = told[network]
            if published.SOURCE in source:
                assert value == figure, f"{row.method} on {network}"
            else:
                assert value == figure or f"{figure} in the Elastic-Link poster" in source, f"{row.method} on {network}: {source}"


def test_figures_said_to_be_the_posters_are_in_the_table() -> None:
    for name, method in METHODS.items():
        for network, (value, source) in method.published.items():
            if source.startswith(published.SOURCE):
                assert published.top1(name, network) == value, f"{name} on {network}"


def test_the_genetic_search_claims_nothing_of_gbcns() -> None:
    assert METHODS["genetic"].published == {}
    assert published.top1("genetic", "resnet18") is None
    assert published.top1("el", "resnet26") == 64.0
    assert published.top1("el", "densenet28") is None


@pytest.mark.parametrize(("figure", "text"), [(64.0, "64.0"), (None, "-"), (NOT_CONVERGED, "not converge")])
def test_figures_are_spelt_as_in_the_table(figure: published.Figure, text: str) -> None:
    assert published.spell(figure) == text


def test_every_network_has_its_costs_beside_the_published_ones() -> None:
    assert set(COUNTED) == set(ALL_NETWORKS)
    for cost in costs():
        if cost.difference is not None:
            # Published figures have two or three digits: 0.12e8 may be anything from 0.115e8 to 0.125e8.
            assert abs(cost.difference) < 0.012, cost
            assert cost.source
    assert sum(cost.difference is not None for cost in costs()) >= 14


def test_the_page_of_the_comparison_has_the_table() -> None:
    text = (Path(__file__).parents[2] / "docs" / "comparison.md").read_text("utf-8")
    for row in TABLE:
        assert f"| {row.label} | {row.year or ''} | {' | '.join(map(published.spell, row.top1))} |" in text
