"""`el-larq inspect` for readers: short by default, whole headings and numbers in a terminal of 80 columns, the scaling as text."""

import hashlib
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import tf_keras as keras

from el_larq.card import save_with
from el_larq.cli.table_width import fit

Command = Callable[..., CompletedProcess[str]]
MODEL = Path(__file__).parents[1] / "data" / "t1.tflite"


def _in_terminal(columns: int, *arguments: object) -> list[str]:
    """The lines that the installed command prints in a terminal, without colours."""
    leader, follower = pty.openpty()
    ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")} | {"TERM": "xterm"}
    command = [str(Path(sys.executable).parent / "el-larq"), *map(str, arguments)]
    with subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=environment) as process:
        os.close(follower)
        shown = b""
        while True:
            try:
                read = os.read(leader, 65536)
            except OSError:  # Linux reports the end of a terminal so
                break
            if not read:
                break
            shown += read
    os.close(leader)
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())
    assert process.returncode == 0, text
    return [line.rstrip() for line in text.replace("\r\n", "\n").splitlines()]


def _cells(lines: list[str]) -> list[list[str]]:
    return [[cell.strip() for cell in re.split("[┃│]", line)[1:-1]] for line in lines if line.startswith(("┃", "│"))]


def test_without_options_it_fits_a_screen(el_larq_command: Command) -> None:
    lines = _in_terminal(80, "inspect", MODEL)
    assert len(lines) <= 26
    assert max(map(len, lines)) <= 80
    headings, *rows = _cells(lines)
    assert headings == ["kind", "count", "weights kB", "bits", "MACs"]
    content = json.loads(el_larq_command("inspect", MODEL, "--json").stdout)
    layers = content["layers"]
    assert sum(int(row[1]) for row in rows) == len(layers)
    assert sum(int(row[4].replace(",", "")) for row in rows if row[4]) == sum(layer["macs"] for layer in layers)
    binary = [layer for layer in layers if layer["kind"] == "LceBconv2d"]
    kilobytes = f"{sum(layer['memory'] for layer in binary) / 1000:,.1f}"
    assert rows[0] == ["LceBconv2d", str(len(binary)), kilobytes, "1", f"{content['bops']:,}"]
    assert "details    --full shows each layer and all of the card, --json everything" in lines


def test_every_layer_at_80_columns(el_larq_command: Command) -> None:
    lines = _in_terminal(80, "inspect", MODEL, "--full")
    assert max(map(len, lines)) <= 80
    end = next(i for i, line in enumerate(lines) if line.startswith("┡"))
    headings = [" ".join(filter(None, column)) for column in zip(*_cells(lines[:end]), strict=True)]
    assert headings == ["layer", "kind", "output", "bits", "MACs", "weights kB"]
    text = "\n".join(lines)
    assert "not shown at 80 columns, but with --json: 1-bit weights, 32-bit weights, output kB, live kB" in " ".join(text.split())
    layers = json.loads(el_larq_command("inspect", MODEL, "--json").stdout)["layers"]
    assert all(f" {layer['macs']:,} │" in text for layer in layers if layer["macs"])
    wide = _in_terminal(200, "inspect", MODEL, "--full")
    assert "32-bit weights" in "\n".join(wide)
    assert "not shown" not in "\n".join(wide)


@pytest.mark.parametrize(
    ("stated", "shown"),
    [
        (
            {"mean": [132.8, 93.5, 80.4], "std": [70.3, 56.1, 56.0]},
            "(x - mean) / std of x from 0 to 255, mean 132.8 93.5 80.4, std 70.3 56.1 56, channels in the order RGB",
        ),
        (
            {"mean": 127.5, "std": 127.5, "channel_order": "bgr"},
            "(x - 127.5) / 127.5 of x from 0 to 255, channels in the order BGR",
        ),
        ({}, "(x - mean) / std with the mean and std of each image, channels in the order RGB"),
        ({"mean": 10**400, "std": 1}, "the preprocessing on its card is damaged"),
    ],
)
def test_the_scaling_of_the_input_is_shown(stated: dict[str, object], shown: str, tmp_path: Path, el_larq_here: Command) -> None:
    image = keras.Input((8, 8, 3), name="image")
    how = {"height": 8, "width": 8, "channels": 3, **stated}
    save_with({"preprocessing": how}, keras.Model(image, keras.layers.Conv2D(2, 3)(image)), tmp_path / "model.h5")
    for more in ([], ["--full"], ["--total"]):
        done = el_larq_here("inspect", tmp_path / "model.h5", *more)
        assert done.returncode == 0, done.stderr
        assert f"scaled as  {shown}\n" in done.stdout
    if isinstance(stated.get("mean"), list):
        assert "card       preprocessing: height 8, width 8, channels 3, mean 132.8 93.5 80.4, std 70.3 56.1 56.0\n" in done.stdout


def test_full_and_total_contradict(el_larq_here: Command) -> None:
    done = el_larq_here("inspect", MODEL, "--full", "--total")
    assert (done.returncode, done.stderr) == (2, "el-larq: --full shows everything, --total only totals; give one of them\n")


