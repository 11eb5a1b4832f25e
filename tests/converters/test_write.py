import hashlib
from pathlib import Path
from typing import Any

import binary_models as models
import numpy as np
import pytest

import el_larq
from el_larq import card
from el_larq.converters import pipeline
from el_larq.converters.job import Entry, Job, Options
from el_larq.converters.rewrite import with_metadata, with_outputs
from el_larq.converters.write import write
from el_larq.errors import ElLarqError
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import parse


def _card(content: bytes) -> dict[str, Any]:
    return card.parse(parse(content).metadata[card.NAME], "the file")


def test_the_file_says_what_it_is(small: Any) -> None:
    content = small.tflite.read_bytes()
    written = _card(content)
    assert written["schema"] == card.SCHEMA
    assert written["labels"] == small.card["labels"]
    assert written["preprocessing"] == small.card["preprocessing"]
    assert written["converted_with"]["el-larq"] == el_larq.__version__
    assert written["source_sha256"] == hashlib.sha256(small.h5.read_bytes()).hexdigest()
    assert written["inputs"][0]["shape"] == [1, 16, 16, 1]
    assert written["outputs"][0] == {"name": written["outputs"][0]["name"], "type": "float32", "shape": [1, 10]}
    assert written["verified"]["images"] == 256
    assert written["verified"]["data"] == "digits"


def test_the_file_is_what_the_job_contains_and_its_hash_is_reported(small: Any) -> None:
    content = small.tflite.read_bytes()
    assert content == small.job.tflite
    details = small.job.report[-1].details
    assert details == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_metadata_changes_no_output(small: Any) -> None:
    content = small.tflite.read_bytes()
    x = models.images(3, 16)
    once = with_metadata(content, "note", b"one")
    np.testing.assert_array_equal(Interpreter(once).run(x)[0], Interpreter(content).run(x)[0])
    assert parse(once).metadata["note"] == b"one"
    twice = with_metadata(once, "note", b"two")
    assert parse(twice).metadata["note"] == b"two"
    assert set(parse(twice).metadata) == {*parse(content).metadata, "note"}


def test_further_outputs_follow_the_models_own(small: Any) -> None:
    content = small.tflite.read_bytes()
    graph = parse(content)
    middle = graph.operators[0].outputs[0]
    more = parse(with_outputs(content, [middle.index]))
    assert [tensor.name for tensor in more.outputs] == [*(tensor.name for tensor in graph.outputs), middle.name]
    x = models.images(2, 16)
    outputs = Interpreter(with_outputs(content, [middle.index])).run(x)
    np.testing.assert_array_equal(outputs[0], Interpreter(content).run(x)[0])
    assert outputs[1].shape == (2, *middle.shape[1:])


def test_a_job_without_a_flatbuffer_says_what_is_missing() -> None:
    with pytest.raises(ElLarqError, match="'lower' first"):
        write(Job(None, Options()))


def test_nothing_is_written_if_verification_fails(small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaging(job: Job) -> Job:
        job = lower(job)
        kernel = next(o for o in parse(job.need_tflite()).operators if o.name == "LceBconv2d").inputs[1]
        assert kernel is not None
        content = models.change_constant(job.need_tflite(), kernel.index, np.int32, lambda words: ~words[::-1])
        return job.done("damaged", tflite=content)

    lower = pipeline._FUNCTIONS["lower"]
    monkeypatch.setitem(pipeline._FUNCTIONS, "lower", damaging)
    old = tmp_path / "old.tflite"
    old.write_bytes(b"was TFL3 here before")
    for destination in (old, tmp_path / "new.tflite"):
        with pytest.raises(ElLarqError, match="differs from the model"):
            el_larq.convert(small.h5, destination)
    assert [path.name for path in tmp_path.iterdir()] == ["old.tflite"]
    assert old.read_bytes() == b"was TFL3 here before"


@pytest.mark.parametrize("bad", ["missing/model.tflite", "file/model.tflite", "."])
def test_a_destination_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path, bad: str) -> None:
    (tmp_path / "file").write_text("a file, not a folder")
    entries: list[Entry] = []
    with pytest.raises(ElLarqError, match="cannot write") as caught:
        el_larq.convert(tmp_path / "no_such_model.h5", tmp_path / bad, notify=entries.append)
    assert "\n" not in str(caught.value)
    assert entries == []


def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        probe = tmp_path / "probe"
        try:
            probe.touch()
        except PermissionError:
            pass
        else:
            probe.unlink()
            pytest.skip("this user may write anywhere")
        with pytest.raises(ElLarqError, match="not writable"):
            el_larq.convert(tmp_path / "no_such_model.h5", tmp_path / "model.tflite")
    finally:
        tmp_path.chmod(0o700)
