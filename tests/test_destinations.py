"""What is read, and what is of another kind, is never replaced."""

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from PIL import Image

from el_larq.cli.main import main
from el_larq.errors import ElLarqError, UsageError
from el_larq.files import write_bytes
from el_larq.outputs import HTML, JPEG, PDF, PNG, SVG, TFLITE, WEIGHTS, Kind, check_folder, check_output

SEEDS = Path(__file__).parent / "fuzz" / "seeds"
KINDS = (TFLITE, WEIGHTS, HTML, SVG, PNG, JPEG, PDF)


def _example(kind: Kind, path: Path) -> bytes:
    """The content of a small file of a kind, as its own library writes it."""
    if kind is TFLITE:
        return (SEEDS / "model.tflite").read_bytes()
    if kind is WEIGHTS:
        np.savez_compressed(path, meta=np.zeros(1))
    elif kind is HTML:
        path.write_text("\ufeff<!-- a > comment -->\n<!-- another -->\n<!DOCTYPE HTML>\n<title>x</title>")
    elif kind in (PNG, JPEG):
        Image.new("L", (4, 4)).save(path)
    else:
        from matplotlib.figure import Figure

        Figure(figsize=(1, 1)).savefig(path)
    content = path.read_bytes()
    path.unlink()
    return content


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.suffixes[0])
def test_a_file_is_replaced_by_one_of_its_kind_only(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / f"file{kind.suffixes[0]}"
    content = _example(kind, path)
    for there in (content, b""):
        path.write_bytes(there)
        assert check_output(path, *KINDS) is kind
    others = [_example(other, tmp_path / f"other{other.suffixes[0]}") for other in KINDS if other is not kind]
    for there in (*others, (SEEDS / "model.h5").read_bytes(), (SEEDS / "model.keras").read_bytes(), b"PK\x03\x04 cut", b"notes\n"):
        path.write_bytes(there)
        with pytest.raises(UsageError, match=r"the file there is not an? .*; remove it or choose another name$"):
            check_output(path, kind)
        with pytest.raises(UsageError, match="the file there is not"):
            write_bytes(path, content, kind.check_replaceable)
        assert path.read_bytes() == there
        assert list(tmp_path.iterdir()) == [path]


def test_the_name_must_be_that_of_what_is_written(tmp_path: Path) -> None:
    for name in ("model.h5", "model.keras", "model", "model.tflite.h5", "model.TFLITE", ".tflite"):
        with pytest.raises(UsageError, match=r"its name must end in \.tflite$"):
            check_output(tmp_path / name, TFLITE)
    with pytest.raises(UsageError, match=r"must end in \.png, \.jpg or \.jpeg$"):
        check_output(tmp_path / "sheet.gif", PNG, JPEG)
    assert check_output(tmp_path / "page.HTML", HTML) is HTML
    assert list(tmp_path.iterdir()) == []


def _link_to(model: Path, folder: Path) -> list[Path]:
    """Other names of a file."""
    (folder / "soft.tflite").symlink_to(model)
    (folder / "chain.tflite").symlink_to(folder / "soft.tflite")
    os.link(model, folder / "hard.tflite")
    (folder / "elsewhere").symlink_to(model.parent)
    return [
        *(folder / f"{name}.tflite" for name in ("soft", "chain", "hard")),
        folder / "elsewhere" / model.name,
        folder / ".." / folder.name / "elsewhere" / model.name,
    ]


def test_an_input_is_not_replaced_under_any_of_its_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "links").mkdir()
    model = tmp_path / "models" / "model.tflite"  # of the right kind: only that it is read protects it
    model.write_bytes((SEEDS / "model.tflite").read_bytes())
    monkeypatch.chdir(tmp_path)
    for path in (model, Path("models/model.tflite"), Path("models/../models/model.tflite"), *_link_to(model, tmp_path / "links")):
        with pytest.raises(UsageError, match=r"it is the input .*model\.tflite; choose another name$"):
            check_output(path, TFLITE, inputs=(tmp_path / "missing", model))
    check_output(tmp_path / "other.tflite", TFLITE, inputs=(model,))