HEADINGS, ROWS, NUMERIC = (
    ["layer", "kind", "1-bit MACs", "kB"],
    [["a" * 30, "b" * 20, "1,234,567", "12.3"]],
    [False, False, True, True],
)


@pytest.mark.parametrize(
    ("width", "columns", "widths"),
    [
        (82, [0, 1, 2, 3], [None] * 4),  # 30 + 20 + 10 + 4 characters, and 13 for borders
        (77, [0, 1, 2, 3], [None] * 4),
        (76, [0, 1, 2, 3], [30, 20, 9, 4]),  # a heading breaks at its space before text is folded
        (75, [0, 1, 2, 3], [29, 20, 9, 4]),  # the longest text is folded first
        (63, [0, 1, 2, 3], [19, 18, 9, 4]),
        (58, [0, 1, 2, 3], [16, 16, 9, 4]),
        (57, [0, 1, 3], [23, 20, 4]),  # a number is not folded, so its column is left out
    ],
)
def test_columns_share_a_width(width: int, columns: list[int], widths: list[int | None]) -> None:
    assert fit(HEADINGS, ROWS, NUMERIC, ["1-bit MACs"], width) == (columns, widths)


def test_several_models_stand_side_by_side_with_the_accuracy_of_their_evaluations(el_larq_command: Command, tmp_path: Path) -> None:
    other = MODEL.with_name("float.tflite")
    figures = {"model": "x", "output": "y", "dataset": "digits", "images": 4, "top1": 0.75, "ece": 0.0}
    table = {"classes": [{"label": "a"}, {"label": "b"}], "confusion": [[2, 1], [0, 1]]}
    for name, sha256 in (("mine", hashlib.sha256(MODEL.read_bytes()).hexdigest()), ("others", "0" * 64)):
        (tmp_path / "evaluations" / name).mkdir(parents=True)
        (tmp_path / "evaluations" / name / "evaluation.json").write_text(json.dumps(figures | table | {"sha256": sha256}))
    result = el_larq_command("inspect", MODEL, other, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    headings, *rows = _cells(result.stdout.splitlines())
    assert headings == ["", str(MODEL), str(other)]
    assert rows[-1] == ["top-1 on digits, 4 images, %", "75.00", "-"]
    assert f"not evaluated, so without accuracy: {other}" in result.stderr
    first, second = json.loads(el_larq_command("inspect", MODEL, other, "--json", cwd=tmp_path).stdout)["models"]
    assert first["top1"] == {"digits, 4 images": 0.75}
    assert second["top1"] == {}
    assert first["size"] == MODEL.stat().st_size


def test_a_detector_has_its_average_precision_beside_its_size(el_larq_here: Command, tmp_path: Path) -> None:
    sha256 = hashlib.sha256(MODEL.read_bytes()).hexdigest()
    means = {"voc_all": 0.5, "coco": 0.25, "coco_75": 0.125}
    found = {"task": "detection", "model": "x", "dataset": "shapes", "images": 30, "sha256": sha256, "mean": means, "by_class": []}
    (tmp_path / "evaluations" / "one").mkdir(parents=True)
    (tmp_path / "evaluations" / "one" / "evaluation.json").write_text(json.dumps(found))
    result = el_larq_here("inspect", MODEL, MODEL.with_name("float.tflite"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert _cells(result.stdout.splitlines())[-1] == ["mAP@0.5 on shapes, 30 images, %", "50.00", "-"]
    first, second = json.loads(el_larq_here("inspect", MODEL, MODEL, "--json", cwd=tmp_path).stdout)["models"]
    assert (first["top1"], first["map_50"]) == ({}, {"shapes, 30 images": 0.5})
    assert "map_50" in second


def test_several_evaluations_of_a_model_are_told_apart_by_their_folders(el_larq_command: Command, tmp_path: Path) -> None:
    sha256 = hashlib.sha256(MODEL.read_bytes()).hexdigest()
    figures = {"model": "x", "output": "y", "dataset": "digits", "images": 4, "ece": 0.0, "sha256": sha256}
    table = {"classes": [{"label": "a"}, {"label": "b"}], "confusion": [[2, 1], [0, 1]]}
    for name, top1 in (("main", 0.75), ("other", 0.25)):
        (tmp_path / "scores" / name).mkdir(parents=True)
        (tmp_path / "scores" / name / "evaluation.json").write_text(json.dumps(figures | table | {"top1": top1}))
    result = el_larq_command("inspect", MODEL, MODEL, "--evaluations", "scores", "--json", cwd=tmp_path)
    first, _ = json.loads(result.stdout)["models"]
    assert first["top1"] == {"digits, 4 images, main": 0.75, "digits, 4 images, other": 0.25}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((MODEL, MODEL, "--full"), "are for one model"),
        ((MODEL, "--evaluations", "there"), "is for several models"),
        ((MODEL, "none.tflite"), "none.tflite: no such file"),
        ((MODEL, MODEL, "--evaluations", "none"), "none: no such folder"),
    ],
)
def test_what_several_models_cannot_have_is_refused(el_larq_command: Command, arguments: tuple[object, ...], said: str) -> None:
    result = el_larq_command("inspect", *arguments)
    assert result.returncode != 0
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
