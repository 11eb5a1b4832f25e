"""What the command line does for every command: errors as JSON, the user's modules, completion, silence of TensorFlow."""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import tf_keras as keras

from el_larq.card import save_with
from el_larq.cli.main import cli

Command = Callable[..., CompletedProcess[str]]

_LAYER = """
import tf_keras as keras

@keras.utils.register_keras_serializable("MODULE")
class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""


@pytest.mark.parametrize(
    ("arguments", "status", "error"),
    [
        (["inspect", "none.h5"], 1, "none.h5: no such file"),
        (["train", "resnet27"], 2, "unknown network 'resnet27'; did you mean"),
        (["inspect"], 2, "Missing argument 'MODEL...'. (see el-larq inspect --help)"),
    ],
)
def test_an_error_is_json_with_json(arguments: list[str], status: int, error: str, el_larq_here: Command) -> None:
    plain, result = el_larq_here(*arguments), el_larq_here(*arguments, "--json")
    assert plain.stderr.startswith(f"el-larq: {error}")
    assert (result.returncode, result.stdout) == (status, "")
    content = json.loads(result.stderr)
    assert (f"el-larq: {content['error']}\n", content["exit_status"]) == (plain.stderr, status)


@pytest.mark.parametrize("form", ["file", "name"])
def test_layers_are_imported_from_a_file_or_from_the_current_folder(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, el_larq_command: Command
) -> None:
    name = f"layers_in_a_{form}"
    (tmp_path / f"{name}.py").write_text(_LAYER.replace("MODULE", name))
    monkeypatch.syspath_prepend(tmp_path)
    image = keras.Input((8, 8, 1))
    save_with({}, keras.Model(image, importlib.import_module(name).Twice()(image)), tmp_path / "model.h5")
    given = f"{name}.py" if form == "file" else name
    result = el_larq_command("inspect", "model.h5", "--import", given, cwd=tmp_path)
    assert result.stderr == ""
    assert result.returncode == 0
    missing = el_larq_command("inspect", "model.h5", "--import", "none.py", cwd=tmp_path)
    assert missing.stderr == "el-larq: cannot import none.py: there is no such file\n"


def test_python_starts_tensorflow_silently_and_without_collecting_garbage(small: Any) -> None:
    collections = "import gc; phases = []; gc.callbacks.append(lambda phase, _: phases.append(phase)); gc.collect()"
    # A collection has two phases; one comes before the import and one after it.
    start = "import tensorflow as tf; assert len(phases) <= 4, phases; assert gc.isenabled(); tf.zeros([1])"
    script = f"import el_larq; {collections}; {start}; el_larq.load_model({str(small.h5)!r})"
    for level, silent in ((None, True), ("0", False)):
        environment = {} if level is None else {"TF_CPP_MIN_LOG_LEVEL": level}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=180
        )
        assert (done.stderr == "") == silent, done.stderr


@pytest.mark.parametrize(
    ("command", "parameter", "begun", "expected"),
    [
        ("train", "network", "resnet1", "resnet18"),
        ("train", "network", "ssd_m", "ssd_mobilenet"),
        ("train", "method", "bire", "bireal"),
        ("train", "dataset", "dig", "digits"),
        ("train", "link", "ela", "elastic"),
        ("train", "recipe", "fine", "finetune"),
        ("evaluate", "dataset", "phot", "photos"),
        ("benchmark", "target", "andr", "android[:SERIAL]"),
        ("compare", "methods", "el,bire", "el,bireal"),
    ],
)
def test_the_shell_completes_names(command: str, parameter: str, begun: str, expected: str) -> None:
    found: Any = cli.get_command(cli.make_context("el-larq", ["x"], resilient_parsing=True), command)
    (one,) = [entry for entry in found.params if entry.name == parameter]
    context = found.make_context(command, [], resilient_parsing=True)
    assert expected in [item.value for item in one.shell_complete(context, begun)]
    assert [item.type for item in one.shell_complete(context, "./my_")] == ["file"]


def test_a_float_model_converts_with_a_warning(tmp_path: Path, el_larq_here: Command) -> None:
    image = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(image))
    keras.Model(image, keras.layers.Dense(2)(x)).save(tmp_path / "float.keras")
    result = el_larq_here("convert", tmp_path / "float.keras", "-o", tmp_path / "float.tflite")
    assert result.returncode == 0, result.stderr
    assert "warning: nothing in this model is binary" in result.stderr
    assert "0 of 0" not in result.stderr
