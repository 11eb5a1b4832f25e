"""Evaluations in a report, and the styles by which a page's models are told apart."""

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

from el_larq import card
from el_larq.converters.rewrite import with_metadata
from el_larq.errors import ElLarqError
from el_larq.report import stored_detection
from el_larq.report.collect import collect
from el_larq.report.page import render
from el_larq.report.plots import COLOURS, Style
from el_larq.report.stored_evaluation import StoredEvaluation
from el_larq.report.styles import Styles
from el_larq.tflite.reader import parse

Command = Callable[..., CompletedProcess[str]]
SEEDS = Path(__file__).parents[1] / "fuzz" / "seeds"
COUNTS = [[8, 2, 0], [0, 0, 0], [3, 1, 6]]
NAMES = ["cat", "<b>dog</b>", "owl $x$"]


def _evaluation(model: Path, counts: list[list[int]] = COUNTS, names: list[str] = NAMES, **more: object) -> dict[str, Any]:
    table = np.array(counts)
    return {
        "el_larq": "0.1.0",
        "model": str(model),
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "output": "logits",
        "dataset": "dir:/pictures",
        "images": int(table.sum()),
        "top1": float(table.trace() / table.sum()),
        "top5": None,
        "ece": 0.125,
        "classes": [{"label": name, "images": 0, "recall": None, "precision": None} for name in names],
        "confusion": counts,
        "notes": ["a note"],
        **more,
    }


