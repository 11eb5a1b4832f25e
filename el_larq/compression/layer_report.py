"""What int8 costs each tensor of a network: range, SQNR, changed signs; worst first, as rows of a table or as data."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from el_larq.compression.affine import Affine
from el_larq.compression.noise import sqnr
from el_larq.compression.sign_safe import flip_rate


@dataclass(frozen=True)
class TensorReport:
    """One tensor.

    low, high: the range that int8 represents. clipped: the share of the values outside it. sqnr: in dB.
    flips, flips_with_offset: the share of the values whose sign changes, without `sign_safe.OFFSET` and with it; None for a tensor
    that feeds no sign.
    """

    name: str
    low: float
    high: float
    scale: float
    zero: int
    clipped: float
    sqnr: float
    flips: float | None = None
    flips_with_offset: float | None = None


HEADINGS = ("tensor", "range", "clipped", "SQNR", "signs flipped", "with offset")


def report(name: str, values: np.ndarray, affine: Affine, *, feeds_sign: bool = False) -> TensorReport:
    """What a quantization does to values of a tensor."""
    beyond = np.mean((values < affine.low - affine.scale / 2) | (values > affine.high + affine.scale / 2))
    rates = [flip_rate(values, affine, offset=offset) for offset in (False, True)] if feeds_sign else [None, None]
    noise = sqnr(values, affine.rounded(values))
    return TensorReport(name, affine.low, affine.high, affine.scale, affine.zero, float(beyond), noise, *rates)


def worst_first(found: Iterable[TensorReport]) -> list[TensorReport]:
    """Sorted by SQNR; equal ones keep their order."""
    return sorted(found, key=lambda one: one.sqnr)


def rows(found: Iterable[TensorReport]) -> list[tuple[str, ...]]:
    """The cells below HEADINGS, worst first."""
    return cells(to_list(found))


def cells(reports: Iterable[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The same of reports as `to_list` returns them."""
    return [
        (
            one["name"],
            f"{one['low']:.3g} to {one['high']:.3g}",
            f"{one['clipped']:.3%}",
            "exact" if one["sqnr"] is None else f"{one['sqnr']:.1f} dB",
            *("" if one[rate] is None else f"{one[rate]:.3%}" for rate in ("flips", "flips_with_offset")),
        )
        for one in reports
    ]


def to_list(found: Iterable[TensorReport]) -> list[dict[str, Any]]:
    """For JSON, worst first: values that are not finite are None."""
    return [
        {key: None if isinstance(value, float) and not np.isfinite(value) else value for key, value in asdict(one).items()}
        for one in worst_first(found)
    ]
