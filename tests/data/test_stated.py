import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from el_larq.data.dataset import scale
from el_larq.data.preprocessing import Preprocessing
from el_larq.data.stated import describe, read_labels, stated
from el_larq.errors import UsageError

SHAPE = (8, 8, 3)
RAMP = np.broadcast_to(np.array([0, 51, 255], np.uint8), (1, 8, 8, 3))
BGR = Preprocessing(8, 8, 3, mean=(103.9, 116.8, 123.7), std=(1.0, 2.0, 3.0), channel_order="bgr")


def prepared(card: dict[str, Any] | None = None, **statements: Any) -> Preprocessing:
    merged, _ = stated(**statements).onto(card or {}, SHAPE, "m.h5")
    return Preprocessing.from_dict(merged["preprocessing"])


@pytest.mark.parametrize("limits", [(-1.0, 1.0), (0.0, 1.0), (0.0, 255.0), (-128.0, 127.0), (2.0, 7.0)])
def test_a_range_is_where_black_and_white_go(limits: tuple[float, float]) -> None:
    low, high = limits
    inputs = prepared(range=limits).scale(RAMP)[0, 0, 0]
    np.testing.assert_allclose(inputs, [low, low + 0.2 * (high - low), high], atol=1e-5)


def test_mean_and_std_are_in_units_of_the_image() -> None:
    assert prepared(mean=127.5, std=127.5) == prepared(range=(-1.0, 1.0))
    assert (prepared(std=255.0).mean, prepared(mean=100.0).std) == (0.0, 1.0)
    y = prepared(mean=(0.0, 51.0, 155.0), std=(1.0, 2.0, 50.0)).scale(RAMP)[0, 0, 0]
    np.testing.assert_allclose(y, [0, 0, 2])


def test_bgr_turns_the_channels_before_they_are_scaled() -> None:
    y = BGR.scale(RAMP)
    np.testing.assert_allclose(y[0, 0, 0], [255 - 103.9, (51 - 116.8) / 2, (0 - 123.7) / 3], rtol=1e-5)
    np.testing.assert_allclose(scale(BGR, RAMP), y, rtol=1e-5)


def test_a_card_of_the_usual_order_is_read_by_older_versions() -> None:
    """They refuse a field that they do not know, as they should one of the other order."""
    assert "channel_order" not in replace(BGR, channel_order="rgb").to_dict()
    assert Preprocessing.from_dict(json.loads(json.dumps(BGR.to_dict()))) == BGR


def test_an_order_alone_keeps_the_colours_numbers() -> None:
    card = {"preprocessing": BGR.to_dict()}
    rgb = prepared(card, channel_order="rgb")
    np.testing.assert_array_equal(rgb.scale(RAMP), BGR.scale(RAMP)[..., ::-1])
    assert prepared(card, channel_order="bgr") == BGR


def test_what_is_stated_wins_and_is_noted() -> None:
    card = {"preprocessing": Preprocessing(8, 8, 3, 100.0, 50.0, crop=0.5).to_dict(), "labels": ["a"], "network": "n"}
    merged, notes = stated(range=(0, 1), labels=["b"]).onto(card, SHAPE, "m.h5")
    assert merged == {"preprocessing": Preprocessing(8, 8, 3, 0.0, 255.0, crop=0.5).to_dict(), "labels": ["b"], "network": "n"}
    assert notes == (
        "m.h5: inputs are (x - 0) / 255 for x from 0 to 255, as stated; its card says (x - 100) / 50 for x from 0 to 255",
        "m.h5: classes are named as stated; its card has other labels",
    )
    assert stated(mean=100, std=50, labels=["a"]).onto(card, SHAPE, "m.h5") == (card, ())
    assert stated().onto(card, SHAPE, "m.h5") == (card, ())


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        ({"range": (0, 1), "mean": 1.0}, "--range replaces --mean and --std"),
        ({"range": (1, 1)}, "the lower one first; got 1,1"),
        ({"range": (0, float("inf"))}, "--range takes two numbers"),
        ({"mean": float("nan")}, "--mean and --std: .*finite"),
        ({"std": 0.0}, "--mean and --std: std must be positive"),
        ({"mean": (1.0, 2.0, 3.0), "std": (1.0,)}, "--mean and --std"),
        ({"channel_order": "grb"}, "rgb or bgr; got 'grb'"),
    ],
)
def test_statements_that_make_no_sense_are_refused(statements: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        stated(**statements)


@pytest.mark.parametrize(
    ("statements", "shape", "message"),
    [
        ({"channel_order": "bgr"}, SHAPE, "m.h5: its file does not say how inputs are scaled; give --range"),
        ({"range": (0, 1), "channel_order": "bgr"}, (8, 8, 1), "m.h5: channel_order bgr needs 3 channels"),
        ({"mean": (1.0, 2.0, 3.0)}, (8, 8, 1), "m.h5: mean and std must be one number"),
        ({"std": 2.0}, (8, 8, 7), "m.h5: channels must be 1 or 3"),
        ({"std": 2.0}, (10,), r"m.h5: takes inputs of shape \(10,\), which are not images"),
        ({"std": 2.0}, (None, None, 3), "which are not images of one size"),
    ],
)
def test_statements_that_do_not_fit_a_model_are_refused(statements: dict[str, Any], shape: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        stated(**statements).onto({}, shape, "m.h5")


def test_the_preparation_is_described_exactly() -> None:
    assert describe(BGR) == "(x - (103.9, 116.8, 123.7)) / (1, 2, 3) for x from 0 to 255, channels in the order BGR"
    assert describe(Preprocessing(8, 8, 1)) == "standardized by each image's own mean and std"


@pytest.mark.parametrize("content", ["cat\ndog\n", "\ufeffcat\r\ndog\r\n\r\n", '["cat",\n "dog"]', " cat \ndog"])
def test_labels_come_from_lines_or_a_list(tmp_path: Path, content: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(content.encode())
    assert read_labels(path) == ["cat", "dog"]
    assert stated(labels=path).labels == ("cat", "dog")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"cat\n\ndog\n", b"[1, 2]", b'["cat"', b'["cat", ""]', b"[]", b"\xff\xfe", b"["])
def test_what_is_not_labels_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"labels\.txt: .*one (label )?per line"):
        read_labels(path)
