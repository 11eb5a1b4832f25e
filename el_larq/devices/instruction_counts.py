"""Instructions per inference of models, counted while QEMU emulates an ARM core.

The benchmark binary runs with n and with 2n inferences; the difference, divided by n, is free of starting, loading and warming up.
Instructions are not time: QEMU knows neither caches nor pipelines.
"""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from el_larq.devices import benchmark_log, emulator, engine
from el_larq.devices.emulated_core import make_root
from el_larq.devices.failures import explain
from el_larq.devices.local_shell import LocalTarget
from el_larq.devices.probe import Device
from el_larq.devices.process import Completed
from el_larq.devices.workspace import RemoteWorkspace
from el_larq.errors import ElLarqError, UsageError
from el_larq.files import read_bytes
from el_larq.tflite.reader import parse

TOTAL = ""
"""The key of the sum over all functions, whose names are not empty."""

NOT_TIME = "instructions are not time: memory traffic and the width of the core are not in them"
NO_SYMBOL = "?"
"""The name of all code without a symbol: libraries, and the whole of a binary whose symbols were removed."""

_COUNTS_BYTES = 1 << 24


@dataclass(frozen=True)
class InstructionCount:
    """Instructions of one inference of a model.

    inferences: the n of the two runs, of n and of 2n inferences. symbols: names of functions and their instructions, most first;
    `NO_SYMBOL` for code without.
    """

    model: str
    sha256: str
    core: str
    instructions: int
    inferences: int
    engine: str
    emulator: str
    symbols: tuple[tuple[str, int], ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"symbols": dict(self.symbols)}


@dataclass(frozen=True)
class CountPlan:
    """What to count. runs: inferences of the shorter run. timeout: seconds for each run. folder: for temporary files."""

    models: tuple[Path, ...]
    core: str
    runs: int = 2
    binary: Path | None = None
    timeout: float = 600.0
    folder: str | None = None


class EmulatedTarget(LocalTarget):
    """This machine, on which the emulator runs."""

    def __init__(self, core: str):
        self.name = f"emulated:{core}"


def count_instructions(plan: CountPlan, notify: Callable[[str], None] = lambda line: None) -> list[InstructionCount]:
    """Count the instructions of each model.

    Raises:
        ElLarqError: the emulator, the compiler, the benchmark binary or its libraries are missing or do not fit, a model is not a
            .tflite, or a run failed.
    """
    contents = {path: read_bytes(path) for path in plan.models}
    for path, content in contents.items():
        parse(content, str(path))
    program = emulator.find_emulator()
    binary = _choose_binary(plan.binary)
    libraries = emulator.find_libraries(binary)
    emulator.find_compiler()
    target = EmulatedTarget(plan.core)
    with RemoteWorkspace(target, plan.folder, notify) as workspace:
        root = Path(workspace.path) / "root"
        make_root(root, plan.core, libraries)
        workspace.upload(binary, "engine", executable=True)
        run = _Run(workspace, [program, "-cpu", plan.core, "-L", str(root)], binary, plan)
        run.choose_interface()
        found = []
        for path, content in contents.items():
            workspace.upload(path, "model.tflite")
            notify(f"{path.name}: {plan.runs} and {2 * plan.runs} inferences on an emulated {plan.core}")
            first, second = (run.count(inferences) for inferences in (plan.runs, 2 * plan.runs))
            found.append(
                InstructionCount(
                    str(path),
                    hashlib.sha256(content).hexdigest(),
                    plan.core,
                    round((second[TOTAL] - first[TOTAL]) / plan.runs),
                    plan.runs,
                    binary.name,
                    f"QEMU {emulator.version(program)}",
                    _per_inference(first, second, plan.runs),
                )
            )
    return found


def _choose_binary(given: Path | None) -> Path:
    device = Device("aarch64", bits=64)
    binary = engine.choose_binary(device, android=False, binary=given)
    if engine.read_elf(binary) is None:
        raise UsageError(f"{binary} is a script, which cannot be emulated; give a program for 64-bit ARM Linux with --binary")
    return binary


