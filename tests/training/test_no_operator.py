"""What LCE cannot run is said when a training starts."""

from pathlib import Path
from typing import Any

import pytest

from el_larq.cli import compare as compare_command
from el_larq.comparison.compare import Comparison

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


def test_a_training_begins_with_what_will_run_real_valued(start: Any, tmp_path: Path) -> None:
    (tmp_path / "network.py").write_text(NETWORK)
    notices: list[str] = []
    start(tmp_path / "run", network=f"{tmp_path / 'network.py'}:build", epochs=1, notify=notices.append)
    assert notices[1:] == [
        "note: LCE has no operator for binary depthwise convolutions: depthwise will run real-valued, at a higher cost than a "
        "real-valued layer, and el-larq convert needs --allow binary-depthwise"
    ]


@pytest.mark.parametrize(("arguments", "noted"), [(["--depthwise", "binary"], True), ([], False)])
def test_a_comparison_begins_with_it_too(
    arguments: list[str], noted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("el_larq.comparison.compare.execute", lambda *_, **__: Comparison(tmp_path, (), ""))
    given = ["--network", "mobilenet", "--methods", "el", *arguments, "-o", str(tmp_path / "out")]
    compare_command.command.main(given, standalone_mode=False)
    assert capsys.readouterr().err.startswith("note: LCE has no operator for binary depthwise convolutions") == noted
