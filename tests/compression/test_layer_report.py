"""The report of tensors: figures of values whose rounding is known."""

import json

import numpy as np
import pytest

from el_larq.compression.affine import Affine
from el_larq.compression.layer_report import HEADINGS, report, rows, to_list, worst_first


def test_range_noise_and_clipping_of_known_values() -> None:
    one = report("conv", np.array([0.25, -1.0, 10.0, 200.0]), Affine(1.0, 0))
    assert (one.low, one.high, one.scale, one.zero) == (-128, 127, 1, 0)
    assert one.clipped == 0.25
    signal, noise = 0.25**2 + 1 + 100 + 200**2, 0.25**2 + 73**2
    assert one.sqnr == pytest.approx(10 * np.log10(signal / noise))
    assert one.flips is one.flips_with_offset is None


def test_flips_of_a_tensor_that_feeds_a_sign() -> None:
    one = report("conv", np.array([-0.4, -0.6, 0.0, 0.4]), Affine(1.0, 0), feeds_sign=True)
    assert (one.flips, one.flips_with_offset) == (0.25, 0)


def test_rows_and_data_have_the_worst_first() -> None:
    x = np.linspace(-1, 1, 1001)
    found = [
        report("fine", x, Affine.of_range(-1, 1)),
        report("coarse", x, Affine(0.5, 0)),
        report("exact", np.ones(2), Affine(1.0, 0)),
    ]
    assert [one.name for one in worst_first(found)] == ["coarse", "fine", "exact"]
    table = rows(found)
    assert [row[0] for row in table] == ["coarse", "fine", "exact"]
    assert {len(row) for row in table} == {len(HEADINGS)}
    data = json.loads(json.dumps(to_list(found), allow_nan=False))
    assert data[2]["sqnr"] is None
    assert data[1]["sqnr"] == pytest.approx(found[0].sqnr)