def _per_inference(first: dict[str, int], second: dict[str, int], runs: int) -> tuple[tuple[str, int], ...]:
    each = {name: round((count - first.get(name, 0)) / runs) for name, count in second.items() if name != TOTAL}
    return tuple(sorted(((name, count) for name, count in each.items() if count > 0), key=lambda item: -item[1]))


class _Run:
    """Runs of the benchmark binary in the emulator."""

    def __init__(self, workspace: RemoteWorkspace, command: list[str], binary: Path, plan: CountPlan):
        self._workspace, self._command, self._binary, self._plan = workspace, command, binary, plan
        self._flags: set[str] = set()

    def choose_interface(self) -> None:
        """Find the version of the plugin interface that the emulator accepts, and the flags of the benchmark binary."""
        done = Completed(0, "", "")
        for interface in emulator.INTERFACES:
            self._workspace.upload(emulator.build_counter(interface), "counter.so")
            done = self._execute(["--help"])
            if "API version" not in done.stderr:
                break
        self._check_emulator(done)
        self._flags = benchmark_log.read_flags(done.stdout + done.stderr)
        if "num_runs" not in self._flags:
            raise ElLarqError(
                f"{self._binary.name} is not a benchmark binary: its --help does not list --num_runs; "
                "el-larq engine fetch aarch64 downloads LCE's"
            )

    def count(self, inferences: int) -> dict[str, int]:
        """Instructions by symbol, and, under `TOTAL`, of a run with this number of inferences after one for warm-up."""
        # Seconds must not decide on the number of inferences.
        wanted = {
            "num_runs": inferences,
            "warmup_runs": 1,
            "min_secs": 0,
            "warmup_min_secs": 0,
            "max_secs": 10**6,
            "num_threads": 1,
        }
        flags = [f"--{name}={value}" for name, value in wanted.items() if name in self._flags]
        done = self._execute([f"--graph={self._workspace.path}/model.tflite", *flags])
        self._check_emulator(done)
        log = benchmark_log.parse(done.stdout, done.stderr)
        if not log.complete:
            raise ElLarqError(f"{self._workspace.target.name}: {explain(log, done)}")
        if log.regular is None or log.regular.count != inferences:
            ran = 0 if log.regular is None else log.regular.count
            raise ElLarqError(
                f"{self._binary.name} ran {ran} inferences instead of {inferences}, so they cannot be counted; "
                "use LCE's benchmark binary (el-larq engine fetch aarch64)"
            )
        return self._read_counts()

    def _execute(self, arguments: list[str]) -> Completed:
        # The program runs in the private folder. Paths that QEMU splits at commas must not contain any.
        plugin = ["-plugin", "file=./counter.so,out=counts.txt"]
        command = [*self._command, *plugin, f"{self._workspace.path}/engine", *arguments]
        return self._workspace.run(command, timeout=self._plan.timeout)

    def _check_emulator(self, done: Completed) -> None:
        if reason := emulator.explain_emulator(done.stderr, self._command[0]):
            raise ElLarqError(f"{self._workspace.target.name}: {reason}")

    def _read_counts(self) -> dict[str, int]:
        path = Path(self._workspace.path) / "counts.txt"
        if not path.is_file():
            raise ElLarqError(
                f"{self._workspace.target.name}: the emulator wrote no counts, since the program did not end by itself"
            )
        found: dict[str, int] = {}
        for line in read_bytes(path, _COUNTS_BYTES).decode(errors="replace").splitlines():
            first, _, rest = line.partition(" ")
            # A function may be called "total" too, but is written behind its number.
            name, number = (TOTAL, rest) if first == "total" else (rest, first)
            found[name] = found.get(name, 0) + int(number)
        path.unlink()
        return found