def _write(folder: Path, content: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    (folder / "evaluation.json").write_text(json.dumps(content))
    return folder


def _converted(path: Path, source: Path, more: str = "") -> Path:
    """A .tflite whose card says that it was converted from the file ``source``."""
    content = (SEEDS / "model.tflite").read_bytes()
    facts = json.loads(parse(content).metadata[card.NAME])
    facts |= {"source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(), "accuracy": {"top1": 0.5}, "network": more}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(with_metadata(content, card.NAME, json.dumps(facts).encode()))
    return path


def test_an_evaluation_is_a_matrix_and_a_table_of_classes(tmp_path: Path, el_larq_here: Command) -> None:
    model = shutil.copy(SEEDS / "model.tflite", tmp_path / "model.tflite")
    _write(tmp_path / "evaluations" / "one", _evaluation(Path(model)))
    for given in (tmp_path / "evaluations" / "one", tmp_path / "evaluations", tmp_path):
        done = el_larq_here("report", given, "-o", tmp_path / "page.html", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["evaluations"] == 1
    page = re.sub(r"<td[^>]*>", "<td>", (tmp_path / "page.html").read_text("utf-8"))
    assert '<th scope="row">cat</th><td>10</td><td>80.0</td><td>72.7</td><td>&lt;b&gt;dog&lt;/b&gt; (2)</td>' in page
    assert '<th scope="row">&lt;b&gt;dog&lt;/b&gt;</th><td>0</td><td>–</td><td>0.0</td><td></td>' in page
    assert '<th scope="row">owl $x$</th><td>10</td><td>60.0</td><td>100.0</td><td>cat (3)</td>' in page
    assert "<td>dir:/pictures</td><td>20</td><td>70.00</td><td>–</td><td>0.1250</td>" in page
    assert "top-1 70.00% of 20 images; most frequent confusion: 3 of owl $x$ taken for cat" in page
    assert '<p class="note">a note</p>' in page
    drawn = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    matrix = next(svg for svg in drawn if "true class" in svg)
    assert {"8", "2", "3", "1", "6"} <= set(re.findall(r">(\d+)</text>", matrix))


def _detection(**changed: object) -> dict[str, Any]:
    mean = {"voc_all": 0.5, "voc_11": 0.4, "coco": 0.25, "coco_50": 0.5, "coco_75": 0.125}
    classes = [
        {"label": "<b>disc</b>", "objects": 40, **mean},
        {"label": "ring", "objects": 0, **dict.fromkeys(mean, None)},
    ]
    content = {"el_larq": "0.1.0", "task": "detection", "model": "runs/d/model.tflite", "sha256": "0" * 64, "dataset": "shapes"}
    return content | {"images": 30, "mean": mean, "by_class": classes, "notes": ["a note"]} | changed


def test_a_detectors_evaluation_is_a_table_of_average_precisions(tmp_path: Path) -> None:
    _write(tmp_path / "e", _detection())
    found = collect([tmp_path])
    assert len(found.evaluations) == 1
    page = re.sub(r"<td[^>]*>", "<td>", render(found))
    assert "<td>shapes</td><td>30</td><td>50.00</td><td>25.00</td><td>12.50</td>" in page
    assert '<th scope="row">&lt;b&gt;disc&lt;/b&gt;</th><td>40</td><td>50.0</td><td>25.0</td><td>12.5</td>' in page
    assert '<th scope="row">ring</th><td>0</td><td>–</td><td>–</td><td>–</td>' in page
    assert '<p class="note">a note</p>' in page
    assert "d/model.tflite" in page


def test_the_curves_of_a_detector_are_part_of_the_page_as_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image, since the file may come from someone else: scripts in it do not run."""
    picture = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    folder = _write(tmp_path / "e", _detection(dataset='voc:/"x"'))
    assert "<img" not in render(collect([tmp_path]))
    (folder / "precision_recall.svg").write_bytes(picture)
    page = render(collect([tmp_path]))
    ((alt, drawn),) = re.findall(r'<img alt="([^"]*)" src="data:image/svg\+xml;base64,([^"]*)">', page)
    assert base64.b64decode(drawn) == picture
    assert "Precision over recall of d/model.tflite on voc:/&#34;x&#34;" in alt
    assert "<script" not in page
    monkeypatch.setattr(stored_detection, "MAX_PICTURE", len(picture) - 1)
    assert "<img" not in render(collect([tmp_path]))
    (folder / "precision_recall.svg").rename(tmp_path / "other.svg")
    (folder / "precision_recall.svg").symlink_to(tmp_path / "other.svg")
    with pytest.raises(ElLarqError, match=r"precision_recall\.svg is a link"):
        collect([tmp_path])


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"mean": {"voc_all": 1.5, "coco": 0.0, "coco_75": 0.0}}, "not between 0 and 1"),
        ({"mean": {"voc_all": 0.5}}, "evaluation.mean has no coco"),
        ({"by_class": [{"label": "disc"}]}, "has no objects"),
        ({"images": "30"}, "evaluation.images is not an integer"),
    ],
)
def test_a_damaged_evaluation_of_a_detector_is_refused(changed: dict[str, Any], wrong: str, tmp_path: Path) -> None:
    _write(tmp_path / "e", _detection(**changed))
    with pytest.raises(ElLarqError, match=rf"evaluation\.json is not a result of el-larq evaluate.*{wrong}.*evaluate again$"):
        collect([tmp_path])


def test_the_training_of_a_detector_is_drawn_with_its_map(tmp_path: Path) -> None:
    run = tmp_path / "detector"
    shutil.copytree(SEEDS / "run", run, ignore=shutil.ignore_patterns("*.tflite"))
    records = [{"epoch": epoch, "step": epoch, "loss": 1 / epoch, "val_map_50": epoch / 10} for epoch in (1, 2, 3)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (run / "result.json").write_text('{"map_50": 0.4321, "map_50_95": 0.2}')
    page = render(collect([run]))
    assert "Validation mAP@0.5 by epoch. detector: 0.3000 after epoch 3." in page
    assert "test top-1 or mAP@0.5, %" in page
    assert ">43.21<" in page
    (run / "result.json").write_text('{"map_50": "high"}')
    with pytest.raises(ElLarqError, match=r"result\.json is damaged"):
        collect([run])


def test_of_many_classes_the_worst_are_listed(tmp_path: Path) -> None:
    counts = np.diag(np.arange(1, 61))
    counts[59, 0] = 5
    names = [f"class{number}" for number in range(60)]
    _write(tmp_path / "e", _evaluation(SEEDS / "model.tflite", counts.tolist(), names))
    page = render(collect([tmp_path]))
    assert "The 50 of 60 classes with the lowest recall." in page
    rows = re.findall(r'<th scope="row">(class\d+)</th>', page)
    assert (len(rows), rows[0], "true class" in page) == (50, "class59", False)


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"confusion": [[1]]}, "is not of 3 classes"),
        ({"confusion": [[1, 2], [3, 4], [5, 6]]}, "is not of 3 classes"),
        ({"confusion": [[-1, 0, 0], [0, 21, 0], [0, 0, 0]]}, "not numbers of images"),
        ({"images": 21}, "not of all images"),
        ({"top1": 1.5}, "not between 0 and 1"),
        ({"classes": []}, "is not of 0 classes"),
        ({"model": 3}, "evaluation.model is not a string"),
        ({"confusion": [[True, 0, 0], [0, 0, 0], [0, 0, 0]]}, "is not an integer"),
    ],
)
def test_an_evaluation_that_contradicts_itself_is_refused(changed: dict[str, Any], wrong: str, tmp_path: Path) -> None:
    _write(tmp_path / "e", _evaluation(SEEDS / "model.tflite") | changed)
    with pytest.raises(ElLarqError, match=rf"evaluation\.json is not a result of el-larq evaluate.*{wrong}.*evaluate again$"):
        collect([tmp_path])


def test_a_link_in_place_of_an_evaluation_is_refused(tmp_path: Path) -> None:
    made = _write(tmp_path / "outside", _evaluation(SEEDS / "model.tflite"))
    (tmp_path / "all" / "e").mkdir(parents=True)
    (link := tmp_path / "all" / "e" / "evaluation.json").symlink_to(made / "evaluation.json")
    with pytest.raises(ElLarqError, match=r"evaluation\.json is a link"):
        collect([tmp_path / "all"])
    link.unlink()
    (tmp_path / "all" / "f").symlink_to(made)
    with pytest.raises(ElLarqError, match="f is a link"):
        collect([tmp_path / "all"])


def test_files_of_other_programs_are_left_out_and_damaged_ones_are_not(tmp_path: Path) -> None:
    (other := tmp_path / "all" / "someone").mkdir(parents=True)
    (other / "config.json").write_text('{"architectures": ["Bert"], "vocab_size": 30522}')
    (other / "evaluation.json").write_text('{"accuracy": 0.5}')
    _write(tmp_path / "all" / "ours", _evaluation(SEEDS / "model.tflite"))
    found = collect([tmp_path / "all"])
    assert (len(found.runs), len(found.evaluations)) == (0, 1)
    with pytest.raises(ElLarqError, match="contains neither a training run"):
        collect([other])
    (other / "evaluation.json").write_text('{"accuracy": 0')
    with pytest.raises(ElLarqError, match=r"someone/evaluation\.json"):
        collect([tmp_path / "all"])


def test_a_model_has_one_style_wherever_it_appears(tmp_path: Path) -> None:
    runs = [tmp_path / "runs" / name for name in ("a", "b")]
    for run in runs:
        shutil.copytree(SEEDS / "run", run, ignore=shutil.ignore_patterns("*.tflite"))
        (run / "model.h5").write_text(run.name)
    inside = _converted(runs[0] / "model.tflite", tmp_path / "runs" / "a" / "config.json")
    second = _converted(runs[0] / "export" / "int8.tflite", runs[0] / "model.h5", "int8")
    elsewhere = _converted(tmp_path / "phone" / "b.tflite", runs[1] / "model.h5")
    unknown = shutil.copy(SEEDS.parents[1] / "data" / "t1.tflite", tmp_path / "other.tflite")
    for number, model in enumerate((elsewhere, runs[1] / "model.h5", unknown)):
        _write(tmp_path / "evaluations" / str(number), _evaluation(Path(model)))
    found = collect([tmp_path])
    styles = Styles(found)
    numbers = {run.name: styles.of_run(run).number for run in found.runs}
    by_path = {model.path: styles.of_model(model.sha256).number for model in found.models.values()}
    assert by_path[str(inside)] == numbers["a"]
    assert by_path[str(elsewhere)] == numbers["b"]
    assert len({*numbers.values(), by_path[str(second)], by_path[str(unknown)]}) == 4
    assert [styles.of_evaluation(one).number for one in found.evaluations] == [numbers["b"], numbers["b"], by_path[str(unknown)]]

    page = render(found)
    marks = re.findall(r'<span aria-hidden="true" style="color:(#[0-9a-f]{6})">.</span> ([^<]+)<', page)
    colours: dict[str, set[str]] = {}
    for colour, name in marks:
        colours.setdefault(name, set()).add(colour)
    assert all(len(of_name) == 1 for of_name in colours.values()), colours
    assert colours["b"] == colours["b.tflite"] == colours["b/model.h5"] == {COLOURS[numbers["b"]]}
    drawn = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    matrix = next(svg for svg in drawn if "Confusion matrix of b.tflite" in svg)
    assert COLOURS[numbers["b"]] in matrix
    assert not any(colour in matrix for colour in COLOURS if colour != COLOURS[numbers["b"]])


def test_36_models_look_different() -> None:
    looks = [(style.colour, style.marker, style.symbol) for style in map(Style, range(36))]
    assert len(set(looks)) == 36
    assert len({marker for _, marker, _ in looks}) == len({symbol for _, _, symbol in looks}) == 6


def test_evaluate_writes_what_a_report_reads(small: Any, tmp_path: Path, el_larq_here: Command) -> None:
    done = el_larq_here(
        "evaluate", small.tflite, "--dataset", "digits", "--images", "60", "--workers", "1", "-o", tmp_path / "e", "--json"
    )
    assert done.returncode == 0, done.stderr
    (found,) = collect([tmp_path / "e"]).evaluations
    assert isinstance(found, StoredEvaluation)
    content = json.loads(done.stdout)
    assert found.sha256 == hashlib.sha256(Path(small.tflite).read_bytes()).hexdigest()
    assert (found.top1, found.images, found.confusion.tolist()) == (content["top1"], 60, content["confusion"])
    assert [[one.images, one.recall, one.precision] for one in found.classes] == [
        [one["images"], one["recall"], one["precision"]] for one in content["classes"]
    ]
