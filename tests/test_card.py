import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from el_larq import card
from el_larq.data.preprocessing import Preprocessing
from el_larq.errors import ElLarqError


@pytest.mark.parametrize("form", ["h5", "keras"])
def test_the_card_is_stored_in_the_file_and_the_model_still_loads(small: Any, tmp_path: Path, form: str) -> None:
    from el_larq.loading.load import load_model

    source = getattr(small, form)
    assert card.read(source) == {"schema": card.SCHEMA, **small.card}
    assert load_model(source).count_params() == small.model.count_params()


def test_a_file_without_a_card_has_an_empty_one(small: Any, tmp_path: Path) -> None:
    import warnings

    for name in ("bare.h5", "bare.keras"):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="You are saving your model as an HDF5 file")
            small.model.save(tmp_path / name)
        assert card.read(tmp_path / name) == {}
    assert card.read(small.saved_model) == {}


@pytest.mark.parametrize("form", ["h5", "keras"])
def test_a_card_of_many_labels_fits(small: Any, tmp_path: Path, form: str) -> None:
    """HDF5 limits an attribute in an object's header to 64 kB."""
    from el_larq.training.models import save_model

    labels = [f"class number {index}" for index in range(21_000)]
    save_model(tmp_path, small.model, {"labels": labels})
    assert card.read(tmp_path / f"model.{form}")["labels"] == labels


def test_a_card_survives_its_json() -> None:
    content = {"labels": ["à", "b"], "accuracy": {"top1": 0.5}}
    assert card.parse(card.dump(content), "x") == {"schema": 1, **content}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe"])
def test_a_damaged_card_is_named(content: bytes) -> None:
    with pytest.raises(ElLarqError, match=r"^model\.h5: its el-larq card is damaged"):
        card.parse(content, "model.h5")


def test_a_damaged_card_in_a_file_is_named(small: Any, tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "model.h5"
    shutil.copy(small.h5, path)
    with h5py.File(path, "r+") as file:
        file.attrs[card.NAME] = "{"
    with pytest.raises(ElLarqError, match=r"model\.h5: its el-larq card is damaged"):
        card.read(path)


def test_preprocessing_comes_back_as_it_was() -> None:
    wanted = Preprocessing(16, 12, 3, mean=1.5, std=2.5)
    content = json.loads(json.dumps({"preprocessing": wanted.to_dict()}))
    assert card.preprocessing(content, "x") == wanted
    assert card.preprocessing({}, "x") is None


@pytest.mark.parametrize(
    "fields",
    [
        {"height": 16},
        {"height": 16, "width": 16, "channels": 1, "colour": "red"},
        [16, 16, 1],
        "16x16",
        {"height": "16", "width": 16, "channels": 1},
        {"height": -1, "width": 16, "channels": 1},
        {"height": 16, "width": 16, "channels": 7},
        {"height": 16, "width": 16, "channels": 1, "mean": 0.0, "std": 0.0},
        {"height": 16, "width": 16, "channels": 1, "mean": "0", "std": "1"},
    ],
    ids=str,
)
def test_damaged_preprocessing_is_named(fields: Any) -> None:
    with pytest.raises(ElLarqError, match=r"^model\.h5: the preprocessing in its el-larq card is damaged"):
        card.preprocessing({"preprocessing": fields}, "model.h5")
