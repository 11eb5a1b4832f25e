import json
from pathlib import Path

import pytest

from el_larq.errors import ElLarqError
from el_larq.files import atomic_path, check_writable, read_bytes, write_bytes, write_json


def test_a_new_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == path.suffix
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="half way"), atomic_path(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise RuntimeError("half way")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "model.h5") as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_system_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(ElLarqError, match=r"^cannot write .*model\.h5: No space left"), atomic_path(tmp_path / "model.h5"):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_bytes(path, b"old")
    write_json(path, {"a": 1})
    assert json.loads(path.read_text()) == {"a": 1}
    assert path.read_text().endswith("}\n")


@pytest.mark.parametrize("check", [check_writable, lambda path: write_bytes(path, b"")], ids=["check", "write"])
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, check) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ElLarqError, match=r"missing does not exist; create it first$"):
        check(tmp_path / "missing" / "model.h5")
    with pytest.raises(ElLarqError, match="it is a folder"):
        check(tmp_path)
    with pytest.raises(ElLarqError, match="cannot write"):
        check(tmp_path / "file" / "model.h5")


def test_a_check_writes_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "model.h5")
    assert list(tmp_path.iterdir()) == []


def test_reading_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"content")
    assert read_bytes(tmp_path / "model") == b"content"
    with pytest.raises(ElLarqError, match=r"^cannot read .*missing: No such file"):
        read_bytes(tmp_path / "missing")
    with pytest.raises(ElLarqError, match=r"^cannot read .*: Is a directory"):
        read_bytes(tmp_path)
