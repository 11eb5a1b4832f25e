"""Fixtures that several folders share. Each piece of TensorFlow work is done once a session."""

import el_larq  # isort: skip  (first: it selects Keras 2)

import contextlib
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from PIL import Image

# No test depends on time, which other programs on the machine change.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")

# A shell that starts the tests in the background has interrupts ignored, by the commands under test too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Which part of what is too much for every day is tested today. Set here, before pytest-xdist starts its workers, which inherit it.
os.environ.setdefault("EL_LARQ_SAMPLE", datetime.now(UTC).date().isoformat())


def pytest_report_header() -> str:
    return f"to repeat today's samples: EL_LARQ_SAMPLE={os.environ['EL_LARQ_SAMPLE']}"


def pytest_collection_finish() -> None:
    """What collecting the tests has imported stays to the end, so no garbage collection needs to visit it."""
    gc.collect()
    gc.freeze()


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def el_larq_command() -> Run:
    """The installed entry point in a process of its own: el_larq_command("list", "methods", cwd=..., timeout=...)."""
    program = Path(sys.executable).parent / "el-larq"

    def run(*arguments: object, cwd: Path | None = None, timeout: float = 180) -> subprocess.CompletedProcess[str]:
        command = [str(program), *map(str, arguments)]
        return subprocess.run(command, cwd=cwd, timeout=timeout, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def el_larq_here(capfd: pytest.CaptureFixture[str]) -> Run:
    """As el_larq_command, but called in this process, which saves the import of TensorFlow.

    For what a command does and says. What a process of its own adds (silence of TensorFlow's start, signals) needs el_larq_command.
    """
    from el_larq.cli.main import main

    def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = list(map(str, arguments))
        capfd.readouterr()
        with contextlib.chdir(cwd or Path.cwd()), pytest.raises(SystemExit) as end:
            main(command)
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess(command, int(end.value.code or 0), out, err)

    return run


@pytest.fixture(scope="session")
def data_folder() -> Path:
    return Path(__file__).parent / "data"


@dataclass(frozen=True)
class Small:
    """A small trained classifier of `digits` in every format, with its card."""

    model: Any
    card: dict[str, Any]
    h5: Path
    keras: Path
    saved_model: Path
    tflite: Path
    job: Any


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """Two binary convolutions between a real-valued stem and classifier, an epoch of digits behind them."""
    import larq
    import tf_keras as keras

    from el_larq.training.models import save_model

    keras.utils.set_random_seed(0)
    data = el_larq.load_dataset("digits")
    binary: dict[str, Any] = {
        "input_quantizer": "ste_sign",
        "kernel_quantizer": "ste_sign",
        "kernel_constraint": "weight_clip",
        "use_bias": False,
    }
    image = keras.Input(data.preprocessing.input_shape, name="image")
    x = keras.layers.Conv2D(32, 3, 2, "same", use_bias=False, name="stem")(image)
    x = keras.layers.BatchNormalization(momentum=0.8, name="stem_norm")(x)
    x = larq.layers.QuantConv2D(32, 3, padding="same", pad_values=1.0, name="first", **binary)(x)
    x = keras.layers.BatchNormalization(momentum=0.8, name="first_norm")(x)
    x = larq.layers.QuantConv2D(48, 3, padding="same", pad_values=1.0, name="second", **binary)(x)
    x = keras.layers.BatchNormalization(momentum=0.8, name="second_norm")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(image, keras.layers.Dense(10, name="logits")(x), name="small")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.legacy.Adam(1e-2), loss)
    model.fit(data.training_batches(64, 2, seed=0), verbose=0)  # pyright: ignore[reportArgumentType]

    folder = tmp_path_factory.mktemp("small")
    card = {
        "labels": list(data.labels),
        "preprocessing": data.preprocessing.to_dict(),
        "dataset": {"name": data.name, "version": data.version},
    }
    save_model(folder, model, card)
    bare = keras.Model(model.inputs, model.outputs, name=model.name)
    bare.save(folder / "saved_model", save_format="tf")
    job = el_larq.convert(folder / "model.h5", folder / "model.tflite")
    return Small(
        bare,
        card,
        folder / "model.h5",
        folder / "model.keras",
        folder / "saved_model",
        folder / "model.tflite",
        job,
    )


@pytest.fixture(scope="session")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`UntrainedDetector`, which is not trained."""
    from untrained_detector import convert_detector

    return convert_detector(tmp_path_factory.mktemp("detector"))


@pytest.fixture(scope="session")
def digit_png(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test image of `digits` as a file."""
    data = el_larq.load_dataset("digits")
    path = tmp_path_factory.mktemp("images") / "digit.png"
    Image.fromarray(data.test.images[0, ..., 0]).save(path)
    return path


@pytest.fixture(scope="session")
def one_line() -> Callable[[BaseException], str]:
    """The message of an error that a user can fix, after a check that it is one line of readable length."""
    from el_larq.errors import ElLarqError

    def check(error: BaseException) -> str:
        message = str(error)
        assert isinstance(error, ElLarqError)
        assert message
        assert "\n" not in message
        assert len(message) < 1000
        return message

    return check
