"""docs/embed: the programs give the network what el-larq gives it, bit for bit, and name the classes that el-larq names.

Pictures are photographs of several sizes and shapes. Compilers that are not installed skip their tests.
"""

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import embed_kotlin
import embed_program
import numpy as np
import pytest
from embed_program import EMBED
from PIL import Image

from el_larq.card import NAME
from el_larq.converters.rewrite import with_metadata
from el_larq.data.preprocessing import Preprocessing
from el_larq.evaluation.predict import predict
from el_larq.tflite.reader import parse

SHAPES = {"colour": (24, 20, 3), "grey": (16, 16, 1)}
LABELS = ["cat", 'a "quoted" \\ label', "Käse, 猫", "😀", "z"]

HOW: dict[str, dict[str, Any]] = {
    "range -1 to 1": {"mean": 127.5, "std": 127.5},
    "per channel, cropped": {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "crop": 0.875},
    "bicubic": {"mean": 0.0, "std": 255.0, "resampling": "bicubic"},
    "bgr": {"mean": [103.939, 116.779, 123.68], "std": 33.3, "channel_order": "bgr", "crop": 0.61, "resampling": "bicubic"},
    "stretched": {"mean": [123.675, 116.28, 103.53], "std": 58.0, "stretch": True},
    "the picture's own": {},
    "the picture's own, bgr": {"channel_order": "bgr"},
}
# NumPy sums float32 values; the programs, float64. Inputs are of the order of 1.
OWN_BOUND = 2e-6


