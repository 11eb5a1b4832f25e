import dataclasses
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from el_larq.devices import measured_layers, profile_log, record
from el_larq.devices.record import Record
from el_larq.errors import ElLarqError, UsageError
from el_larq.report import plots
from el_larq.report.collect import collect, read_model, read_run
from el_larq.report.page import render
from el_larq.tflite.reader import parse

HOSTILE = '</title><script>alert(1)</script> $(x) "q" & \'é'


def _record(model: Path, latency: float, **more: object) -> Record:
    found = read_model(model)
    fields = {
        "time": f"2026-01-01T00:00:0{latency:.0f}.000+00:00",
        "target": "ssh://pi",
        "model": {"path": str(model), "name": model.name, "sha256": found.sha256, "bytes": found.size},
        "device": {"machine": "aarch64", "bits": 64, "board": HOSTILE, "governors": ["ondemand"], "cpus": 4},
        "engine": {"name": "engine", "sha256": "0" * 64},
        "runtime": {"num_threads": 1, "repeat": 0},
        "latency_metrics": {"avg_ms": latency, "min_ms": latency, "stddev_ms": 0.1},
        "misc_metrics": {"num_runs": 50},
        "command": ("./engine", f"--graph={HOSTILE}"),
        "marks": ("a mark",),
    }
    return Record(**(fields | more))  # pyright: ignore[reportArgumentType]


@pytest.fixture
def material(tmp_path: Path, data_folder: Path) -> list[Path]:
    """A finished run, a run that was killed, three measurements, a profile."""
    paths = []
    for name, done in (("first", True), ("killed", False)):
        run = tmp_path / "runs" / name
        run.mkdir(parents=True)
        (run / "config.json").write_text(
            json.dumps({"network": HOSTILE, "method": "el", "link": "elastic", "dataset": "d", "seed": 0})
        )
        epochs = [json.dumps({"epoch": e, "loss": 1 / e, "val_accuracy": 0.5 + e / 20}) for e in range(1, 5)]
        (run / "metrics.jsonl").write_text("\n".join(epochs) + ("\n" if done else '\n{"epoch": 5, "lo'))
        if done:
            (run / "result.json").write_text('{"accuracy": 0.7}')
            (run / "environment.json").write_text('{"command": ["el-larq", "train", "x"], "packages": {"larq": "0.14.0"}}')
    paths.append(tmp_path / "runs")
    t1 = tmp_path / "t1.tflite"
    shutil.copy(data_folder / "t1.tflite", t1)
    rows = profile_log.parse((data_folder / "logs/aarch64/profile_t1_noxnn.stdout").read_text())
    joined = tuple(layer.to_dict() for layer in measured_layers.join(rows, parse(t1.read_bytes())))
    results = tmp_path / "results"
    for entry in (
        _record(t1, 1.0),
        _record(data_folder / "bin4.tflite", 2.0),
        _record(t1, 3.0, layers=joined, runtime={"num_threads": 1, "profile": True}),
    ):
        record.write(results, entry, {"stdout": "log\n"})
    paths.append(results)
    return paths


def test_a_file_with_stored_kernels_has_its_own_verification(data_folder: Path) -> None:
    found = collect([data_folder / "t1.tflite"])
    ((key, model),) = found.models.items()
    verified = {"images": 8, "max_difference": 1e-6, "flipped_images": 0, "top1_agreement": 1.0}
    stored = {"images": 8, "max_difference": 0.25, "signs_flipped": 0.01, "top1_agreement": 0.875}
    found.models[key] = dataclasses.replace(model, card={"verified": verified | {"stored": stored}})
    page = render(found)
    assert "before its kernels were stored" in page
    assert "<td>0.25</td>" in re.sub(r"<td[^>]*>", "<td>", page)
    assert "<td>0.875</td>" in re.sub(r"<td[^>]*>", "<td>", page)


