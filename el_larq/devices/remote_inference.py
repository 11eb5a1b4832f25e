"""Runs a .tflite on a device with docs/embed's program classify, on inputs that were prepared here."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from el_larq.devices import engine
from el_larq.devices.failures import explain_end
from el_larq.devices.probe import probe
from el_larq.devices.process import Completed
from el_larq.devices.program import CLASSIFIER
from el_larq.devices.target import Target, last_line
from el_larq.devices.workspace import RemoteWorkspace
from el_larq.errors import ElLarqError

# Inputs that are copied to the device at a time.
_BATCH_BYTES = 8 * 2**20
# What the program may print in addition to the outputs: a line's first word and end, messages of TensorFlow Lite.
_LINE_BYTES, _MESSAGE_BYTES = 16, 1 << 20


@dataclass(frozen=True)
class RemoteProgram:
    """binary: the program classify, built for the device. timeout: seconds for a batch of inputs; folder: where it runs."""

    binary: Path
    timeout: float = 600.0
    folder: str | None = None


class RemoteInference:
    """A target with the program and a model on it, as a context manager; both are removed when it ends.

    Raises:
        UsageError: the program cannot be read, or is none.
        ElLarqError: the device cannot be reached, cannot run the program or has no space for it.
    """

    def __init__(self, target: Target, model: Path, program: RemoteProgram, notify: Callable[[str], None] = lambda line: None):
        self.target, self.model, self.program = target, model, program
        self.workspace = RemoteWorkspace(target, program.folder, notify, CLASSIFIER)

    def __enter__(self) -> "RemoteInference":
        engine.read_elf(self.program.binary, CLASSIFIER)
        self.workspace.__enter__()
        try:
            device = probe(self.target, self.workspace.path, time.time())
            engine.check_fits(self.program.binary, device, android=self.target.android, program=CLASSIFIER)
            self.workspace.upload(self.program.binary, "classify", executable=True)
            self.workspace.upload(self.model, "model.tflite")
        except BaseException as error:
            self.workspace.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.workspace.__exit__(kind, error, trace)

    @staticmethod
    def batch(input_bytes: int) -> int:
        """How many inputs to give to `run` at most."""
        return max(1, _BATCH_BYTES // max(1, input_bytes))

    def run(self, inputs: np.ndarray, like: Sequence[np.ndarray]) -> list[np.ndarray]:
        """All outputs for inputs (N, ...), both in the model's own types.

        like: arrays (N, ...) with the types and shapes of the outputs.

        Raises:
            ElLarqError: the program failed, or its outputs are not of these sizes.
        """
        folder = self.workspace.path
        with tempfile.TemporaryDirectory(prefix="el-larq-") as here:
            file = Path(here) / "inputs.raw"
            file.write_bytes(np.ascontiguousarray(inputs).tobytes())
            self.workspace.upload(file, file.name)
        command = [f"{folder}/classify", "--raw", f"{folder}/model.tflite", f"{folder}/inputs.raw"]
        size = 2 * sum(output.nbytes for output in like) + _LINE_BYTES * len(inputs) * len(like)
        done = self.workspace.run(command, timeout=self.program.timeout, limit=size + _MESSAGE_BYTES)
        lines = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("outputs ")]
        if done.status or len(lines) < len(inputs):
            raise self._failure(done, len(lines), len(inputs))
        return self._read(lines, like)

    def _read(self, lines: list[list[str]], like: Sequence[np.ndarray]) -> list[np.ndarray]:
        sizes = [output[0].nbytes for output in like]
        try:
            values = [[bytes.fromhex(word) for word in line] for line in lines]
        except ValueError:
            values = []
        got = next(([len(word) for word in line] for line in values if [len(word) for word in line] != sizes), None)
        if got is not None or len(values) != len(like[0]):
            what = f"outputs of {_sizes(got)}" if got is not None else "outputs that cannot be read"
            raise ElLarqError(
                f"{self.target.name}: the program put out {what} where the model has {_sizes(sizes)}; "
                "build classify from this version's docs/embed"
            )
        columns = zip(*values, strict=True)
        return [
            np.frombuffer(b"".join(column), output.dtype).reshape(output.shape)
            for column, output in zip(columns, like, strict=True)
        ]

    def _failure(self, done: Completed, got: int, wanted: int) -> ElLarqError:
        name = self.target.name
        said = last_line(done.stderr)
        if said.startswith("classify: "):
            return ElLarqError(f"{name}: {self.model.name}: {said}")
        if lost := self.workspace.connection_error():
            return lost
        if reason := self.target.explain_failure(done):
            return ElLarqError(f"{name}: {reason}")
        if not done.status:
            return ElLarqError(
                f"{name}: the program gave outputs for {got} of {wanted} inputs; check that it is {CLASSIFIER.kind} "
                f"({CLASSIFIER.source})"
            )
        reason = explain_end(done, CLASSIFIER) or f"{said or 'the program failed'} (status {done.status}); try again"
        return ElLarqError(f"{name}: {self.model.name}: {reason}")


def _sizes(sizes: Sequence[int]) -> str:
    return f"{' and '.join(f'{size:,}' for size in sizes) or 'no'} bytes"
