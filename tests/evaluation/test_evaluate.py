import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

from el_larq.cli.main import main
from el_larq.data.dataset_registry import load_dataset
from el_larq.data.preprocessing import Preprocessing
from el_larq.errors import ElLarqError, UsageError
from el_larq.evaluation.evaluate import CHUNK, evaluate
from el_larq.evaluation.partial_outputs import PartialOutputs
from el_larq.evaluation.workers import Workers
from el_larq.tflite.interpreter import Interpreter

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def workers(small: Any) -> Any:
    data = load_dataset("digits")
    with Workers(small.tflite.read_bytes(), "small", data.preprocessing, 2) as started:
        yield started


def test_workers_compute_what_the_interpreter_does_in_order(small: Any, workers: Workers) -> None:
    data = load_dataset("digits")
    images = data.test.images[:75]
    outputs = np.concatenate(list(workers.run(images, 16)))
    wanted = Interpreter(small.tflite.read_bytes()).run(data.preprocessing.scale(images))[0]
    assert np.array_equal(outputs, wanted)
    assert np.array_equal(np.concatenate(list(workers.run(images, 16, start=32))), wanted[32:])


def test_an_interrupted_evaluation_continues_where_it_stopped(small: Any, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        assert total == 450
        if done >= 3 * CHUNK:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(small.tflite, out=tmp_path, workers=1, notify=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["unfinished.npz"]
    again = evaluate(small.tflite, out=tmp_path, workers=1)
    assert again.images_now == 450 - 3 * CHUNK
    assert sorted(path.name for path in tmp_path.iterdir()) == ["confusion.svg", "evaluation.json", "reliability.svg"]
    whole = evaluate(small.h5, out=tmp_path / "keras")
    assert whole.images_now == 450
    assert abs(whole.scores.top1 - again.scores.top1) <= 2 / 450
    assert json.loads((tmp_path / "evaluation.json").read_text())["top1"] == again.scores.top1


def test_a_state_of_something_else_is_not_used(tmp_path: Path) -> None:
    state = PartialOutputs(tmp_path, {"model": "a"})
    assert state.load() is None
    state.save(np.eye(3))
    assert np.array_equal(state.load(), np.eye(3))  # pyright: ignore[reportArgumentType]
    assert PartialOutputs(tmp_path, {"model": "b"}).load() is None
    state.path.write_bytes(b"damaged")
    assert state.load() is None
    state.remove()
    state.remove()


def test_what_does_not_fit_is_named(small: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not say what it was trained on; name a data set with --dataset"):
        evaluate(DATA / "t1.tflite", out=tmp_path)
    with pytest.raises(UsageError, match="unknown data set 'digit'; did you mean digits"):
        evaluate(small.tflite, "digit", out=tmp_path)
    with pytest.raises(UsageError, match=r"takes inputs of shape \(32, 32, 3\); images of digits are \(32, 32, 1\)"):
        evaluate(DATA / "t1.tflite", "digits", out=tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ElLarqError, match="cannot write to"):
        evaluate(small.tflite, out=tmp_path / "file" / "below")


def test_a_model_with_other_classes_is_refused(small: Any, tmp_path: Path) -> None:
    with pytest.raises(ElLarqError, match="has 10 labels for 18 classes of photos; name its own --dataset"):
        evaluate(small.h5, load_dataset("photos", 16), out=tmp_path, images=20)


def test_the_death_of_a_worker_is_one_clear_line() -> None:
    with Workers((DATA / "t1.tflite").read_bytes(), "doomed.tflite", Preprocessing(32, 32, 3, mean=0.0, std=1.0), 1) as started:
        results = started.run(np.zeros((4, 32, 32, 3), np.uint8), 1)
        next(results)
        for worker in started.workers:
            worker.process.process.kill()
        time.sleep(0.2)
        with pytest.raises(ElLarqError, match=r"doomed\.tflite: the process that ran it died by SIGKILL"):
            list(started.run(np.zeros((4, 32, 32, 3), np.uint8), 1))


def test_a_refusal_in_a_worker_reaches_the_command() -> None:
    preprocessing = Preprocessing(8, 8, 1, mean=0.0, std=1.0)
    content = (DATA / "t1.tflite").read_bytes()
    refused = pytest.raises(ElLarqError, match=r"^t1\.tflite: takes inputs of shape \(32, 32, 3\)")
    with Workers(content, "t1.tflite", preprocessing, 1) as started, refused:
        list(started.run(np.zeros((1, 8, 8, 1), np.uint8), 1))


def test_int8_models_take_and_give_real_numbers() -> None:
    images = np.random.default_rng(0).standard_normal((3, 32, 32, 3)).astype(np.float32)
    outputs = Interpreter((DATA / "int8.tflite").read_bytes()).run_real(images)
    assert outputs.dtype == np.float32
    # A softmax in steps of 1/256.
    assert np.abs(outputs.sum(axis=1) - 1).max() <= 10 / 256
    assert np.allclose(outputs * 256, np.round(outputs * 256))


def test_the_command(
    el_larq_command: Callable[..., CompletedProcess[str]],
    el_larq_here: Callable[..., CompletedProcess[str]],
    small: Any,
    tmp_path: Path,
) -> None:
    result = el_larq_command("evaluate", small.tflite, "--images", 64, "-o", tmp_path / "e", "--json")
    assert result.returncode == 0, result.stderr
    content = json.loads(result.stdout)
    assert content["images"] == 64
    assert content["folder"] == str(tmp_path / "e")
    assert result.stderr == ""
    assert "no such file" in el_larq_here("evaluate", "none.tflite").stderr


def test_the_table_has_recall_and_precision_of_each_class(small: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["evaluate", str(small.h5), "-o", str(tmp_path)])
    assert not end.value.code
    lines = [re.split("[│┃]", line)[1:-1] for line in capsys.readouterr().out.splitlines() if line[:1] in "│┃" and line]
    shown = [dict(zip(map(str.strip, lines[0]), map(str.strip, line), strict=True)) for line in lines[1:]]
    scored = json.loads((tmp_path / "evaluation.json").read_text())["classes"]
    assert any(one["recall"] != one["precision"] for one in scored)
    assert shown == [
        {
            "class": one["label"],
            "images": str(one["images"]),
            **{name: "" if one[name] is None else f"{one[name]:.1%}" for name in ("recall", "precision")},
        }
        for one in scored
    ]