def test_nothing_is_written_into_a_folder_that_is_read(tmp_path: Path) -> None:
    data, outside = tmp_path / "data", tmp_path / "outside"
    (data / "cat").mkdir(parents=True)
    outside.mkdir()
    (data / "cat" / "0.png").symlink_to(outside / "0.png")
    (outside / "inside").symlink_to(data / "cat")
    for path in (data / "sheet.png", data / "cat" / "0.png", outside / "inside" / "new.png"):
        with pytest.raises(UsageError, match=r"it lies in .*data, which is read; choose a place outside it$"):
            check_output(path, PNG, inputs=(data,))
    for path in (data / "run", data / "cat" / "run" / "deep", outside / "inside"):
        with pytest.raises(UsageError, match="lies in"):
            check_folder(path, inputs=(data,))
    with pytest.raises(UsageError, match="is the input"):
        check_folder(data, inputs=(data,))
    check_folder(outside, inputs=(data,))
    check_output(tmp_path / "data.png", PNG, inputs=(data,))


def test_a_link_is_replaced_and_not_what_it_leads_to(tmp_path: Path) -> None:
    old, link = tmp_path / "old.html", tmp_path / "link.html"
    old.write_bytes(b"<html>old")
    link.symlink_to(old)
    check_output(link, HTML)
    write_bytes(link, b"<html>new", HTML.check_replaceable)
    assert (link.read_bytes(), old.read_bytes(), link.is_symlink()) == (b"<html>new", b"<html>old", False)
    dangling = tmp_path / "dangling.html"
    dangling.symlink_to(tmp_path / "nothing.html")
    write_bytes(dangling, b"<html>new", HTML.check_replaceable)
    assert not (tmp_path / "nothing.html").exists()
    (tmp_path / "a.html").symlink_to(tmp_path / "b.html")
    (tmp_path / "b.html").symlink_to(tmp_path / "a.html")
    check_folder(tmp_path, inputs=(tmp_path / "a.html",))
    with pytest.raises(ElLarqError, match=r"cannot write .*a\.html"):
        check_output(tmp_path / "a.html", HTML)


def test_a_pipe_or_a_device_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.html")
    for path in (tmp_path / "pipe.html", Path("/dev/null")):
        with pytest.raises(ElLarqError, match="a device or a pipe"):
            check_output(path, HTML)
        with pytest.raises(ElLarqError, match="a device or a pipe"):
            write_bytes(path, b"<html>")


def test_a_file_that_appears_during_the_work_stays(tmp_path: Path) -> None:
    from el_larq.files import atomic_path

    path = tmp_path / "page.html"
    with pytest.raises(UsageError, match="not an HTML page"), atomic_path(path, HTML.check_replaceable) as temporary:  # noqa: PT012
        temporary.write_bytes(b"<html>")
        path.write_bytes(b"meanwhile")
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("page.html", b"meanwhile")]


