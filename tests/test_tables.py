"""What results look like in an interpreter and in a notebook."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import el_larq
from el_larq.comparison.compare import Comparison
from el_larq.comparison.table import HEADINGS, ComparisonRow, cells
from el_larq.data.in_memory import InMemory, Split
from el_larq.data.preprocessing import Preprocessing
from el_larq.tables import TableList, html_table

HOSTILE = "<script>alert(1)</script>&\x1b[2J\u202e"


class Reader(HTMLParser):
    """The cells of a table, row by row, as a browser shows them, its caption, and the names of all elements."""

    def __init__(self, text: str):
        super().__init__()
        self.rows: list[list[str]] = []
        self.caption = ""
        self.elements: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip("\n")
        elif not self.rows:
            self.caption += data.strip("\n")

    @property
    def by_heading(self) -> dict[str, str]:
        return {row[0]: row[1] for row in self.rows}


def shown(result: object) -> Reader:
    return Reader(result._repr_html_())  # pyright: ignore[reportAttributeAccessIssue]


def test_a_table_shows_its_cells_as_text() -> None:
    table = Reader(html_table(HOSTILE, [(HOSTILE, 7)], (HOSTILE, "count")))
    safe = "<script>alert(1)</script>&\\x1b[2J\\u202e"
    assert table.caption == safe
    assert table.rows == [[safe, "count"], [safe, "7"]]
    assert table.elements == {"table", "caption", "tr", "th", "td"}


def test_a_row_that_does_not_fit_the_headings_shows_all_its_cells() -> None:
    assert Reader(html_table("", [("a", "b", "c")], ("x", "y"))).rows == [["x", "y"], ["a", "b", "c"]]


def test_a_table_list_is_a_list_and_shows_what_is_in_it_now() -> None:
    names = TableList(["a"], "letters", ("letter", "upper"), lambda name: (name, name.upper()))
    assert names == ["a"]
    assert repr(names) == "['a']"
    names.append("b")
    assert shown(names).rows == [["letter", "upper"], ["a", "A"], ["b", "B"]]


@pytest.mark.parametrize(("names", "known"), [(el_larq.list_methods, "el"), (el_larq.list_networks, "resnet26")])
def test_lists_of_names_are_tables_with_summaries(names: Any, known: str) -> None:
    found = names()
    rows = shown(found).rows[1:]
    assert [row[0] for row in rows] == found
    assert known in found
    assert all(row[-1] for row in rows)


def test_a_data_set_shows_its_splits_not_its_pixels() -> None:
    data = el_larq.load_dataset("digits")
    assert repr(data) == f"InMemory('digits': 10 classes, train {data.train_size:,}, test {data.test_size:,}, inputs 16x16x1)"
    rows = shown(data).by_heading
    assert rows["test"] == f"{data.test_size:,} images"
    assert rows["classes"] == "10: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"


def test_a_data_set_of_many_classes_names_some() -> None:
    split = Split(np.zeros((1, 8, 8, 1), np.uint8), np.zeros(1, np.int64))
    labels = tuple(f"class {number}" for number in range(1000))
    rows = shown(InMemory("many", 1, labels, Preprocessing(8, 8, 1), split, split)).by_heading
    assert rows["classes"].startswith("1,000: class 0, class 1,")
    assert rows["classes"].endswith("class 9, ...")


def test_a_conversion_shows_its_steps(small: Any) -> None:
    steps = [entry.step for entry in small.job.report]
    assert repr(small.job) == f"Job({small.h5} -> {small.tflite}: {', '.join(steps)})"
    table = shown(small.job)
    assert [row[0] for row in table.rows[1:]] == steps
    assert [row[2] for row in table.rows[1:]] == [entry.summary for entry in small.job.report]
    assert str(small.tflite) in table.caption


def test_a_conversion_of_an_object_names_the_model(small: Any) -> None:
    job = el_larq.convert(small.model, skip=("fold", "verify"))
    assert repr(job) == "Job(small -> memory: load, lower, arrange, audit, write)"


def test_an_evaluation_shows_its_scores(small: Any, tmp_path: Path) -> None:
    result = el_larq.evaluate(small.h5, out=tmp_path / "evaluation", images=50)
    assert repr(result).startswith(f"Evaluation({str(small.h5)!r} on digits: top-1 {result.scores.top1:.4f}, ECE ")
    rows = shown(result).by_heading
    assert rows["images"] == "50"
    assert rows["top-1"] == f"{result.scores.top1:.4f}"
    assert rows["top-5"] == f"{result.scores.top5:.4f}"


def test_a_comparison_shows_its_rows_under_their_headings() -> None:
    row = ComparisonRow("resnet18", "el", "1/1", "elastic", (0.5,), 1.0, 10, 5, 5.2, 7, 100, 50, 3, 1.0, 0.1)
    table = shown(Comparison(Path("here"), (row,), ""))
    assert table.caption == "here"
    assert table.rows == [list(HEADINGS), list(cells([row])[0])]


@pytest.mark.parametrize("kind", ["h5", "tflite"])
def test_an_inspection_shows_its_totals(small: Any, kind: str) -> None:
    path = getattr(small, kind)
    result = el_larq.inspect(path)
    size = path.stat().st_size
    assert repr(result) == f"Inspection({str(path)!r}: {size:,} bytes, {len(result.layers)} layers, {result.ops:,.0f} OPs)"
    table = shown(result)
    assert table.rows[0] == ["file", f"{size:,} bytes"]
    assert {row[0] for row in table.rows} >= {"weights", "MACs", "OPs", "peak RAM", "input", "output"}


def test_predictions_show_classes_and_probabilities(small: Any, digit_png: Path) -> None:
    result = el_larq.predict(small.tflite, [digit_png, digit_png], top=2)
    (best, share), (second, other) = result[0].top
    assert repr(result[0]) == f"Prediction({str(digit_png)!r}: {best} {share:.4f}, {second} {other:.4f})"
    assert shown(result).rows[1:] == [[str(digit_png), f"{best} {share:.4f}, {second} {other:.4f}"]] * 2
    assert shown(result[0]).rows[1:] == [[f"{share:.4f}", best], [f"{other:.4f}", second]]
    assert shown(el_larq.predict(small.tflite, [])).rows == [["image", "classes and their probabilities"]]


def test_a_training_shows_its_result(small: Any) -> None:
    from el_larq.training.train import Trained

    result = Trained(Path("runs/one"), small.model, {"accuracy": 0.9125}, 1234.4)
    assert repr(result) == "Trained('runs/one': test accuracy 0.9125, 1,234 s)"
    table = shown(result)
    assert table.caption == "runs/one"
    assert table.rows[0] == ["model", f"small, {small.model.count_params():,} parameters"]
    assert ["test accuracy", "0.9125"] in table.rows
