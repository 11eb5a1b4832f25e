"""`el-larq benchmark`."""

import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from el_larq.cli.common import common_options, complete_from, print_json, print_table, say, start_tensorflow
from el_larq.cli.interruption import interruptible
from el_larq.devices.targets import TARGETS
from el_larq.model_files import tflite_file
from el_larq.printable import counted

if TYPE_CHECKING:
    from el_larq.devices.instruction_counts import InstructionCount


def _threads(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        counts = tuple(dict.fromkeys(int(part) for part in value.split(",")))
    except ValueError:
        counts = (0,)
    if min(counts) < 1:
        raise click.BadParameter(f"{value!r} is not a list of thread counts such as 1,2,4")
    return counts


def _instructions(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    digits, factor = (value[:-1], 10**6) if value[-1:] in ("M", "m") else (value, 1)
    try:
        limit = float(digits) * factor
    except ValueError:
        limit = 0.0
    if not 1 <= limit < 1e18:
        raise click.BadParameter(f"{value!r} is not a number of instructions such as 120000000 or 120M")
    return int(limit)


@click.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--target",
    shell_complete=complete_from("el_larq.devices.targets:TARGETS"),
    default="local",
    show_default=True,
    help=f"{', '.join(TARGETS)}.",
)
@click.option("--threads", default="1", show_default=True, callback=_threads, help="Number of threads, or several: 1,2,4.")
@click.option("--runs", type=click.IntRange(1), default=50, show_default=True, help="Minimum number of timed inferences.")
@click.option(
    "--warmup", type=click.IntRange(0), default=5, show_default=True, help="Number of inferences before that are not timed."
)
@click.option("--repeat", type=click.IntRange(1), default=3, show_default=True, help="Number of rounds on a device.")
@click.option("--profile", is_flag=True, help="Also measure each layer, in a separate run without XNNPACK.")
@click.option("--binary", type=click.Path(path_type=Path), help="Benchmark binary to use instead of the downloaded one.")
@click.option("--cores", default="auto", show_default=True, help="Cores to run on: auto (the big cores), all, or numbers: 4-7.")
@click.option(
    "--cool-down", type=click.FloatRange(0), default=0, help="Maximum seconds to wait for the processor to cool before a run."
)
@click.option("--timeout", type=click.FloatRange(1), default=600, show_default=True, help="Time limit of one run, in seconds.")
@click.option("--folder", help="Directory on the device for temporary files. [default: chosen automatically]")
@click.option("--ssh-config", type=click.Path(path_type=Path), help="ssh configuration file. [default: ~/.ssh/config]")
@click.option("--against", help="Also measure a baseline network: int8-mobilenetv2.")
@click.option("--trust", is_flag=True, help="Run models on this machine without limits on memory and time.")
@click.option(
    "--max-instructions",
    callback=_instructions,
    metavar="N",
    help="With target emulated: exit status 1 if an inference takes more, such as 120M.",
)
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="Results folder.")
@common_options
def command(
    models: tuple[Path, ...],
    target: str,
    against: str | None,
    max_instructions: int | None,
    out: Path,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure the latency of MODELS (.tflite, or run folders with model.tflite), interleaved. The first model is the baseline.

    Each run is saved as a JSON file, with its raw log next to it. Target emulated counts instructions instead, and saves nothing.
    """
    from el_larq.devices.targets import check_target
    from el_larq.errors import UsageError
    from el_larq.outputs import check_folder

    check_folder(out)
    models = tuple(map(tflite_file, models))
    kind = check_target(target)
    if kind == "emulated":
        _check_for_counting(options)
    elif max_instructions is not None:
        raise UsageError("--max-instructions needs --target emulated; other targets measure time")
    binary = options["binary"]
    if kind == "local" and binary is None and (found := shutil.which("lce_benchmark_model")):
        binary = options["binary"] = Path(found)
    notes: dict[str, tuple[str, ...]] = {}
    with interruptible():
        if against is not None:
            start_tensorflow()
            from el_larq.devices.baseline import build_baseline

            baseline, note = build_baseline(against, like=models[0], folder=out)
            models, notes = (*models, baseline), {str(baseline): (note,)}
        if kind == "emulated":
            _count_instructions(models, target, as_json, notes, max_instructions, **options)
        elif kind == "local" and binary is None:
            _measure_in_process(models, out, as_json, notes, **options)
        else:
            _measure_on_device(models, target, out, as_json, notes, **options)


def _measure_in_process(
    models: tuple[Path, ...],
    out: Path,
    as_json: bool,
    notes: dict[str, tuple[str, ...]],
    *,
    threads: tuple[int, ...],
    runs: int,
    warmup: int,
    profile: bool,
    trust: bool,
    **_options: Any,
) -> None:
    from el_larq.errors import UsageError

    if profile:
        raise UsageError("--profile needs a benchmark binary; on this machine, give one with --binary")
    from el_larq.devices import record
    from el_larq.devices.latency_comparison import compare_latencies
    from el_larq.devices.local import caveat, measure_in_subprocess
    from el_larq.devices.local_shell import LocalTarget
    from el_larq.devices.probe import check_threads, probe

    check_threads(threads, os.cpu_count() or 0, "this machine")
    results = measure_in_subprocess(models, threads=threads, runs=runs, warmup=warmup, trust=trust)
    device = probe(LocalTarget(), ".", time.time()).to_dict()
    finished = datetime.now(UTC).isoformat(timespec="milliseconds")
    records, paths = [], []
    for order, result in enumerate(results):
        remarks = (*notes.get(result.model, ()), caveat())
        size = Path(result.model).stat().st_size
        records.append(record.from_measurement(result, size, device, finished, remarks, order))
        paths.append(str(record.write(out, records[-1])))
    if as_json:
        print_json({"caveat": caveat(), "measurements": [result.to_dict() for result in results], "results": paths})
        return
    compared = compare_latencies(records)
    rows = [
        (
            row.model,
            row.threads,
            f"{row.latency_ms:.3f}",
            f"{result.iqr_ms:.3f}",
            f"{row.min_ms:.3f}",
            f"{row.ratio:.2f}",
            row.difference,
        )
        for row, result in zip(compared, results, strict=True)
    ]
    headings = ("model", "threads", "median ms", "IQR ms", "min ms", "ratio", "difference")
    print_table(f"Latency on local, {runs} runs after {warmup} warm-up runs", headings, rows)
    for path in sorted({str(model) for model in models} & set(notes)):
        say(f"note: {path}: {'; '.join(notes[path])}")
    for row in compared:
        if row.disturbance:
            say(f"note: {row.model}, {counted(row.threads, 'thread')}: {row.disturbance}")
    say(f"note: {caveat()}")


def _measure_on_device(
    models: tuple[Path, ...], target: str, out: Path, as_json: bool, notes: dict[str, tuple[str, ...]], **options: Any
) -> None:
    from el_larq.devices import record
    from el_larq.devices.benchmark import BenchmarkPlan, BenchmarkSession
    from el_larq.devices.latency_comparison import compare_latencies
    from el_larq.devices.targets import open_target

    options.pop("trust")  # on a device, the benchmark binary runs in a separate process
    device_target = open_target(target, ssh_config=options.pop("ssh_config"))
    plan = BenchmarkPlan(models, notes=notes, **options)
    paths: list[str] = []
    with BenchmarkSession(device_target, plan, say) as session:
        records = session.run_all(lambda entry, logs: paths.append(str(record.write(out, entry, logs))))
        device = session.device
    compared = compare_latencies(records)
    profiles = [entry for entry in records if entry.profiled]
    all_notes = [*device.notes, *dict.fromkeys(f"{row.model}: {mark}" for row in compared for mark in row.marks)]
    if as_json:
        print_json(
            {
                "target": target,
                "device": device.to_dict(),
                "comparison": [row.to_dict() for row in compared],
                "records": [entry.to_dict() for entry in records],
                "notes": all_notes,
                "results": paths,
            }
        )
        return
    rows = [
        (
            row.model,
            row.threads,
            f"{row.latency_ms:.3f}",
            f"±{row.noise_ms:.3f}",
            "" if row.min_ms is None else f"{row.min_ms:.3f}",
            "" if row.peak_mem_mb is None else f"{row.peak_mem_mb:.1f}",
            f"{row.ratio:.2f}",
            row.difference,
        )
        for row in compared
    ]
    headings = ("model", "threads", "ms", "noise ms", "min ms", "memory MB", "ratio", "difference")
    print_table(f"Latency on {target} with XNNPACK, {plan.repeat} times {plan.runs} runs or more", headings, rows)
    for entry in profiles:
        _print_profile(entry)
    for note in all_notes:
        say(f"note: {note}")
    say(f"results in {out}")


def _check_for_counting(options: dict[str, Any]) -> None:
    from el_larq.errors import UsageError

    if options["threads"] != (1,):
        raise UsageError("--target emulated counts the instructions of one thread; omit --threads")
    context = click.get_current_context()
    for name in ("warmup", "ssh_config", "trust"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(f"--{name.replace('_', '-')} has no effect with --target emulated; omit it")
    if options["profile"]:
        raise UsageError("--target emulated counts by function instead of --profile; el-larq inspect --cost predicts by layer")


def _count_instructions(
    models: tuple[Path, ...],
    target: str,
    as_json: bool,
    notes: dict[str, tuple[str, ...]],
    limit: int | None,
    *,
    runs: int,
    binary: Path | None,
    timeout: float,
    folder: str | None,
    **_options: Any,
) -> None:
    from el_larq.devices.emulated_core import parse_core
    from el_larq.devices.instruction_counts import NOT_TIME, CountPlan, count_instructions

    # Counts repeat, so they need few inferences; the default of --runs is for latencies.
    given = click.get_current_context().get_parameter_source("runs")
    runs = 2 if given == ParameterSource.DEFAULT else runs
    core = parse_core(target)
    counts = count_instructions(CountPlan(models, core, runs, binary, timeout, folder), say)
    exceeded = [count for count in counts if limit is not None and count.instructions > limit]
    if as_json:
        content = {"target": target, "caveat": NOT_TIME, "limit": limit, "counts": [count.to_dict() for count in counts]}
        print_json(content | {"exceeded": [count.model for count in exceeded]})
    else:
        rows = [
            (count.model, f"{count.instructions:,}", f"{count.instructions / max(1, counts[0].instructions):.3f}")
            for count in counts
        ]
        print_table(f"Instructions of one inference on an emulated {core}, one thread", ("model", "instructions", "ratio"), rows)
        for count in counts:
            _print_symbols(count)
        for path in sorted({str(model) for model in models} & set(notes)):
            say(f"note: {path}: {'; '.join(notes[path])}")
        say(f"note: {NOT_TIME}; counted with {counts[0].emulator} and {counts[0].engine}")
    for count in exceeded:
        say(f"{count.model}: {count.instructions:,} instructions exceed --max-instructions {limit:,}")
    if exceeded:
        raise click.exceptions.Exit(1)


def _print_symbols(count: "InstructionCount") -> None:
    """Print the functions that take most instructions, unless the binary has no symbols."""
    from el_larq.devices.instruction_counts import NO_SYMBOL

    if {name for name, _ in count.symbols} <= {NO_SYMBOL}:
        return
    total = max(1, count.instructions)
    rows = [(name[:70], f"{number:,}", f"{100 * number / total:.1f}") for name, number in count.symbols[:15]]
    print_table(f"{count.model}: by function ({NO_SYMBOL}: without a symbol)", ("function", "instructions", "%"), rows)


def _print_profile(entry: Any) -> None:
    rows = [
        (
            layer["layer"][:60],
            layer["operator"],
            "" if layer["bits"] is None else layer["bits"],
            f"{layer['macs'] / 1e6:.2f}" if layer["macs"] else "",
            f"{layer['ms']:.3f}",
            f"{100 * layer['share']:.1f}",
        )
        for layer in entry.layers
    ]
    title = f"Layers of {entry.model['path']}, {entry.threads} threads, without XNNPACK; their sum is not the latency"
    print_table(title, ("layer", "operator", "bits", "M MACs", "ms", "%"), rows)
