"""Measuring models on a device with the benchmark binary: several models and numbers of threads, interleaved and repeated."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from el_larq.devices import benchmark_log, engine, measured_layers, profile_log
from el_larq.devices.benchmark_log import BenchmarkLog
from el_larq.devices.failures import explain
from el_larq.devices.probe import Device, check_threads, probe, read_temperature
from el_larq.devices.process import MAX_OUTPUT, Completed
from el_larq.devices.record import Record
from el_larq.devices.target import Target
from el_larq.devices.workspace import RemoteWorkspace
from el_larq.errors import ElLarqError, UsageError
from el_larq.files import read_bytes
from el_larq.tflite.reader import TfliteGraph, parse

# Free space to leave on the device.
_SPARE_MB = 1.0
# Limit of the output of a run with --profile: several tables with a line per operator; a .tflite may have 10,000 operators.
_PROFILE_BYTES = 1 << 24
# How many warnings of the benchmark binary are kept with a result, and how many characters of each.
_WARNINGS, _WARNING_LENGTH = 10, 300


@dataclass(frozen=True)
class BenchmarkPlan:
    """What to measure.

    runs, warmup: minimum numbers of inferences; the tool also runs for at least a second, after half a second of warm-up. repeat:
    how often each model is measured in a new process; each round goes through all models. cool_down: seconds to wait at most,
    before a run, until the processor is as cool as at the start. cores: "auto" pins to the big cores of a device that has two
    kinds, "all" does not pin, anything else is a list of core numbers. notes: to print with a model, by its path. flags: additional
    arguments of the tool.
    """

    models: tuple[Path, ...]
    threads: tuple[int, ...] = (1,)
    runs: int = 50
    warmup: int = 5
    repeat: int = 3
    profile: bool = False
    binary: Path | None = None
    cool_down: float = 0.0
    cores: str = "auto"
    timeout: float = 600.0
    folder: str | None = None
    notes: dict[str, tuple[str, ...]] | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class BenchmarkedModel:
    """A .tflite to measure, and its path on the device."""

    path: Path
    content: bytes
    graph: TfliteGraph
    remote: str

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "name": self.path.name,
            "sha256": hashlib.sha256(self.content).hexdigest(),
            "bytes": len(self.content),
        }


OnRecord = Callable[[Record, dict[str, str]], None]
"""Receives a record, and its logs by name of the stream."""


class BenchmarkSession:
    """A target with the benchmark binary and the models on it; both are removed when it ends.

    Raises:
        ElLarqError: the device cannot be reached, cannot run the binary or has no space, or a model is not a .tflite.
    """

    def __init__(self, target: Target, plan: BenchmarkPlan, notify: Callable[[str], None] = lambda line: None):
        if len({path.absolute() for path in plan.models}) != len(plan.models):
            raise UsageError("a model is given twice; give it once, and use --repeat to measure it again")
        contents = [(path, read_bytes(path)) for path in plan.models]
        self.models = [
            BenchmarkedModel(path, content, parse(content, str(path)), f"model{number}.tflite")
            for number, (path, content) in enumerate(contents)
        ]
        self.target, self.plan, self.notify = target, plan, notify
        self.workspace = RemoteWorkspace(target, plan.folder, notify)
        self.device = Device("unknown")
        self.engine: dict[str, Any] = {}
        self.flags: set[str] = set()

    def __enter__(self) -> "BenchmarkSession":
        if self.plan.binary is not None:
            engine.read_elf(self.plan.binary)
        self.workspace.__enter__()
        try:
            self._prepare()
        except BaseException as error:
            self.workspace.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(self, *details: Any) -> None:
        self.workspace.__exit__(*details)

    def _prepare(self) -> None:
        self.device = probe(self.target, self.workspace.path, time.time())
        check_threads(self.plan.threads, self.device.cpus or 0, self.device.machine)
        binary = engine.choose_binary(self.device, android=self.target.android, binary=self.plan.binary)
        content = read_bytes(binary)
        needed = (len(content) + sum(len(model.content) for model in self.models)) / 2**20
        free = self.device.disk_free_mb
        if free is not None and free < needed + _SPARE_MB:
            raise ElLarqError(
                f"{self.target.name}: no space left: {free:.1f} MB free in {self.workspace.path}, {needed:.1f} MB needed; "
                "free some, or choose another directory with --folder"
            )
        self.notify(f"{self.target.name}: {describe(self.device)}")
        self.notify(f"copying {binary.name} and {len(self.models)} model{'s' * (len(self.models) > 1)} ({needed:.1f} MB)")
        checked = {self.workspace.upload(binary, "engine", executable=True)}
        checked |= {self.workspace.upload(model.path, model.remote) for model in self.models}
        self.engine = {
            "path": str(binary),
            "name": binary.name,
            "sha256": hashlib.sha256(content).hexdigest(),
            "copy_checked_by": "size" if "size" in checked else "sha256",
        }
        self._read_flags()

    def _read_flags(self) -> None:
        """Find out which flags the binary knows."""
        done = self.workspace.run([f"{self.workspace.path}/engine", "--help"], timeout=self.plan.timeout)
        self.flags = benchmark_log.read_flags(done.stdout + done.stderr)
        if not self.flags:
            self._complete_or_raise(benchmark_log.parse(done.stdout, done.stderr), done, self.plan.binary or Path("engine"))
        lce = "use_reference_bconv" in self.flags
        self.engine["lce"] = lce
        for model in self.models:
            if not lce and any(operator.name.startswith("Lce") for operator in model.graph.operators):
                raise ElLarqError(
                    f"{self.engine['name']} is not a benchmark binary of LCE and cannot run {model.path.name}, which contains "
                    "binary convolutions; download LCE's with el-larq engine fetch"
                )

    def run_all(self, on_record: OnRecord) -> list[Record]:
        """All runs of the plan. ``on_record`` is called after each run, so that no measurement is lost."""
        records: list[Record] = []
        start = self.device.celsius
        for threads, repeat, model, profile in self._order():
            if records and self.plan.cool_down:
                self._wait_until_cool(start)
            record, logs = self.run(model, threads, repeat=repeat, profile=profile)
            records.append(record)
            on_record(record, logs)
            what = "profile, without XNNPACK" if profile else f"repeat {repeat + 1} of {self.plan.repeat}"
            self.notify(f"{model.path.name}, {threads} thread{'s' * (threads > 1)}, {what}: {record.latency_ms:.3f} ms")
        return records

    def _order(self) -> Iterator[tuple[int, int, BenchmarkedModel, bool]]:
        for threads in self.plan.threads:
            for repeat in range(self.plan.repeat):
                for model in self.models:
                    yield threads, repeat, model, False
        if self.plan.profile:
            for model in self.models:
                yield self.plan.threads[0], 0, model, True

    def run(
        self, model: BenchmarkedModel, threads: int, *, repeat: int = 0, profile: bool = False, flags: Sequence[str] = ()
    ) -> tuple[Record, dict[str, str]]:
        """One run of the benchmark binary.

        Raises:
            ElLarqError: it did not print its final timings line; the message gives the cause.
        """
        cores, pin = self._choose_cores(threads)
        wanted = {
            "graph": f"{self.workspace.path}/{model.remote}",
            "num_threads": str(threads),
            "num_runs": str(self.plan.runs),
            "warmup_runs": str(max(1, self.plan.warmup)),
        }
        # XNNPACK is on by default, although the tool's help says otherwise. In a profile its rows cannot be matched with operators.
        if profile:
            wanted |= {"enable_op_profiling": "true", "use_xnnpack": "false", "max_profiling_buffer_entries": "100000"}
        marks = list((self.plan.notes or {}).get(str(model.path), ()))
        if self.flags:
            missing = sorted(set(wanted) - self.flags - {"max_profiling_buffer_entries"})
            if "graph" in missing:
                missing.remove("graph")
            if missing:
                marks.append(f"the benchmark binary does not support --{', --'.join(missing)}: its defaults apply")
            wanted = {name: value for name, value in wanted.items() if name == "graph" or name in self.flags}
        arguments = [f"--{name}={value}" for name, value in wanted.items()] + [*self.plan.flags, *flags]
        command = [*pin, f"{self.workspace.path}/engine", *arguments]
        before = read_temperature(self.target)
        started = datetime.now(UTC).isoformat(timespec="milliseconds")
        done = self.workspace.run(command, timeout=self.plan.timeout, limit=_PROFILE_BYTES if profile else MAX_OUTPUT)
        log = benchmark_log.parse(done.stdout, done.stderr)
        self._complete_or_raise(log, done, model.path)
        layers = measured_layers.join(profile_log.parse(done.stdout), model.graph) if profile else []
        if profile and not layers:
            marks.append("the benchmark binary printed no profile")
        record = Record(
            time=started,
            target=self.target.name,
            model=model.facts,
            device=self.device.to_dict(),
            engine=self.engine,
            runtime={
                "num_threads": threads,
                "cores": list(cores),
                "use_xnnpack": not profile,
                "profile": profile,
                "repeat": repeat,
            },
            latency_metrics=log.latency_metrics(),
            memory_metrics=log.memory_metrics(),
            misc_metrics={"model_size_mb": len(model.content) / 1e6} | log.misc_metrics(),
            command=tuple(command),
            before={"celsius": before},
            after={"celsius": read_temperature(self.target)},
            layers=tuple(layer.to_dict() for layer in layers),
            marks=tuple(dict.fromkeys([*marks, *self._warnings(log, done)])),
        )
        return record, {"stdout": done.stdout, "stderr": done.stderr}

    def _complete_or_raise(self, log: BenchmarkLog, done: Completed, model: Path) -> None:
        if log.complete:
            return
        if not log.errors and (lost := self.workspace.connection_error()):
            raise lost
        if reason := self.target.explain_failure(done):
            raise ElLarqError(f"{self.target.name}: {reason}")
        raise ElLarqError(f"{self.target.name}: {model.name}: {explain(log, done)}")

    def _warnings(self, log: BenchmarkLog, done: Completed) -> list[str]:
        marks = [f"the benchmark binary warns: {warning[:_WARNING_LENGTH]}" for warning in log.warnings[:_WARNINGS]]
        if more := len(log.warnings) - _WARNINGS:
            marks += [f"{more} more warnings are in its log"] if more > 0 else []
        if done.status:
            marks.append(f"the benchmark binary ended with status {done.status} after its final timings line")
        return marks

    def _choose_cores(self, threads: int) -> tuple[tuple[int, ...], list[str]]:
        """The cores to run on, and the command prefix that pins to them."""
        big, count = self.device.big_cores, self.device.cpus or 0
        if self.plan.cores == "all":
            return (), []
        if self.plan.cores == "auto":
            if not self.device.taskset or not 0 < len(big) < count or threads > len(big):
                return (), []
            cores = big
        else:
            cores = parse_cores(self.plan.cores)
            if count and max(cores) >= count:
                raise UsageError(f"--cores {self.plan.cores}: the device has cores 0 to {count - 1}")
            if not self.device.taskset:
                raise ElLarqError(f"{self.target.name}: --cores needs taskset, which the device does not have; use --cores all")
        return cores, ["taskset", f"{sum(1 << core for core in cores):x}"]

    def _wait_until_cool(self, start: float | None) -> None:
        deadline = time.monotonic() + self.plan.cool_down
        while (rest := deadline - time.monotonic()) > 0:
            now = None if start is None else read_temperature(self.target)
            if start is not None and now is not None and now <= start + 2:
                return
            time.sleep(min(rest, 5.0))


def parse_cores(text: str) -> tuple[int, ...]:
    """Core numbers from a list like 4-7 or 0,2; raises UsageError if it is invalid."""
    cores: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or int(last or first) > 1023:
            raise UsageError(f"--cores {text!r} is invalid; give auto, all or core numbers like 4-7 or 0,2")
        cores |= set(range(int(first), int(last or first) + 1))
    if not cores:
        raise UsageError(f"--cores {text!r} contains no core number; give auto, all or core numbers like 4-7 or 0,2")
    return tuple(sorted(cores))


def describe(device: Device) -> str:
    """A one-line description of a device."""
    parts = [device.board or device.machine]
    if device.board:
        parts.append(device.machine)
    if device.bits:
        parts.append(f"{device.bits}-bit")
    if device.android:
        parts.append(f"Android {device.android}")
    if device.cpus:
        big = len(device.big_cores)
        parts.append(f"{device.cpus} cores" + (f", {big} of them big" if 0 < big < device.cpus else ""))
    if device.governors:
        parts.append(f"governor {'/'.join(device.governors)}")
    if device.celsius is not None:
        parts.append(f"{device.celsius:.0f} °C")
    return ", ".join(parts)