def _kept(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


REFUSED = {
    "convert": "convert model.h5 -o model.h5",
    "convert under another name": "convert ./model.h5 -o link.tflite",
    "convert to another kind": "convert model.h5 -o run/model.keras",
    "convert over another kind": "convert model.h5 -o notes.tflite",
    "convert into the SavedModel": "convert saved_model -o saved_model/variables/new.tflite",
    "convert with a plot": "convert model.h5 -o a.tflite --int8 full --calibrate digits --int8-plot model.h5",
    "convert with a plot over another kind": "convert model.h5 -o a.tflite --int8 full --calibrate digits --int8-plot notes.svg",
    "report": "report run -o run/model.h5",
    "report over a model": "report run -o run/model.html",
    "report over its input": "report model.tflite -o link.html",
    "export-weights": "export-weights model.h5 --binary -o model.h5",
    "export-weights over arrays": "export-weights model.h5 --binary -o arrays.npz",
    "inspect": "inspect model.tflite --plot model.tflite",
    "inspect over another kind": "inspect model.tflite --plot notes.svg",
    "data show": "data show dir:images -o images/cat/0.png",
    "data show over another kind": "data show digits -o notes.png",
    "evaluate": "evaluate model.tflite --dataset digits -o model.tflite",
    "evaluate into the data set": "evaluate model.tflite --dataset dir:images -o images/evaluated",
    "evaluate over another report": "evaluate model.tflite --dataset digits --images 1 -o other",
    "benchmark": "benchmark model.tflite -o model.tflite",
    "train": "train resnet26 --dataset digits -o model.h5",
    "train into the data set": "train resnet26 --dataset dir:images -o images/run",
    "train into its start": "train resnet26 --dataset digits --init-from saved_model -o saved_model/run",
    "compare": "compare --network resnet26 --dataset digits -o model.h5",
    "compare into the data set": "compare --network resnet26 --dataset dir:images -o images/compared",
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Models, a run, a data set, and files of a user's whose names suit results."""
    import shutil

    for name in ("model.h5", "model.tflite"):
        shutil.copy(SEEDS / name, tmp_path / name)
    for name in ("run", "saved_model"):
        shutil.copytree(SEEDS / name, tmp_path / name)
    shutil.copy(SEEDS / "model.h5", tmp_path / "run" / "model.html")
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("L", (20, 20)).save(tmp_path / "images" / name / f"{number}.png")
    for suffix in ("tflite", "svg", "png"):
        (tmp_path / f"notes.{suffix}").write_text("notes\n")
    np.savez(tmp_path / "arrays.npz", data=np.zeros(3))
    (tmp_path / "link.tflite").symlink_to("model.h5")
    (tmp_path / "link.html").symlink_to("model.tflite")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "evaluation.json").write_text('{"mine": 1}')
    return tmp_path


@pytest.mark.parametrize("name", REFUSED)
def test_a_command_refuses_before_any_work(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    module = importlib.import_module(f"el_larq.cli.{REFUSED[name].split()[0].replace('-', '_')}")
    monkeypatch.setattr(module, "start_tensorflow", lambda: pytest.fail("TensorFlow was started"), raising=False)
    before = _kept(place)
    with pytest.raises(SystemExit) as end:
        main(REFUSED[name].split())
    printed = capfd.readouterr()
    assert end.value.code == 2
    assert printed.out == ""
    assert printed.err.startswith("el-larq: cannot write ")
    assert printed.err.count("\n") == 1
    assert _kept(place) == before


def test_a_trained_model_survives_the_real_command(el_larq_command: Callable[..., CompletedProcess[str]], place: Path) -> None:
    done = el_larq_command("convert", "model.h5", "-o", "model.h5", cwd=place)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "el-larq: cannot write to model.h5: it is the input model.h5; choose another name\n"
    assert (place / "model.h5").read_bytes() == (SEEDS / "model.h5").read_bytes()


def test_the_python_interface_refuses_too(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import el_larq
    from el_larq.evaluation.evaluate import evaluate
    from el_larq.inspection.inspect import inspect
    from el_larq.inspection.layer_plot import plot
    from el_larq.inspection.weights import binary_kernels, write_weights

    monkeypatch.chdir(place)
    before = _kept(place)
    with pytest.raises(UsageError, match="it is the input"):
        el_larq.convert("model.h5", "model.h5")
    with pytest.raises(UsageError, match="must end in"):
        write_weights(binary_kernels("model.tflite").layers, "model.h5", "test")
    with pytest.raises(UsageError, match="it is the input"):
        plot(inspect("model.tflite"), Path("model.tflite"))
    with pytest.raises(UsageError, match="it is the input"):
        evaluate("model.tflite", "digits", out="model.tflite")
    with pytest.raises(UsageError, match="not a folder"):
        el_larq.train("resnet26", dataset="digits", width=0.125, epochs=1, out="model.h5")
    assert _kept(place) == before


def test_a_page_may_lie_in_the_run_it_is_about(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place / "run")
    for _ in range(2):
        with pytest.raises(SystemExit) as end:
            main(["report", "."])
        assert end.value.code == 0
    assert (place / "run" / "report.html").read_bytes().startswith(b"<!")
