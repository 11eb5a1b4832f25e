import json
import os
import shutil
from pathlib import Path

import pytest

from el_larq.data import names
from el_larq.data.own_run import foreign_folder
from el_larq.errors import UsageError

NAME = "dir:/somewhere/images,augment=crop"


@pytest.fixture
def model(tmp_path: Path, data_folder: Path) -> Path:
    """In a run folder that says it was trained on that folder."""
    run = tmp_path / "run"
    shutil.copytree(data_folder / "run_schema2", run)
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"dataset": NAME}))
    (run / "model.h5").touch()
    return run / "model.h5"


def test_a_model_in_a_run_of_this_users_may_read_its_folder(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert foreign_folder(NAME, model) is None
    monkeypatch.chdir(model.parent)
    assert foreign_folder(NAME, Path("model.h5")) is None


def test_sets_that_name_no_folder_may_be_read(tmp_path: Path) -> None:
    for name in ("digits", "tfds:beans", "cifar10"):
        assert foreign_folder(name, tmp_path / "model.h5") is None


def test_other_folders_and_models_elsewhere_may_not(model: Path, tmp_path: Path) -> None:
    assert foreign_folder("dir:/", model) == "/"
    assert foreign_folder("dir:/somewhere/images", model) == "/somewhere/images"
    assert foreign_folder("tfds:beans@/secret", model) == "/secret"
    assert foreign_folder("cifar10@/secret", model) == "/secret"
    elsewhere = tmp_path / "model.h5"
    elsewhere.touch()
    assert foreign_folder(NAME, elsewhere) == "/somewhere/images"
    assert foreign_folder(NAME, tmp_path / "missing" / "model.h5") == "/somewhere/images"


def test_a_new_kind_of_data_set_is_a_folder_until_it_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(names.FOLDERS, "npz", "npz:")
    assert foreign_folder("npz:/secret", tmp_path / "model.h5") == "/secret"
    assert names.folders("npz:/secret") == (Path("/secret"),)
    monkeypatch.setattr("el_larq.data.own_run.parse_name", lambda name: names.Name("lmdb", "/secret"))
    assert foreign_folder("lmdb:/secret", tmp_path / "model.h5") == "/secret"


def test_a_link_in_a_run_is_where_it_leads_to(model: Path, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.h5"
    stranger.touch()
    link = model.with_name("link.h5")
    link.symlink_to(stranger)
    assert foreign_folder(NAME, link) == "/somewhere/images"


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owner here")
def test_a_run_of_another_user_may_not(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uid = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    assert foreign_folder(NAME, model) == "/somewhere/images"


def test_a_damaged_run_may_not(model: Path) -> None:
    model.with_name("config.json").write_text("{")
    assert foreign_folder(NAME, model) == "/somewhere/images"


def test_what_is_not_a_data_set_is_named(model: Path) -> None:
    with pytest.raises(UsageError, match="unknown data set 'nothing'"):
        foreign_folder("nothing", model)
