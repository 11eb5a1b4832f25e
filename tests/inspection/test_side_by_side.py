"""Several models in one table."""

from dataclasses import replace
from pathlib import Path

import el_larq
from el_larq.inspection.side_by_side import side_by_side

DATA = Path(__file__).parents[1] / "data"
NAMES = ("t1.tflite", "float.tflite", "int8.tflite")


def test_each_figure_is_that_of_its_model() -> None:
    models = [el_larq.inspect(DATA / name) for name in NAMES]
    digits, photos = "top-1 on digits, 8 images", "top-1 on photos, 4 images"
    headings, rows = side_by_side(models, [{digits: 0.125}, {}, {digits: 1.0, photos: 0.0}])
    table = {label: cells for label, *cells in rows}
    assert headings == ("", *(str(DATA / name) for name in NAMES))
    assert table["file, kB"] == [f"{(DATA / name).stat().st_size / 1e3:,.1f}" for name in NAMES]
    for bits in (1, 8, 32):
        for label, of, scale in ((f"{bits}-bit weights, k", "weights", 1e3), (f"{bits}-bit MACs, M", "macs", 1e6)):
            wanted = [getattr(model, of)[bits] / scale for model in models]
            assert (label in table) == any(wanted)
            found = [float(cell.replace(",", "")) for cell in table.get(label, "000")]
            assert all(abs(a - b) <= 0.051 for a, b in zip(wanted, found, strict=True)), label
    assert any(f"{bits}-bit MACs, M" in table for bits in (1, 8))
    assert table["top-1 on digits, 8 images, %"] == ["12.50", "-", "100.00"]
    assert table["top-1 on photos, 4 images, %"] == ["-", "-", "0.00"]
    assert "instructions, M" not in table


def test_a_core_adds_instructions() -> None:
    models = [el_larq.inspect(DATA / name, core="cortex-a72") for name in NAMES[:2]]
    _, rows = side_by_side(models, [{}, {}])
    assert not any("top-1" in label for label, *_ in rows)
    (cells,) = [cells for label, *cells in rows if label == "instructions, M"]
    costs = [model.cost for model in models if model.cost is not None]
    assert cells == [f"{'> ' if cost.uncounted else ''}{cost.instructions / 1e6:,.1f}" for cost in costs]
    incomplete = [replace(model, cost=replace(cost, operators=())) for model, cost in zip(models, costs, strict=True)]
    assert side_by_side(incomplete, [{}, {}])[1][-1] == ("instructions, M", "0.0", "0.0")


def test_weights_restored_as_float32_have_a_row() -> None:
    models = [replace(el_larq.inspect(DATA / NAMES[0]), restored=size) for size in (0, 719_872)]
    _, rows = side_by_side(models, [{}, {}])
    assert ("RAM for weights restored as float32, kB", "0.0", "719.9") in rows