class Checker(HTMLParser):
    """Whether tags are closed in order, identifiers unique, references to fragments met."""

    VOID = ("meta", "br", "hr", "img", "link")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.wanted: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self._look(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._look(attrs)

    def _look(self, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name in ("href", "xlink:href"):
                assert value is not None
                assert value.startswith("#"), f"an address from outside: {value}"
                self.wanted.append(value[1:])
            elif name == "aria-labelledby":
                self.wanted += (value or "").split()
            self.wanted += re.findall(r"url\(#([^)]+)\)", value or "")
            assert not name.startswith("on")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_safe(material: list[Path]) -> None:
    html = render(collect(material), title=HOSTILE)
    checker = Checker()
    checker.feed(html)
    assert checker.open == []
    assert len(checker.ids) == len(set(checker.ids))
    assert set(checker.wanted) <= set(checker.ids)
    assert not {"script", "link", "img", "iframe"} & set(checker.tags)
    assert checker.tags.count("h1") == 1
    assert "<script>" not in html
    for name in ("Latency", "Time by layer", "Training", "Contents of the files", "Devices", "How to reproduce"):
        assert f">{name}</h2>" in html
    assert "70.00" in html
    assert "not done" in html
    assert "LceBconv2d" in html
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        root = ElementTree.fromstring(svg)
        assert root.get("role") == "img"
        assert [child.tag.rpartition("}")[2] for child in list(root)[:2]] == ["title", "desc"]


def test_colours_of_plots_follow_the_page(material: list[Path]) -> None:
    html = render(collect(material))
    assert "currentColor" in html
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_what_is_missing_is_named(material: list[Path], tmp_path: Path) -> None:
    (tmp_path / "t1.tflite").write_bytes(b"another")
    found = collect([tmp_path / "results"])
    assert found.missing == [str(tmp_path / "t1.tflite")]
    assert "changed or deleted since" in render(found)
    with pytest.raises(ElLarqError, match="does not exist"):
        collect([tmp_path / "nothing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="contains neither"):
        collect([tmp_path / "empty"])


def test_a_run_that_was_killed_is_read(material: list[Path]) -> None:
    run = read_run(material[0] / "killed")
    assert [epoch["epoch"] for epoch in run.epochs] == [1, 2, 3, 4]
    assert run.result == {}


def test_the_pareto_front() -> None:
    assert plots.pareto([(3, 3), (1, 1), (2, 0.5), (2, 2), (4, 3)]) == [(1, 1), (2, 2), (3, 3)]
    assert plots.pareto([]) == []


def test_the_command_counts_in_words(el_larq_command: object, material: list[Path], tmp_path: Path) -> None:
    done = el_larq_command("report", material[0] / "first", "-o", tmp_path / "r.html")  # pyright: ignore[reportCallIssue]
    assert done.stdout == f"{tmp_path / 'r.html'}: 1 training run, 0 measurements, 0 models, 0 evaluations\n"


def test_the_command(el_larq_command: object, material: list[Path], tmp_path: Path) -> None:
    done = el_larq_command("report", *material, "-o", tmp_path / "r.html", "--json")  # pyright: ignore[reportCallIssue]
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "report": str(tmp_path / "r.html"),
        "runs": 2,
        "measurements": 3,
        "models": 2,
        "evaluations": 0,
        "missing": [],
    }


def test_unrelated_files_are_left_out_and_results_may_have_any_name(
    material: list[Path], data_folder: Path, tmp_path: Path, el_larq_command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """A whole project: results anywhere, a .tflite in a subfolder of a run, files of other programs beside them."""
    deep = tmp_path / "runs" / "first" / "export" / "v2"
    deep.mkdir(parents=True)
    shutil.copy(data_folder / "int8.tflite", deep)
    (tmp_path / "package.json").write_text('{"name": "app"}')
    (tmp_path / "runs" / "first" / "notes.json").write_text("not JSON")
    for hidden in (".cache", "runs/first/checkpoints"):
        (tmp_path / hidden).mkdir()
        (tmp_path / hidden / "evaluation.json").write_text("not an evaluation")
    first = min((tmp_path / "results").glob("*.json"))
    first.rename(tmp_path / "results" / "renamed.json")
    done = el_larq_command("report", ".", "runs/first", "-o", "page.html", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = {name: count for name, count in json.loads(done.stdout).items() if isinstance(count, int)}
    assert found == {"runs": 2, "measurements": 3, "models": 3, "evaluations": 0}
    second = min((tmp_path / "results").glob("2*.json"))
    second.write_text(second.read_text()[:100])
    done = el_larq_command("report", ".", "-o", "page.html", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"results/{second.name} is not a result of el-larq benchmark" in done.stderr


@pytest.mark.slow
def test_chromium_shows_it_without_complaint(material: list[Path], tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    page = tmp_path / "r.html"
    page.write_text(render(collect(material)), "utf-8")
    for width in (390, 1280):
        picture = tmp_path / f"{width}.png"
        command = [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            f"--window-size={width},2000",
        ]
        command += [f"--screenshot={picture}", f"--user-data-dir={tmp_path}/profile", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert picture.stat().st_size > 10_000
        assert "CONSOLE" not in done.stderr
