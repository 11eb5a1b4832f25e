"""One way to ask for an output of a model with several: evaluate and predict, every format, both interfaces."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import tf_keras as keras

import el_larq
from el_larq import card
from el_larq.cli.main import main
from el_larq.converters import lower
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.job import Options
from el_larq.converters.rewrite import with_metadata
from el_larq.errors import ElLarqError, UsageError
from el_larq.evaluation.evaluate import evaluate
from el_larq.evaluation.partial_outputs import NAME
from el_larq.evaluation.predict import predict
from el_larq.model_outputs import Output, choose, of_graph, of_keras
from el_larq.tflite.reader import parse
from el_larq.training.models import save_model

NAMES = ("teacher", "odd", "logits", "auxiliary", "2")
FORMS = ("h5", "keras", "saved_model", "tflite", "earlier")
IMAGES = 40


@dataclass(frozen=True)
class Headed:
    """The small classifier among other heads, three of which have as many classes; its own is at index 2."""

    files: dict[str, Path]
    model: Any
    top1: dict[str, float]
    """Of each output with ten classes, on the images that are evaluated."""


@pytest.fixture(scope="module")
def headed(small: Any, tmp_path_factory: pytest.TempPathFactory) -> Headed:
    keras.utils.set_random_seed(1)  # 0 would start one of the heads like the small model's own
    pooled = small.model.get_layer("pool").output
    others = {name: keras.layers.Dense(2 if name == "odd" else 10, name=name)(pooled) for name in NAMES if name != "logits"}
    model = keras.Model(small.model.inputs, [others.get(name, small.model.outputs[0]) for name in NAMES], name="headed")
    folder = tmp_path_factory.mktemp("headed")
    save_model(folder, model, small.card)
    model.save(folder / "saved_model", save_format="tf")
    el_larq.convert(folder / "model.h5", folder / "model.tflite", options=Options(verify_images=8))
    (folder / "earlier.tflite").write_bytes(
        with_metadata(lower.run_converter(FrozenModel(model)), card.NAME, card.dump(small.card))  # as before outputs were named
    )
    data = el_larq.load_dataset("digits")
    view = data.test_view(np.linspace(0, data.test_size - 1, IMAGES).astype(int))
    values = model(data.preprocessing.scale(view[:]), training=False)
    top1 = {
        name: float(np.mean(np.argmax(y, -1) == view.labels)) for name, y in zip(NAMES, values, strict=True) if y.shape[1] == 10
    }
    files = {
        "h5": folder / "model.h5",
        "keras": folder / "model.keras",
        "saved_model": folder / "saved_model",
        "tflite": folder / "model.tflite",
        "earlier": folder / "earlier.tflite",
    }
    return Headed(files, model, top1)


@pytest.mark.parametrize("form", FORMS)
def test_evaluate_scores_the_output_that_is_asked_for(headed: Headed, tmp_path: Path, form: str) -> None:
    assert headed.top1["logits"] > 1.5 * max(share for name, share in headed.top1.items() if name != "logits")
    # A process for each .tflite takes seconds.
    asked = {"tflite": {"logits": "logits"}, "earlier": {"2": "logits"}}.get(form, {"logits": "logits", 3: "auxiliary"})
    for output, name in asked.items():
        result = evaluate(headed.files[form], "digits", output=output, out=tmp_path, images=IMAGES, workers=1)
        assert abs(result.scores.top1 - headed.top1[name]) <= 1 / IMAGES
        assert result.output == (name if form != "earlier" else f"output_{NAMES.index(name):06}")
        assert json.loads((tmp_path / "evaluation.json").read_text())["output"] == result.output


@pytest.mark.parametrize("form", ["h5", "keras", "tflite"])
def test_predict_shows_the_output_that_is_asked_for(headed: Headed, small: Any, digit_png: Path, form: str) -> None:
    (wanted,) = predict(small.h5, [digit_png], top=10)
    (got,) = predict(headed.files[form], [digit_png], output=2 if form == "h5" else "logits", top=10)
    assert [label for label, _ in got.top] == [label for label, _ in wanted.top]
    np.testing.assert_allclose([p for _, p in got.top], [p for _, p in wanted.top], atol=1e-4)


@pytest.mark.parametrize("form", FORMS[:4])
def test_a_model_with_several_outputs_asks_which(
    headed: Headed, digit_png: Path, tmp_path: Path, form: str, one_line: Callable[[BaseException], str]
) -> None:
    path = headed.files[form]
    for act in (lambda **o: evaluate(path, "digits", out=tmp_path / "e", **o), lambda **o: predict(path, [digit_png], **o)):
        for options, message in (
            ({}, "0 teacher (10), 1 odd (2), 2 logits (10), 3 auxiliary (10), 4 2 (10)"),
            ({"output": "Teachers"}, "unknown output 'Teachers'; did you mean teacher?"),
            ({"output": 5}, "unknown output '5'; it has 0 teacher (10)"),
        ):
            with pytest.raises(UsageError) as caught:
                act(**options)
            assert message in one_line(caught.value)
            assert str(path) in str(caught.value)
            assert options or "--output NAME or NUMBER" in str(caught.value)
    assert not (tmp_path / "e").exists()


def test_an_output_of_other_classes_is_named(headed: Headed, tmp_path: Path) -> None:
    with pytest.raises(ElLarqError, match=r"output odd has shape \(2,\) for 10 classes of digits; .* or another --output"):
        evaluate(headed.files["h5"], "digits", output="odd", out=tmp_path, images=4)


def test_an_interrupted_evaluation_of_one_output_is_not_taken_for_another(
    headed: Headed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from el_larq.evaluation import evaluate as module

    monkeypatch.setattr(module, "BATCH", 16)

    def stop(done: int, total: int) -> None:
        if 0 < done < total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(headed.files["h5"], output="teacher", out=tmp_path, images=IMAGES, notify=stop)
    assert (tmp_path / NAME).exists()
    result = evaluate(headed.files["h5"], output="logits", out=tmp_path, images=IMAGES)
    assert result.images_now == IMAGES
    assert abs(result.scores.top1 - headed.top1["logits"]) <= 1 / IMAGES


def test_each_output_has_a_folder_of_its_own(headed: Headed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folders = {evaluate(headed.files["h5"], output=output, images=4).folder.name[-7:] for output in ("teacher", "logits")}
    assert folders == {"output0", "output2"}


def test_the_only_output_needs_no_name_and_has_one(small: Any, digit_png: Path) -> None:
    assert predict(small.h5, [digit_png]) == predict(small.h5, [digit_png], output="logits")
    with pytest.raises(UsageError, match="unknown output 'logit'; did you mean logits"):
        predict(small.tflite, [digit_png], output="logit")


def test_the_commands(el_larq_here: Callable[..., CompletedProcess[str]], headed: Headed, digit_png: Path, tmp_path: Path) -> None:
    result = el_larq_here("evaluate", headed.files["tflite"], "-o", tmp_path / "e")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "has 5 outputs; choose one with --output NAME or NUMBER: 0 teacher (10)" in result.stderr
    result = el_larq_here("predict", headed.files["tflite"], digit_png, "--output", "logits", "--json")
    assert result.returncode == 0, result.stderr
    (wanted,) = predict(headed.files["h5"], [digit_png], output="logits")
    assert [label for label, _ in json.loads(result.stdout)[0]["top"]] == [label for label, _ in wanted.top]


@pytest.mark.parametrize("form", ["h5", "tflite"])
def test_inspect_lists_what_can_be_asked_for(headed: Headed, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["inspect", str(headed.files[form]), "--total"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("output ")]
    assert [(number, name) for _, number, name, *_ in lines] == [(str(i), f"{name}:") for i, name in enumerate(NAMES)]


def test_a_name_comes_before_a_number() -> None:
    outputs = [Output(name, position, (3,)) for position, name in enumerate(NAMES)]
    assert choose(outputs, "2", "model").name == "2"
    assert choose(outputs, 2, "model").name == "logits"
    assert choose(outputs, "3", "model").name == "auxiliary"


@pytest.mark.parametrize("asked", [-1, "-1", "", "1.0", "9" * 5000, "²", "x" * 5000], ids=lambda asked: str(asked)[:5])
def test_an_invalid_output_is_refused(asked: Any) -> None:
    outputs = [Output("a", 0, ()), Output("b", 1, (8, 8, None))]
    with pytest.raises(UsageError, match=r"unknown output .*it has 0 a \(1\), 1 b \(8x8x\?\)"):
        choose(outputs, asked, "model")


def test_names_in_an_untrusted_file_may_be_equal_or_long_or_many() -> None:
    alike = [Output("a", 0, (3,)), Output("a", 1, (4,))]
    with pytest.raises(UsageError, match=r"2 outputs called 'a'; give a number: 0 a \(3\), 1 a \(4\)"):
        choose(alike, "a", "model")
    assert choose(alike, 1, "model").position == 1
    with pytest.raises(UsageError, match="980 more") as caught:
        choose([Output("x" * 10_000, position, ()) for position in range(1000)], None, "model")
    assert len(str(caught.value)) < 2000
    with pytest.raises(ElLarqError, match="has no output"):
        choose([], None, "model")


def test_the_order_of_earlier_files_is_that_of_their_numbers(headed: Headed) -> None:
    earlier = of_graph(parse(headed.files["earlier"].read_bytes()))
    assert [output.position for output in earlier] != list(range(5))
    now = of_graph(parse(headed.files["tflite"].read_bytes()))
    assert now == of_keras(headed.model)
    assert [output.shape for output in earlier] == [output.shape for output in now]


def test_layers_that_are_called_like_numbers_keep_their_order() -> None:
    image = keras.Input((8, 8, 1))
    pooled = keras.layers.GlobalAveragePooling2D()(image)
    model = keras.Model(image, [keras.layers.Dense(size, name=f"output_{size}")(pooled) for size in (4, 3, 2)])
    content = lower.lower_model(FrozenModel(model))
    assert of_graph(parse(content)) == of_keras(model)