def _fields(shape: tuple[int, int, int], how: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {"height": shape[0], "width": shape[1], "channels": shape[2], "mean": None, "std": None, **how}
    for name in ("mean", "std"):
        if isinstance(fields[name], list):
            fields[name] = fields[name][: shape[2]]
    if shape[2] == 1:
        fields.pop("channel_order", None)
    return fields


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two photographs and parts of them as PPM and PGM: tall, wide, smaller than the input, one pixel, a line."""
    from skimage.data import camera
    from sklearn.datasets import load_sample_image

    folder = tmp_path_factory.mktemp("pictures")
    china = Image.fromarray(load_sample_image("china.jpg"))
    parts = {
        "china": china,
        "camera": Image.fromarray(camera()),
        "tall": china.crop((100, 0, 187, 427)),
        "wide": china.crop((0, 200, 640, 231)),
        "odd": china.crop((3, 4, 334, 333)),
        "same": china.crop((200, 200, 220, 224)),
        "small": china.resize((7, 5)),
        "pixel": china.crop((5, 5, 6, 6)),
        "line": china.crop((5, 5, 6, 200)),
    }
    for name, image in parts.items():
        image.save(folder / f"{name}.ppm")
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return embed_program.build(tmp_path_factory.mktemp("program"))


@pytest.fixture(scope="session")
def dense(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models of one dense layer, float and int8, which the stub of TensorFlow Lite computes."""
    return embed_program.dense_models(tmp_path_factory.mktemp("dense"), SHAPES, LABELS)


def _with_card(model: Path, path: Path, card: dict[str, Any] | bytes) -> Path:
    content = card if isinstance(card, bytes) else json.dumps(card).encode()
    path.write_bytes(with_metadata(model.read_bytes(), NAME, content))
    return path


def _prepare(program: list[str | Path], model: Path, picture: Path) -> bytes:
    done = subprocess.run([*program, "--prepare", model, picture], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def script() -> ModuleType:
    """classify.py as a module."""
    spec = importlib.util.spec_from_file_location("embedded_classify", EMBED / "classify.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _equal(got: np.ndarray, wanted: np.ndarray, fields: dict[str, Any]) -> None:
    if fields["mean"] is None:
        np.testing.assert_allclose(got, wanted, rtol=0, atol=OWN_BOUND)
    else:
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("how", HOW)
def test_pictures_are_prepared_as_in_training(
    program: Path, script: ModuleType, dense: dict[str, Path], pictures: list[Path], tmp_path: Path, kind: str, how: str
) -> None:
    fields = _fields(SHAPES[kind], HOW[how])
    preprocessing = Preprocessing.from_dict(fields)
    model = _with_card(dense[kind], tmp_path / "model.tflite", {"preprocessing": preprocessing.to_dict()})
    for picture in pictures:
        wanted = preprocessing.load(picture)
        _equal(np.frombuffer(_prepare([program], model, picture), np.float32).reshape(wanted.shape), wanted, fields)
        _equal(script.prepare(picture, preprocessing.to_dict()), wanted, fields)


def test_the_program_for_arm_prepares_alike(dense: dict[str, Path], pictures: list[Path], tmp_path: Path) -> None:
    emulator = shutil.which("qemu-aarch64")
    if emulator is None:
        pytest.skip("qemu-aarch64 is not installed (apt-get install qemu-user)")
    arm = embed_program.build(tmp_path, "aarch64-linux-gnu-g++")
    for how in ("per channel, cropped", "bgr"):
        preprocessing = Preprocessing.from_dict(_fields(SHAPES["colour"], HOW[how]))
        model = _with_card(dense["colour"], tmp_path / "model.tflite", {"preprocessing": preprocessing.to_dict()})
        for picture in pictures:
            wanted = preprocessing.load(picture)
            got = np.frombuffer(_prepare([emulator, arm], model, picture), np.float32)
            np.testing.assert_array_equal(got.reshape(wanted.shape), wanted)


def test_the_python_file_prepares_files_of_cameras_alike(script: ModuleType, tmp_path: Path) -> None:
    """Large JPEGs, which are decoded at a fraction of their size, rotated ones, transparency and palettes."""
    from sklearn.datasets import load_sample_image

    china = Image.fromarray(load_sample_image("china.jpg"))
    large = china.resize((1920, 1281))
    large.save(tmp_path / "large.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    large.save(tmp_path / "rotated.jpg", exif=exif)
    china.save(tmp_path / "rotated.png", exif=exif)
    china.save(tmp_path / "rotated.webp", exif=exif)
    china.save(tmp_path / "rotated.tiff", exif=exif)
    china.convert("RGBA").save(tmp_path / "alpha.png")
    china.quantize(64).save(tmp_path / "palette.png")
    china.convert("CMYK").save(tmp_path / "cmyk.jpg")
    for shape in SHAPES.values():
        fields = _fields(shape, HOW["per channel, cropped"])
        for path in tmp_path.iterdir():
            np.testing.assert_array_equal(
                script.prepare(path, fields), Preprocessing.from_dict(fields).load(path), err_msg=f"{path.name} {shape}"
            )


def _quantized(values: np.ndarray, model: Path) -> np.ndarray:
    """Independent of the programs: exact arithmetic on the float32 quotient."""
    from el_larq.tflite.interpreter import Interpreter

    found = Interpreter(model.read_bytes())._interpreter
    quotients = values / np.float32(found.input_scales[0]) + np.float32(found.input_zero_points[0])
    return np.clip(np.rint(quotients), -128, 127).astype(np.int8)


def test_int8_inputs_have_the_scale_of_the_file(
    program: Path, script: ModuleType, dense: dict[str, Path], pictures: list[Path], tmp_path: Path
) -> None:
    from el_larq.tflite.interpreter import Interpreter

    fields = _fields(SHAPES["colour"], {"mean": 120.0, "std": 60.0})
    model = _with_card(dense["colour int8"], tmp_path / "model.tflite", {"preprocessing": fields})
    found = Interpreter(model.read_bytes())._interpreter
    for picture in pictures:
        values = Preprocessing.from_dict(fields).load(picture)
        wanted = _quantized(values, model)
        assert len(np.unique(wanted)) > 1 or picture.stem == "pixel"
        np.testing.assert_array_equal(np.frombuffer(_prepare([program], model, picture), np.int8).reshape(wanted.shape), wanted)
        np.testing.assert_array_equal(script.quantize(values, found.input_scales[0], found.input_zero_points[0]), wanted)


@pytest.mark.parametrize("kind", ["colour", "grey", "colour int8"])
def test_the_programs_name_the_classes_that_el_larq_names(
    program: Path,
    script: ModuleType,
    dense: dict[str, Path],
    pictures: list[Path],
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    wanted = [prediction.top[0][0] for prediction in predict(dense[kind], list(pictures))]
    lines = [f"{LABELS.index(label)} {label}" for label in wanted]
    assert len(set(lines)) > 1
    done = subprocess.run([program, dense[kind], *pictures], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == lines
    # A camera's pictures, one after another.
    camera = b"".join(picture.read_bytes() for picture in pictures)
    done = subprocess.run([program, dense[kind], "-"], input=camera, capture_output=True, check=True)
    assert done.stdout.decode().splitlines() == lines
    script.main(dense[kind], *pictures)
    assert capsys.readouterr().out.splitlines() == [f"{picture} {line}" for picture, line in zip(pictures, lines, strict=True)]


@pytest.fixture(scope="session")
def boxes_of_a_dense_layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a detector's outputs, which the stub can compute: five rows, of which the fourth has a score below 0.5."""
    import tf_keras as keras

    import el_larq

    image = keras.Input(SHAPES["colour"])
    flat = keras.layers.Flatten()(image)
    rows = {"boxes": 0.5, "classes": [3, 0, 9, 1, 2], "scores": [0.9, 0.8, 0.6, 0.4, 0.3], "count": 5}
    outputs = []
    for name, values in rows.items():
        size = 20 if name == "boxes" else np.size(values)
        layer = keras.layers.Dense(size, name=name)
        outputs.append(layer(flat))
        kernel = np.random.default_rng(0).normal(0, 0.02 if name == "boxes" else 0, (flat.shape[1], size))
        layer.set_weights([kernel, np.broadcast_to(values, size)])
    path = tmp_path_factory.mktemp("boxes") / "model.tflite"
    fields = dict(zip(("height", "width", "channels"), SHAPES["colour"], strict=True)) | {
        "mean": 120.0,
        "std": 60.0,
        "stretch": True,
    }
    el_larq.convert(keras.Model(image, outputs), path, card={"labels": LABELS, "preprocessing": fields})
    return path


def test_the_programs_print_objects_in_pixels(
    program: Path, script: ModuleType, boxes_of_a_dense_layer: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    from el_larq.tflite.interpreter import Interpreter

    model = boxes_of_a_dense_layer
    content = model.read_bytes()
    how = json.loads(parse(content).metadata[NAME])["preprocessing"]
    seen = [path for path in pictures if path.stem in ("tall", "wide", "china")]
    inputs = np.stack([Preprocessing.from_dict(how).load(path) for path in seen])
    boxes = np.clip(Interpreter(content).run(inputs)[0].reshape(-1, 5, 4), 0, 1)
    assert ((boxes > 0) & (boxes < 1)).mean() > 0.3
    wanted = []
    for picture, found in zip(seen, boxes, strict=True):
        with Image.open(picture) as image:
            scale = np.array([image.height, image.width] * 2)
        for (top, left, bottom, right), score, label in zip(
            found * scale, (0.9, 0.8, 0.6), (LABELS[3], LABELS[0], ""), strict=False
        ):
            wanted.append((picture, [score, left, top, right, bottom], label))
    done = subprocess.run([program, model, *seen], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[::4] == ["3 objects"] * len(seen)
    script.main(model, *seen)
    printed = capsys.readouterr().out.splitlines()
    for line, other, (picture, numbers, label) in zip(
        [line for index, line in enumerate(lines) if index % 4], printed, wanted, strict=True
    ):
        for words in (line.split(" ", 5), other.removeprefix(f"{picture} ").split(" ", 5)):
            np.testing.assert_allclose(list(map(float, words[:5])), numbers, atol=0.06)
            assert "".join(words[5:]) == label


def test_raw_inputs_give_the_bytes_of_all_outputs(program: Path, dense: dict[str, Path], tmp_path: Path) -> None:
    from el_larq.tflite.interpreter import Interpreter

    images = np.random.default_rng(0).standard_normal((3, *SHAPES["grey"])).astype(np.float32)
    (tmp_path / "inputs.raw").write_bytes(images.tobytes())
    done = subprocess.run([program, "--raw", dense["grey"], tmp_path / "inputs.raw"], capture_output=True, text=True, check=True)
    words = [line.split() for line in done.stdout.splitlines()]
    assert [word for word, _ in words] == ["outputs"] * 3
    got = np.stack([np.frombuffer(bytes.fromhex(values), np.float32) for _, values in words])
    (wanted,) = Interpreter(dense["grey"].read_bytes()).run(images)
    np.testing.assert_allclose(got, wanted, atol=1e-5)


GREY = {"height": 16, "width": 16, "channels": 1, "mean": 0.0, "std": 1.0}


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        (b"", "does not say how pictures are prepared"),
        ({"labels": ["a"]}, "does not say how pictures are prepared"),
        (b'{"labels": ["a", ', "card is damaged"),
        (b'{"labels": "\\u12', "card is damaged"),
        (b"[" * 1000, "card is damaged"),
        ({"preprocessing": GREY | {"height": 8}}, "for another size"),
        ({"preprocessing": GREY | {"height": -8}}, "card is damaged"),
        ({"preprocessing": GREY | {"height": 20000, "width": 20000}}, "card is damaged"),
        ({"preprocessing": GREY | {"height": 8192, "width": 8192}}, "for another size"),
        ({"preprocessing": GREY | {"height": 1e300}}, "card is damaged"),
        ({"preprocessing": GREY | {"height": 16.5}}, "card is damaged"),
        ({"preprocessing": GREY | {"std": 0.0}}, "card is damaged"),
        ({"preprocessing": GREY | {"std": -1.0}}, "card is damaged"),
        (b'{"preprocessing": {"height": 16, "width": 16, "channels": 1, "mean": 0, "std": 1e999}}', "card is damaged"),
        ({"preprocessing": GREY | {"std": None}}, "card is damaged"),
        ({"preprocessing": GREY | {"channels": 2}}, "card is damaged"),
        ({"preprocessing": GREY | {"mean": [1.0, 2.0]}}, "card is damaged"),
        ({"preprocessing": GREY | {"gamma": 2.2}}, "a preprocessing that this program does not know: gamma"),
        ({"preprocessing": GREY | {"resampling": "lanczos"}}, "a preprocessing that this program does not know: resampling"),
    ],
)
def test_a_card_that_does_not_fit_is_one_clear_line(
    program: Path, dense: dict[str, Path], pictures: list[Path], tmp_path: Path, card: dict[str, Any] | bytes, reason: str
) -> None:
    model = _with_card(dense["grey"], tmp_path / "model.tflite", card)
    _fails([program, model, pictures[0]], reason)


def _fails(command: list[str | Path], reason: str, stdin: bytes = b"") -> None:
    done = subprocess.run(command, input=stdin, capture_output=True, check=False)
    (line,) = done.stderr.decode().splitlines()
    assert done.returncode == 1
    assert line.startswith("classify: ")
    assert reason in line


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x89PNG\r\n", "not a binary PPM"),
        (b"P6\n4 4\n65535\n" + bytes(96), "not a PPM of 8 bits"),
        (b"P6\n-4 4\n255\n" + bytes(96), "not a PPM of 8 bits"),
        (b"P6\n100000 100000\n255\n", "at most 100 million pixels"),
        (b"P6\n4 4\n255\n" + bytes(47), "fewer pixels than it declares"),
    ],
)
def test_pictures_that_cannot_be_read(program: Path, dense: dict[str, Path], tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "picture.ppm").write_bytes(content)
    _fails([program, dense["grey"], tmp_path / "picture.ppm"], reason)
    _fails([program, dense["grey"], "-"], reason, content)


def test_files_and_arguments_that_cannot_be_used(
    program: Path, dense: dict[str, Path], data_folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "inputs.raw").write_bytes(bytes(4 * 256 + 1))
    _fails([program], "usage: ")
    _fails([program, dense["grey"]], "usage: ")
    _fails([program, "--raw", dense["grey"]], "usage: ")
    _fails([program, "--prepare", dense["grey"], *pictures[:2]], "usage: ")
    _fails([program, tmp_path / "missing.tflite", pictures[0]], "the model cannot be read")
    _fails([program, data_folder / "t1.tflite", pictures[0]], "the model is refused")
    _fails([program, dense["grey"], tmp_path / "missing.ppm"], "cannot be read")
    _fails([program, "--raw", dense["grey"], tmp_path / "inputs.raw"], "not as many bytes as the model takes")


def test_the_python_file_runs_binary_models_with_lce_only(
    small: Any, script: ModuleType, digit_png: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script.main(small.tflite, digit_png)
    label = predict(small.tflite, [digit_png])[0].top[0][0]
    assert capsys.readouterr().out.split()[1:] == [label, label]
    monkeypatch.setitem(sys.modules, "larq_compute_engine", None)
    with pytest.raises(
        ValueError, match=r"binary layers, which LiteRT cannot run; install larq-compute-engine, or use classify\.cc"
    ):
        script.main(small.tflite, digit_png)


def test_the_python_file_is_clear_about_damaged_models_and_foreign_formats(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "empty.tflite").touch()
    command = [sys.executable, EMBED / "classify.py", tmp_path / "empty.tflite", "picture.png"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = "empty.tflite has no card of el-larq that says how pictures are prepared, or is damaged\n"
    assert (done.returncode, done.stderr) == (1, f"classify.py: {tmp_path}/{said}")
    Image.new("L", (4, 4)).save(tmp_path / "picture.eps")
    with pytest.raises(OSError, match="cannot identify image file"):
        script.prepare(tmp_path / "picture.eps", GREY)


def test_the_python_file_says_what_is_missing(
    script: ModuleType, dense: dict[str, Path], data_folder: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="the model has no card of el-larq"):
        script.main(data_folder / "float.tflite", pictures[0])
    with pytest.raises(ValueError, match="does not know: gamma"):
        script.prepare(pictures[0], GREY | {"gamma": 2.2})
    for name in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match="no interpreter: install ai-edge-litert, tflite-runtime or tensorflow"):
        script.main(dense["grey"], pictures[0])


@pytest.mark.slow
def test_the_python_file_runs_without_el_larq(
    small: Any, dense: dict[str, Path], pictures: list[Path], digit_png: Path, tmp_path: Path
) -> None:
    shutil.copy(EMBED / "classify.py", tmp_path)
    # Nothing selects Keras 2 for it, and el_larq cannot be imported.
    (tmp_path / "el_larq.py").write_text("raise ImportError\n")
    for model, picture in ((small.tflite, digit_png), (dense["colour int8"], pictures[0])):
        command = [sys.executable, "classify.py", model, picture]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={"PATH": "/usr/bin"}, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.rstrip("\n").endswith(f" {predict(model, [picture])[0].top[0][0]}")


@pytest.mark.slow
def test_the_kotlin_classes_prepare_alike(pictures: list[Path], tmp_path: Path) -> None:
    command = embed_kotlin.build(tmp_path)
    for kind, how in [("colour", how) for how in HOW if how != "stretched"] + [("grey", "bicubic")]:
        fields = _fields(SHAPES[kind], HOW[how])
        preprocessing = Preprocessing.from_dict(fields)
        words = [str(fields[name]) for name in ("height", "width", "channels")]
        for name in ("mean", "std"):
            value = fields[name]
            words.append("-" if value is None else ",".join(map(str, value if isinstance(value, list) else [value])))
        words += [str(preprocessing.crop), str(preprocessing.channel_order == "bgr").lower()]
        words += [str(preprocessing.resampling == "bicubic").lower(), "0.017", "-3"]
        done = subprocess.run([*command, *words, *pictures], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        for picture, real, small in zip(pictures, lines[::2], lines[1::2], strict=True):
            wanted = preprocessing.load(picture)
            got = np.array([int(word, 16) for word in real.split()], np.uint32).view(np.float32).reshape(wanted.shape)
            _equal(got, wanted, fields)
            quantized = np.clip(np.rint(got / np.float32(0.017) + np.float32(-3)), -128, 127)
            np.testing.assert_array_equal(np.array(small.split(), int).reshape(wanted.shape), quantized)


def test_the_documented_command_prints_the_card() -> None:
    (line,) = re.findall(r"^    (python -c .*) > card\.json$", (EMBED / "README.md").read_text("utf-8"), re.MULTILINE)
    _python, *arguments, model = shlex.split(line)
    assert model == "model.tflite"
    seeds = Path(__file__).parent / "fuzz" / "seeds"
    done = subprocess.run([sys.executable, *arguments, model], cwd=seeds, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["labels"]
