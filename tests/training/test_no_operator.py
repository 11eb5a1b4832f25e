"""What LCE cannot run is said when a training starts."""

from pathlib import Path
from typing import Any

import larq
import pytest
import tf_keras as keras

from el_larq.cli import compare as compare_command
from el_larq.cli import convert as convert_command
from el_larq.cli import train as train_command
from el_larq.comparison.compare import Comparison
from el_larq.counting.real_valued_layers import allowances

SIGNS: Any = {"input_quantizer": "ste_sign", "depthwise_quantizer": "ste_sign"}

NETWORK = """
import larq, tf_keras as keras

def build(input_shape, num_classes):
    image = keras.Input(input_shape)
    x = keras.layers.Conv2D(8, 3, 4, name="stem")(image)
    signs = {"input_quantizer": "ste_sign", "depthwise_quantizer": "ste_sign"}
    x = larq.layers.QuantDepthwiseConv2D(3, name="depthwise", **signs)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(num_classes)(x))
"""


def test_a_training_says_what_will_run_real_valued_and_how_to_convert_it(
    start: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "network.py").write_text(NETWORK)
    notices: list[str] = []
    start(tmp_path / "run", network=f"{tmp_path / 'network.py'}:build", epochs=1, notify=notices.append)
    assert notices[2:-1] == [  # between the sizes and the epoch
        "note: LCE has no operator for binary depthwise convolutions: depthwise will run real-valued, at a higher cost than a "
        "real-valued layer, and el-larq convert needs --allow binary-depthwise"
    ]
    train_command.command.main(["--resume", str(tmp_path / "run")], standalone_mode=False)
    printed = capsys.readouterr().out.splitlines()[-1].removeprefix("next: el-larq convert ").split()
    assert printed[-2:] == ["--allow", "binary-depthwise:depthwise"]
    printed[printed.index("model.tflite")] = str(tmp_path / "model.tflite")
    convert_command.command.main([*printed, "--verify-images", "4"], standalone_mode=False)
    assert (tmp_path / "model.tflite").exists()


def test_layers_are_allowed_by_name_where_the_conversion_uses_that_name() -> None:
    def model(names: list[str]) -> Any:
        layer = larq.layers.QuantDepthwiseConv2D
        return keras.Sequential([keras.Input((8, 8, 4)), *(layer(3, name=name, padding="same", **SIGNS) for name in names)])

    assert allowances(model(["a", "b"])) == ["binary-depthwise:a", "binary-depthwise:b"]
    assert allowances(model(list("abcd"))) == ["binary-depthwise"]
    assert allowances(keras.Sequential([model(["a"])])) == ["binary-depthwise"]


@pytest.mark.parametrize(("arguments", "noted"), [(["--depthwise", "binary"], True), ([], False)])
def test_a_comparison_begins_with_it_too(
    arguments: list[str], noted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("el_larq.comparison.compare.execute", lambda *_, **__: Comparison(tmp_path, (), ""))
    given = ["--network", "mobilenet", "--methods", "el", *arguments, "-o", str(tmp_path / "out")]
    compare_command.command.main(given, standalone_mode=False)
    assert capsys.readouterr().err.startswith("note: LCE has no operator for binary depthwise convolutions") == noted
