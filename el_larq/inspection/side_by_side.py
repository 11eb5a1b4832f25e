"""Several models in one table, as for the same network as float32, with int8 kernels, and computed with int8. No TensorFlow."""

from collections.abc import Callable, Mapping, Sequence

from el_larq.inspection.summary import CLASSES, Inspection

Row = tuple[str, ...]


def side_by_side(inspections: Sequence[Inspection], accuracies: Sequence[Mapping[str, float]]) -> tuple[Row, list[Row]]:
    """Headings, one for each model, and rows: file, weights and MACs by bits, peak RAM, top-1. Rows of zeros only are left out.

    Arguments:
        accuracies: for each model, the fraction of images for which its top-1 is right, by what it was evaluated on.
    """
    figures: list[tuple[str, Callable[[Inspection], float], float, int]] = [
        ("file, kB", lambda one: one.size, 1e3, 1),
        *((f"weights of {bits} bit, k", lambda one, bits=bits: one.weights[bits], 1e3, 1) for bits in CLASSES),
        *((f"MACs of {bits} bit, M", lambda one, bits=bits: one.macs[bits], 1e6, 2) for bits in CLASSES),
        ("peak RAM, kB", lambda one: one.arena, 1e3, 1),
        ("instructions, M", lambda one: one.cost.instructions if one.cost is not None else 0, 1e6, 1),
    ]
    rows = []
    for label, of, scale, digits in figures:
        if any(values := [of(one) for one in inspections]):
            rows.append((label, *(f"{value / scale:,.{digits}f}" for value in values)))
    for data in sorted({name for known in accuracies for name in known}):
        cells = (f"{100 * known[data]:.2f}" if data in known else "-" for known in accuracies)
        rows.append((f"top-1 on {data}, %", *cells))
    return ("", *(one.model for one in inspections)), rows
