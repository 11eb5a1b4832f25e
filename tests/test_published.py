"""Published figures: one table, which methods, networks, the command line and the docs look up."""

from pathlib import Path

import comparison_page
import pytest

from el_larq import published
from el_larq.counting.network_costs import COUNTED, INSTRUCTIONS, costs
from el_larq.methods.method_registry import METHODS
from el_larq.models.network_registry import NETWORKS
from el_larq.published import COLUMNS, NOT_CONVERGED, SOURCE, TABLE, of_method, of_network, top1


def test_every_row_and_column_is_of_a_method_and_a_network_that_exist() -> None:
    assert set(COLUMNS) <= set(NETWORKS)
    named = [row.method for row in TABLE if row.method is not None]
    assert set(named) <= set(METHODS)
    assert len(set(named)) == len(named)  # a method has one row
    for row in TABLE:
        assert len(row.top1) == len(COLUMNS)
        assert all(figure in (None, NOT_CONVERGED) or 0 < float(figure) < 100 for figure in row.top1)


def test_a_methods_figures_are_the_tables_unless_another_source_is_named() -> None:
    for row in TABLE:
        if row.method is None:
            continue
        figures = of_method(row.method)
        for network, figure in zip(COLUMNS, row.top1, strict=True):
            assert top1(row.method, network) == figure
            if not isinstance(figure, float):
                assert network not in figures, f"{row.method} has a figure for {network}, the table has {figure}"
                continue
            value, source = figures[network]
            if not source.startswith(SOURCE):
                assert value == figure or f"{figure} in the Elastic-Link poster" in source, f"{row.method} on {network}: {source}"
            else:
                assert value == figure
                assert row.label in source


def test_every_figure_has_a_source() -> None:
    figures = [*(of_method(name) for name in METHODS), *(of_network(name) for name in NETWORKS)]
    assert all(source for found in figures for _value, source in found.values())


def test_figures_that_were_not_published_are_empty() -> None:
    """A method without a row in the table has figures only if another source has them; what is not registered has none."""
    in_table = {row.method for row in TABLE}
    for name in set(METHODS) - in_table:
        assert all(top1(name, network) is None for network in COLUMNS)
        assert not any(source.startswith(SOURCE) for _value, source in of_method(name).values())
    for name in METHODS:
        assert top1(name, "unknown network") is None
    assert of_method("unknown method") == of_network("unknown network") == {}


@pytest.mark.parametrize(("figure", "text"), [(64.0, "64.0"), (None, "-"), (NOT_CONVERGED, "not converge")])
def test_figures_are_spelled_as_in_the_table(figure: published.Figure, text: str) -> None:
    assert published.spell(figure) == text


def test_every_network_has_counted_costs_that_agree_with_the_published_ones() -> None:
    assert set(COUNTED) == set(INSTRUCTIONS) == set(NETWORKS), (
        "each network has an entry in COUNTED and INSTRUCTIONS (el_larq/counting/network_costs.py)"
    )
    for cost in costs():
        if cost.difference is not None:
            # Published figures have two or three digits: 0.12e8 may be anything from 0.115e8 to 0.125e8.
            assert abs(cost.difference) < 0.012, cost
            assert cost.source
    assert sum(cost.difference is not None for cost in costs()) >= 14


def test_the_page_of_the_comparison_has_the_table() -> None:
    text = (Path(__file__).parents[1] / "docs" / "comparison.md").read_text("utf-8")
    assert comparison_page.paper() in text, "run python benchmarks/comparison_page.py"
    for row in TABLE:
        assert f"| {row.label} | {row.year or ''} | {' | '.join(map(published.spell, row.top1))} |" in text
