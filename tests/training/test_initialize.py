from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import larq
import numpy as np
import pytest
import tf_keras as keras

from el_larq.cli.main import main
from el_larq.data.augmentation import Augmentation
from el_larq.data.dataset_registry import load_dataset
from el_larq.data.encoded import Encoded
from el_larq.data.indexed import Indexed
from el_larq.data.preprocessing import Preprocessing
from el_larq.errors import ElLarqError
from el_larq.training.initialize import adopt_preprocessing, initialize
from el_larq.training.models import save_model
from el_larq.training.run_options import RunOptions


def network(classes: int, filters: int = 4) -> keras.Model:
    """As networks here are: a binary layer contains its quantizers as layers."""
    inputs = keras.Input((16, 16, 1))
    x = keras.layers.Conv2D(4, 3, use_bias=False, name="stem")(inputs)
    x = larq.layers.QuantConv2D(filters, 3, input_quantizer="ste_sign", kernel_quantizer="ste_sign", use_bias=False, name="conv")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits")(x))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of ten classes whose weights all differ from any start."""
    model = network(10)
    for layer in model.layers:
        layer.set_weights([array + 0.25 for array in layer.get_weights()])
    folder = tmp_path_factory.mktemp("source")
    save_model(folder, model, {"preprocessing": Preprocessing(16, 16, 1, mean=10.0, std=20.0).to_dict()})
    return folder


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_everything_is_taken_where_everything_fits(source: Path, suffix: str) -> None:
    model, wanted = network(10), keras.models.load_model(source / "model.keras", compile=False)
    done = initialize(model, source / f"model{suffix}")
    assert done.fresh == ()
    assert done.summary == f"all {len(done.taken)} layers with weights start from {source / f'model{suffix}'}"
    for array, other in zip(model.get_weights(), wanted.get_weights(), strict=True):
        np.testing.assert_array_equal(array, other)


def test_another_number_of_classes_starts_the_classifier_fresh(source: Path) -> None:
    model: Any = network(3)
    start = {layer.name: layer.get_weights() for layer in model.layers}
    done = initialize(model, source / "model.h5")
    assert done.taken == ("stem", "conv", "norm")
    assert done.summary == (
        f"3 of 4 layers with weights (93% of all weights) start from {source / 'model.h5'}; fresh: logits (4x10 there, 4x3 here)"
    )
    wanted: Any = keras.models.load_model(source / "model.keras", compile=False)
    for name in done.taken:
        for array, other in zip(model.get_layer(name).get_weights(), wanted.get_layer(name).get_weights(), strict=True):
            np.testing.assert_array_equal(array, other)
    for array, other in zip(model.get_layer("logits").get_weights(), start["logits"], strict=True):
        np.testing.assert_array_equal(array, other)


def test_a_model_of_which_nothing_fits_is_refused(source: Path, one_line: Callable[[BaseException], str]) -> None:
    inputs = keras.Input((4,))
    other = keras.Model(inputs, keras.layers.Dense(2, name="elsewhere")(inputs))
    with pytest.raises(ElLarqError) as caught:
        initialize(other, source / "model.h5")
    assert "layers with weights fits the network" in one_line(caught.value)
    with pytest.raises(ElLarqError, match="no such file"):
        initialize(other, source / "none.h5")


def test_a_model_of_which_fewer_than_half_of_the_layers_fit_needs_partial(source: Path) -> None:
    model: Any = network(10, filters=5)
    before = model.get_weights()
    with pytest.raises(ElLarqError) as caught:
        initialize(model, source / "model.h5")
    assert str(caught.value) == (
        f"{source}/model.h5: only 1 of 4 layers with weights (12% of all weights) fit the network; the first that does not is conv "
        "(3x3x4x4 there, 3x3x4x5 here); train the network, width and method that it was made with, or accept this with --partial"
    )
    for array, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, other)
    assert initialize(model, source / "model.h5", partial=True).taken == ("stem",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--init-from", "FOLDER/model.tflite"],
            "a .tflite is converted, and a training cannot start from it; give the run folder",
        ),
        (["--partial"], "--partial applies to the model of --init-from; give one, or omit it"),
    ],
)
def test_what_a_training_cannot_start_from_is_named_before_it_starts(
    options: list[str], message: str, tmp_path: Path, el_larq_here: Callable[..., CompletedProcess[str]]
) -> None:
    (tmp_path / "model.tflite").touch()
    given = [option.replace("FOLDER", str(tmp_path)) for option in options]
    result = el_larq_here("train", "resnet18", "--dataset", "digits", *given, cwd=tmp_path)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert message in result.stderr


