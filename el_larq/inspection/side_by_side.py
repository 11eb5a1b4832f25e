"""Several models in one table: a network as float32, with int8 kernels and computed with int8, for example. No TensorFlow."""

from collections.abc import Callable, Mapping, Sequence

from el_larq.inspection.summary import CLASSES, Inspection

Row = tuple[str, ...]


def side_by_side(inspections: Sequence[Inspection], accuracies: Sequence[Mapping[str, float]]) -> tuple[Row, list[Row]]:
    """Headings, one for each model, and rows: file, weights and MACs by bits, peak RAM, top-1. Rows of zeros only are left out.

    Arguments:
        accuracies: for each model, its accuracy, 0 to 1, by what was measured: "top-1 on digits, 300 images".
    """
    figures: list[tuple[str, Callable[[Inspection], float], float, int]] = [
        ("file, kB", lambda one: one.size, 1e3, 1),
        *((f"{bits}-bit weights, k", lambda one, bits=bits: one.weights[bits], 1e3, 1) for bits in CLASSES),
        *((f"{bits}-bit MACs, M", lambda one, bits=bits: one.macs[bits], 1e6, 2) for bits in CLASSES),
        ("peak RAM, kB", lambda one: one.arena, 1e3, 1),
        ("RAM for weights restored as float32, kB", lambda one: one.restored, 1e3, 1),
    ]
    rows = []
    for label, of, scale, digits in figures:
        if any(values := [of(one) for one in inspections]):
            rows.append((label, *(f"{value / scale:,.{digits}f}" for value in values)))
    if any(one.cost is not None for one in inspections):
        rows.append(("instructions, M", *(_instructions(one) for one in inspections)))
    for data in sorted({name for known in accuracies for name in known}):
        cells = (f"{100 * known[data]:.2f}" if data in known else "-" for known in accuracies)
        rows.append((f"{data}, %", *cells))
    return ("", *(one.model for one in inspections)), rows


def _instructions(one: Inspection) -> str:
    if one.cost is None:
        return "-"
    return f"{'> ' if one.cost.uncounted else ''}{one.cost.instructions / 1e6:,.1f}"
