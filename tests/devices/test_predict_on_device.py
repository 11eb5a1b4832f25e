"""`predict --target`: images on a device over real ssh and real adb, with docs/embed's program and the stub of TensorFlow Lite."""

import json
import os
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import embed_program
import numpy as np
import pytest
import servers
from PIL import Image
from servers import Far
from test_far import HANG, PROGRAM, refused

from el_larq.data.preprocessing import Preprocessing
from el_larq.devices.remote_inference import RemoteInference, RemoteProgram
from el_larq.devices.targets import open_target
from el_larq.errors import ElLarqError
from el_larq.evaluation.predict import predict as predict_here

SHAPES = {"grey": (16, 16, 1)}
LABELS = ["zero", "one", "two", "three", "four"]


@pytest.fixture(scope="session")
def classify(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return embed_program.build(tmp_path_factory.mktemp("program"))


@pytest.fixture(scope="session")
def dense(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return embed_program.dense_models(tmp_path_factory.mktemp("dense"), SHAPES, LABELS)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from sklearn.datasets import load_sample_image

    folder = tmp_path_factory.mktemp("images")
    china = Image.fromarray(load_sample_image("china.jpg"))
    for number, left in enumerate((0, 150, 300)):
        china.crop((left, 0, left + 300, 427)).save(folder / f"{number}.png")
    return folder


def predict(far: Far, *words: object) -> CompletedProcess[str]:
    command = [str(PROGRAM), "predict", "--target", far.target, *far.options, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


def _stand_in(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    return path


@pytest.mark.parametrize("kind", ["grey", pytest.param("grey int8", marks=pytest.mark.slow)])
def test_a_device_and_this_machine_agree(far: Far, classify: Path, dense: dict[str, Path], images: Path, kind: str) -> None:
    done = predict(far, dense[kind], images, "--binary", classify, "--json")
    assert done.returncode == 0, done.stderr
    far.wait_until_clean(1)
    found = json.loads(done.stdout)
    assert [Path(entry["image"]).name for entry in found] == ["0.png", "1.png", "2.png"]
    for entry, here in zip(found, predict_here(dense[kind], [images]), strict=True):
        assert entry["same_class"] is True
        assert [label for label, _ in entry["host"]] == [label for label, _ in here.top]
        np.testing.assert_allclose([share for _, share in entry["top"]], [share for _, share in here.top], atol=0.02)
        # The stub sums float32 products in float64, XNNPACK in float32: outputs differ, but only by rounding.
        assert entry["difference"] < (1e-5 if kind == "grey" else 0.05)


@pytest.mark.slow
def test_the_texts(ssh_far: Far, classify: Path, dense: dict[str, Path], images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EL_LARQ_CLASSIFY", str(classify))
    done = predict(ssh_far, dense["grey"], images / "0.png", "--top", "1")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == str(images / "0.png")
    assert lines[2].startswith("  this machine: the same class, largest difference ")
    assert lines[3] == f"{ssh_far.target} and this machine: the same class for 1 of 1 image;"


@pytest.mark.slow
def test_names_are_data_for_the_device(ssh_far: Far, classify: Path, dense: dict[str, Path], images: Path, tmp_path: Path) -> None:
    name = "-x $(touch pwned) `id`; 'a'\"b\""
    for source, suffix in ((dense["grey"], ".tflite"), (images / "0.png", ".png"), (classify, "")):
        shutil.copy(source, tmp_path / f"{name}{suffix}")
    command = [PROGRAM, "predict", "--target", ssh_far.target, *ssh_far.options, "--binary", tmp_path / name]
    command += ["--", f"{name}.tflite", f"{name}.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.rglob("pwned"))
    ssh_far.wait_until_clean(1)


def _outputs(values: list[float]) -> str:
    return "outputs " + struct.pack(f"<{len(values)}f", *values).hex()


@pytest.mark.slow
def test_another_class_on_the_device_is_a_failure(ssh_far: Far, dense: dict[str, Path], images: Path, tmp_path: Path) -> None:
    """A program that says the opposite of the model: each class is the least likely one."""
    from el_larq.tflite.interpreter import Interpreter

    how = Preprocessing(16, 16, 1, 120.0, 60.0)
    inputs = np.stack([how.load(path) for path in sorted(images.iterdir())])
    (outputs,) = Interpreter(dense["grey"].read_bytes()).run(inputs)
    lines = "\n".join(_outputs(list(-row)) for row in outputs)
    binary = _stand_in(tmp_path / "classify", f"cat <<'END'\n{lines}\nEND")
    done = predict(ssh_far, dense["grey"], images, "--binary", binary)
    refused(
        done, r"the class differs from this machine's for 3 of 3 images, first .*0\.png \(\w+, not \w+\); check that the program"
    )
    assert "largest difference 2.0e+00" in done.stdout
    ssh_far.wait_until_clean(1)


@pytest.mark.parametrize(
    ("script", "pattern"),
    [
        ("echo outputs 00000000", r"put out outputs of 4 bytes where the model has 20 bytes; build classify"),
        (f"echo {_outputs([0] * 5)} 00", r"put out outputs of 20 and 1 bytes where the model has 20 bytes"),
        (f"echo {_outputs([0] * 5)}\necho {_outputs([0] * 5)}", r"outputs that cannot be read"),
        ("echo outputs " + "zz" * 20, r"put out outputs that cannot be read where the model has 20 bytes"),
        ("echo hello", r"gave outputs for 0 of 1 inputs; check that it is the program classify \(docs/embed says how"),
        ("echo 'classify: the model is refused' >&2; exit 1", r"grey\.tflite: classify: the model is refused$"),
        ("kill -SEGV $$", r"the program crashed; the model may be damaged.*SIGSEGV"),
        ("echo broken >&2; exit 3", r"grey\.tflite: broken \(status 3\); try again"),
    ],
)
def test_a_program_that_fails(ssh_far: Far, tmp_path: Path, script: str, pattern: str) -> None:
    model = tmp_path / "grey.tflite"
    model.write_bytes(b"any")
    program = RemoteProgram(_stand_in(tmp_path / "classify", script), folder=ssh_far.folder)
    with _on(ssh_far, model, program) as remote, pytest.raises(ElLarqError, match=pattern):
        remote.run(np.zeros((1, 16, 16, 1), np.float32), [np.zeros((1, 5), np.float32)])
    ssh_far.wait_until_clean(1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "pattern"),
    [
        (
            "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done",
            r"the program printed more than 1\.\d+ MiB and was stopped; check",
        ),
        ("exec sleep 100", r"the program did not end within 2 seconds and was stopped"),
    ],
)
def test_a_program_that_does_not_end(
    ssh_far: Far, dense: dict[str, Path], images: Path, tmp_path: Path, script: str, pattern: str
) -> None:
    binary = _stand_in(tmp_path / "classify", script)
    refused(predict(ssh_far, dense["grey"], images / "0.png", "--binary", binary, "--timeout", "2"), pattern)
    ssh_far.wait_until_clean(1)


def _on(far: Far, model: Path, program: RemoteProgram) -> RemoteInference:
    return RemoteInference(open_target(far.target, ssh_config=Path(far.options[1])), model, program)


@pytest.mark.slow
def test_outputs_that_are_not_numbers(ssh_far: Far, dense: dict[str, Path], images: Path, tmp_path: Path) -> None:
    binary = _stand_in(tmp_path / "classify", f"echo {_outputs([float('nan')] * 5)}")
    done = predict(ssh_far, dense["grey"], images / "0.png", "--binary", binary)
    refused(done, "the outputs of the device are NaN or Inf, those of this machine are not")


@pytest.mark.slow
def test_a_model_that_the_program_refuses(ssh_far: Far, classify: Path, small: Any, digit_png: Path) -> None:
    """The stub has no binary layers."""
    refused(predict(ssh_far, small.tflite, digit_png, "--binary", classify), r"model\.tflite: classify: the model is refused")
    ssh_far.wait_until_clean(1)


def test_a_program_for_another_processor(far: Far, dense: dict[str, Path], images: Path, tmp_path: Path) -> None:
    content = bytearray(64)
    content[:6] = b"\x7fELF\x02\x01"
    content[18:20] = (0xB7 if os.uname().machine == "x86_64" else 0x3E).to_bytes(2, "little")
    (tmp_path / "classify").write_bytes(bytes(content))
    done = predict(far, dense["grey"], images, "--binary", tmp_path / "classify")
    refused(done, r"classify is for \w+ \(64 bits\) and cannot run on .*; docs/embed says how to build it for a device")
    far.wait_until_clean(1)


def test_arguments_that_cannot_work(dense: dict[str, Path], data_folder: Path, images: Path, tmp_path: Path) -> None:
    nowhere = Far("ssh", f"ssh://root@127.0.0.1:{servers.free_port()}", "/tmp")
    (tmp_path / "text").write_text("hello")
    script = _stand_in(tmp_path / "classify", "exit 0")
    (tmp_path / "model.h5").write_bytes(b"")
    for words, status, text in (
        ([dense["grey"], images], 2, "--target needs docs/embed's program classify"),
        ([dense["grey"], images, "--binary", tmp_path / "missing"], 2, "cannot read the program"),
        ([tmp_path / "model.h5", images, "--binary", script], 2, "only a .tflite runs on a device; make one with el-larq convert"),
        ([data_folder / "t1.tflite", images, "--binary", script], 2, "does not say how images are prepared"),
        ([dense["grey"], images, "--binary", script], 1, "nothing answers at that port"),
    ):
        done = predict(nowhere, *words)
        assert done.returncode == status, done.stderr
        assert text in done.stderr.splitlines()[-1]
    here = subprocess.run(
        [PROGRAM, "predict", dense["grey"], images, "--binary", script], capture_output=True, text=True, check=False
    )
    assert here.returncode == 2
    assert "--binary has no effect without --target" in here.stderr


@pytest.mark.slow
def test_a_device_that_goes_away(dense: dict[str, Path], images: Path, tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    binary = _stand_in(tmp_path / "classify", HANG)
    with servers.ssh_server(tmp_path / "server") as far:
        command = [PROGRAM, "predict", "--target", far.target, *far.options, dense["grey"], images, "--binary", binary]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 120
        while not any("sleep-long" in line for line in far.running()):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for child in Path(f"/proc/{far.process}/task/{far.process}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        _out, said = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "connection was lost" in said.splitlines()[-1]
        far.wait_until_clean()


def test_many_inputs_go_in_batches(ssh_far: Far, classify: Path, dense: dict[str, Path]) -> None:
    """`batch` limits what is copied at once, and outputs keep the order of the inputs."""
    from el_larq.tflite.interpreter import Interpreter

    inputs = np.random.default_rng(0).standard_normal((40, 16, 16, 1)).astype(np.float32)
    wanted = Interpreter(dense["grey"].read_bytes()).run(inputs)
    assert RemoteInference.batch(inputs[0].nbytes) == 8192
    assert RemoteInference.batch(10**9) == 1
    with _on(ssh_far, dense["grey"], RemoteProgram(classify, folder=ssh_far.folder)) as remote:
        for part in (slice(0, 25), slice(25, 40)):
            (got,) = remote.run(inputs[part], [output[part] for output in wanted])
            np.testing.assert_allclose(got, wanted[0][part], atol=1e-5)
    ssh_far.wait_until_clean(1)
