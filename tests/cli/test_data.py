import json
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import click.testing
import numpy as np
import pytest
from peak_memory import measured
from PIL import Image

from el_larq.cli.data import command
from el_larq.data.dataset_registry import load_dataset
from el_larq.data.sheet import draw
from el_larq.errors import ElLarqError


def write_set(folder: Path, count: int = 5) -> Path:
    """A class of red and one of blue images, 20x20."""
    for name, colour in (("red", (200, 0, 0)), ("blue", (0, 0, 100))):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (20, 20), colour).save(folder / name / f"{number}.png")
    return folder


def test_show_draws_what_training_sees(tmp_path: Path, el_larq_here: Callable[..., CompletedProcess[str]]) -> None:
    write_set(tmp_path / "set")
    (tmp_path / "set" / "red" / "0.png").write_text("no image")
    result = el_larq_here("data", "show", "dir:set", "-o", "sheet.png", "--count", 4, "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines()[-1] == "1 of 10 images cannot be read and are left out"
    facts = json.loads(result.stdout)
    assert facts["dataset"] == f"dir:{tmp_path / 'set'}"
    assert facts["skipped"] == [str(tmp_path / "set" / "red" / "0.png")]
    assert sum(facts["classes"]["train"].values()) == facts["images"]["train"] == 7
    reds = facts["classes"]["train"]["red"]
    np.testing.assert_allclose(facts["mean"], [200 * reds / 7, 0, 100 * (7 - reds) / 7], atol=0.01)
    np.testing.assert_allclose(facts["std"][0], 200 * np.sqrt(reds / 7 * (1 - reds / 7)), atol=0.01)
    with Image.open(tmp_path / "sheet.png") as sheet:
        found: Any = sheet.getcolors(1 << 16)
        colours = {colour for _, colour in found}
    assert (200, 0, 0) in colours or (0, 0, 100) in colours
    assert colours <= {(200, 0, 0), (0, 0, 100)} | {c for c in colours if len(set(c)) == 1}


def test_show_counts_every_split_and_says_what_is_held_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def show() -> str:
        command.main(["show", f"dir:{tmp_path / 'set'}", "-o", str(tmp_path / "sheet.png")], standalone_mode=False)
        return " ".join(capsys.readouterr().out.split())

    for name in ("Train", "VAL"):
        write_set(tmp_path / "set" / name)
    said = show()  # without a test split, the validation split is the one that is tested on
    assert "images 10 for training, 10 for testing, 20x20x3" in said
    assert "validation el-larq train holds out 10% of the training images" in said
    write_set(tmp_path / "set" / "test")
    said = show()
    assert "class ┃ train ┃ test ┃ validation" in said
    assert "images 10 for training, 10 for testing, 10 for validation" in said
    assert "holds out" not in said


def test_show_draws_the_boxes_of_objects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A grey image with one object, whose box is drawn in the colour of its class."""
    for folder in ("images", "labels"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (100, 100), (90, 90, 90)).save(tmp_path / "set" / "images" / f"{number}.png")
        (tmp_path / "set" / "labels" / f"{number}.txt").write_text("1 0.5 0.6 0.4 0.4\n")
    (tmp_path / "set" / "labels" / "2.txt").write_text("1 0.5 0.6 0.4 0.4\n2 0.5 0.5 0.1 0.1\n")
    (tmp_path / "set" / "classes.txt").write_text("cup\nplate\n")
    sheet = tmp_path / "sheet.png"
    arguments = ["show", f"yolo:{tmp_path / 'set'}", "-o", str(sheet), "--count", "1", "--image-size", "100", "--augment", "none"]
    command.main(arguments, standalone_mode=False)
    said = capsys.readouterr()
    assert "1 box is of an unknown class (left out; " in said.err
    assert "│ plate │     2 │    1 │" in said.out
    assert "objects" in said.out
    assert "el-larq train holds out 10%" in said.out
    with Image.open(sheet) as image:
        tile = np.asarray(image.convert("RGB"))[4:104, 4:104]
    green = (tile == (0x3C, 0xB4, 0x4B)).all(axis=-1)
    assert green[79, 30:70].all()
    assert green[29:40, 30].all()  # the name's background
    assert green[40:80, 30].all()
    assert green[40:80, 69].all()
    assert not green[45:75, 35:65].any()
    assert not green[81:].any()
    with pytest.raises(ElLarqError, match="of an unknown class"):
        command.main([*arguments, "--strict"], standalone_mode=False)


def test_tiles_are_the_first_images_of_a_training(tmp_path: Path) -> None:
    data = load_dataset("digits")
    sheet = draw(data, 3, seed=5)
    assert sheet.picture.size == (2 * (64 + 4) + 4, 2 * (64 + 14 + 4) + 4)
    ((x, _),) = list(data.augmented_batches(3, seed=5).take(1))
    for number, (left, top) in enumerate(((4, 4), (72, 4), (4, 86))):
        tile = np.asarray(sheet.picture.crop((left, top, left + 64, top + 64)))
        np.testing.assert_array_equal(tile[::4, ::4, :1], x.numpy()[number])
    assert sheet.images == 1024


@pytest.mark.skipif(sys.platform == "win32", reason="has no getrusage")
def test_large_inputs_are_read_one_at_a_time(tmp_path: Path) -> None:
    """24 inputs of 2048x2048 in float64 are 2.4 GB, and as bytes 0.3 GB; TensorFlow alone takes about 0.6 GB."""
    write_set(tmp_path / "set", 15)
    program = Path(sys.executable).parent / "el-larq"
    words = ["data", "show", f"dir:{tmp_path / 'set'}", "-o", str(tmp_path / "sheet.png"), "--image-size", "2048"]
    done, peak = measured([str(program), *words])
    assert done.returncode == 0, done.stderr
    assert peak < 1.2e9
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (5 * (256 + 4) + 4, 5 * (256 + 14 + 4) + 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digits", "-o", "sheet.gif"], "sheet.gif: its name must end in .png, .jpg or .jpeg"),
        (["digits", "-o", "none/sheet.png"], "the folder none does not exist"),
        (["digit", "-o", "sheet.png"], "unknown data set 'digit'; did you mean digits"),
        (["digits", "--augment", "crop", "-o", "sheet.png"], "digits is embedded"),
        (["dir:none", "-o", "sheet.png"], "no such folder"),
        (["voc:none", "-o", "sheet.png"], "no such folder"),
        (["shapes", "--augment", "none", "-o", "sheet.png"], "shapes is embedded"),
    ],
)
def test_wrong_use_is_refused_before_tensorflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("el_larq.cli.data.start_tensorflow", lambda: pytest.fail("TensorFlow was started"))
    result = click.testing.CliRunner().invoke(command, ["show", *arguments])
    assert isinstance(result.exception, ElLarqError)
    assert message in str(result.exception)