def test_a_model_that_contains_code_is_accepted_only_if_it_is_trusted(source: Path, tmp_path: Path) -> None:
    whole: Any = keras.models.load_model(source / "model.keras", compile=False)
    save_model(tmp_path, keras.Model(whole.inputs, keras.layers.Lambda(lambda x: x * 1.0)(whole.outputs[0])), {})
    with pytest.raises(ElLarqError, match="contains a Lambda layer, which is code"):
        initialize(network(10), tmp_path / "model.h5")
    assert initialize(network(10), tmp_path / "model.h5", trust=True).fresh == ()


def test_trust_and_import_are_options_of_the_command(
    source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[bool] = []

    def fake(_: Any, options: RunOptions) -> None:
        given.append(options.trust)
        raise ElLarqError("enough")

    monkeypatch.setattr("el_larq.training.train.start", fake)
    for options in ([], ["--trust"], ["--import", "json"], ["--import", "no_such_module"]):
        with pytest.raises(SystemExit):
            main(["train", "resnet26", "--init-from", str(source / "model.h5"), *options])
    assert given == [False, True, False]
    assert "cannot import 'no_such_module'" in capsys.readouterr().err


def test_layers_of_models_inside_a_model_are_found(tmp_path: Path) -> None:
    def nested(units: int) -> keras.Model:
        inner_input = keras.Input((4,))
        inner = keras.Model(inner_input, keras.layers.Dense(3, name="inside")(inner_input), name="inner")
        inputs = keras.Input((4,))
        return keras.Model(inputs, keras.layers.Dense(units, name="top")(inner(inputs)))

    first: Any = nested(2)
    second: Any = nested(5)
    first.save(tmp_path / "nested.keras")
    done = initialize(second, tmp_path / "nested.keras")
    assert done.taken == ("inner/inside",)
    assert done.fresh == (("top", "3x2 there, 3x5 here"),)
    np.testing.assert_array_equal(second.get_layer("inner").get_weights()[0], first.get_layer("inner").get_weights()[0])


def test_a_classifier_of_other_classes_is_not_copied(tmp_path: Path) -> None:
    save_model(tmp_path, network(3), {"labels": ["cat", "dog", "fox"]})
    done = initialize(network(3), tmp_path / "model.h5", labels=["cat", "dog", "fox"])
    assert done.fresh == ()
    done = initialize(network(3), tmp_path / "model.h5", labels=["ant", "bee", "fly"])
    assert done.fresh == (("logits", "for other classes"),)
    done = initialize(network(3), tmp_path / "model.h5", whole=True, labels=["ant", "bee", "fly"])
    assert done.fresh == ()


def test_data_are_prepared_as_the_model_saw_its_own(source: Path, tmp_path: Path) -> None:
    how = Preprocessing(24, 24, 1, mean=100.0, std=50.0)
    nothing: Any = Encoded([], np.zeros(0), how)
    data = Indexed("dir:/x", 1, ("a", "b"), how, nothing, nothing, Augmentation(), "x", "")
    assert adopt_preprocessing(data, source / "model.h5").preprocessing == replace(how, mean=10.0, std=20.0)
    colour = replace(data, preprocessing=Preprocessing(24, 24, 3, mean=1.0, std=2.0))
    assert adopt_preprocessing(colour, source / "model.h5") is colour
    other = Preprocessing(16, 16, 1, mean=10.0, std=20.0, crop=0.5, resampling="bicubic")
    save_model(tmp_path, network(10), {"preprocessing": other.to_dict()})
    adopted: Any = adopt_preprocessing(data, tmp_path / "model.h5")
    assert adopted.preprocessing == replace(other, height=24, width=24)
    # A JPEG is decoded as large as the smaller part needs, so that an evaluation of the trained model sees the same pixels.
    assert adopted.test.preprocessing == adopted.preprocessing
    assert adopted.train.cache is adopted.test.cache
    assert adopted.train.cache is not data.train.cache
    digits = load_dataset("digits")
    held = adopt_preprocessing(digits, tmp_path / "model.h5").preprocessing
    assert held == replace(digits.preprocessing, mean=10.0, std=20.0)
