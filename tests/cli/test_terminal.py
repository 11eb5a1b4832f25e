"""Text of files and devices reaches the terminal with nothing in it that the terminal obeys."""

import json
import logging
import os
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from PIL import Image

from el_larq import card
from el_larq.cli.common import print_table, say, show
from el_larq.cli.main import main

Command = Callable[..., CompletedProcess[str]]

SEEDS = Path(__file__).parents[1] / "fuzz" / "seeds"
EVIL = "\x1b]0;owned\x07\x1b[2J\rel-larq: forged\u202e\x9b31m"
SHOWN = r"\x1b]0;owned\x07\x1b[2J\rel-larq: forged\u202e\x9b31m"
_OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def _check(text: str, *, holds: str = SHOWN) -> None:
    assert not _OBEYED.search(text), ascii(text)
    assert not re.search("^el-larq: forged", text, re.MULTILINE)
    assert holds in text, ascii(text)


def _run(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    capfd.readouterr()
    with pytest.raises(SystemExit) as end:
        main(arguments)
    out, err = capfd.readouterr()
    return int(end.value.code or 0), out, err


def _labelled(path: Path) -> Path:
    """A model whose card says that every class is called something evil."""
    shutil.copy(SEEDS / path.name, path)
    if path.suffix == ".tflite":
        from el_larq.converters.rewrite import with_metadata
        from el_larq.tflite.reader import parse

        content = path.read_bytes()
        facts = json.loads(parse(content).metadata[card.NAME])
        path.write_bytes(with_metadata(content, card.NAME, json.dumps(facts | _labels()).encode()))
    else:
        card.attach(path, card.read(path) | _labels())
    return path


def _labels() -> dict[str, list[str]]:
    return {"labels": [f"{EVIL}\n{number}" for number in range(10)]}


def test_labels_of_a_card_and_names_of_images(el_larq_here: Command, tmp_path: Path) -> None:
    image = tmp_path / f"{EVIL}.png"
    shutil.copy(SEEDS / "image.png", image)
    done = el_larq_here("predict", _labelled(tmp_path / "model.tflite"), image)
    assert done.returncode == 0, done.stderr
    _check(done.stdout)
    lines = done.stdout.splitlines()
    assert lines[0].endswith(f"{SHOWN}.png")
    assert len(lines) == 6
    assert all(SHOWN in line for line in lines)


def test_labels_of_a_keras_model_and_a_name_that_is_not_utf_8(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    image = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
    shutil.copy(SEEDS / "image.png", image)
    status, out, _err = _run(["predict", str(_labelled(tmp_path / "model.h5")), str(image)], capfd)
    assert status == 0
    _check(out)
    assert r"\udcff.png" in out
    status, out, err = _run(
        ["evaluate", str(tmp_path / "model.h5"), "--dataset", "digits", "--images", "8", "-o", str(tmp_path / EVIL)], capfd
    )
    assert status == 0, err
    _check(out)


def test_names_of_tensors_and_files_in_inspect(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from el_larq.tflite.reader import parse

    content = (SEEDS / "model.tflite").read_bytes()
    graph = parse(content)
    for name in {
        *(tensor.name for tensor in (*graph.inputs, *graph.outputs)),
        *(o.outputs[0].name for o in graph.operators if o.outputs[0]),
    }:
        stored, evil = name.encode(), b"\x1b[2J\n\x07\r" * 20
        size = len(stored).to_bytes(4, "little")
        content = content.replace(size + stored + b"\0", size + evil[: len(stored)] + b"\0")
    path = tmp_path / f"{EVIL}.tflite"
    path.write_bytes(content)
    for more in ([], ["--audit"]):
        status, out, err = _run(["inspect", str(path), *more], capfd)
        assert status == 0, err
        _check(out)
    assert r"\x1b[2J\n" in _run(["inspect", str(path)], capfd)[1]
    status, out, err = _run(["inspect", str(tmp_path / f"missing{EVIL}.tflite")], capfd)
    assert (status, out, err.count("\n")) == (1, "", 1)
    _check(err)


def test_what_a_benchmark_binary_says(el_larq_command: Command, tmp_path: Path) -> None:
    binary = tmp_path / f"bench{EVIL}"
    binary.write_text(
        "#!/bin/sh\nprintf 'ERROR: \\033[2J\\033]0;owned\\007 no\\rel-larq: forged\\nel-larq: forged\\n' >&2\nexit 1\n"
    )
    binary.chmod(0o755)
    shutil.copy(SEEDS / "model.tflite", tmp_path / "model.tflite")
    done = el_larq_command("benchmark", "model.tflite", "--binary", binary, "--repeat", "1", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    _check(done.stderr, holds=r"\x1b[2J\x1b]0;owned\x07 no")
    assert SHOWN in done.stderr


def test_names_of_classes_and_folders(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in (EVIL, f"{EVIL}\n2"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(10):
            Image.new("L", (20, 20)).save(tmp_path / "set" / name / f"{number}.png")
    (tmp_path / "set" / EVIL / f"10{EVIL}.png").write_text("not an image")
    status, out, err = _run(["data", "show", f"dir:{tmp_path / 'set'}", "-o", str(tmp_path / f"{EVIL}.png")], capfd)
    assert status == 0, err
    _check(out)
    _check(err)


def test_a_report(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run, page = tmp_path / f"run $\\frac{{$ {EVIL}", tmp_path / f"{EVIL}.html"
    shutil.copytree(SEEDS / "run", run)
    status, out, err = _run(["report", str(run), "-o", str(page)], capfd)
    assert status == 0, err
    _check(out)
    _check(page.read_text("utf-8"))


def test_traces_warnings_and_log_lines(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, _out, err = _run(["inspect", f"{EVIL}.tflite", "-v"], capfd)
    assert status == 1
    assert "Traceback" in err
    _check(err)
    _check(warnings.formatwarning(UserWarning(EVIL), UserWarning, "file.py", 1))
    handler = logging.StreamHandler()
    logger = logging.getLogger("el_larq.test")
    logger.addHandler(handler)
    try:
        logger.warning("%s", EVIL)
    finally:
        logger.removeHandler(handler)
    _check(capfd.readouterr().err)


def test_every_way_to_print(capfd: pytest.CaptureFixture[str]) -> None:
    show(EVIL)
    say(EVIL)
    print_table(EVIL, (EVIL, "b"), [(EVIL, 1)])
    out, err = capfd.readouterr()
    _check(out)
    _check(err)
