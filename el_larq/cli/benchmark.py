"""`el-larq benchmark`."""

import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from el_larq.cli.common import common_options, print_json, print_table, say, start_tensorflow
from el_larq.cli.interruption import interruptible
from el_larq.devices.targets import TARGETS


def _threads(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        counts = tuple(dict.fromkeys(int(part) for part in value.split(",")))
    except ValueError:
        counts = (0,)
    if min(counts) < 1:
        raise click.BadParameter(f"{value!r} is not a list of thread counts such as 1,2,4")
    return counts


@click.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--target", default="local", show_default=True, help=f"{', '.join(TARGETS)}.")
@click.option("--threads", default="1", show_default=True, callback=_threads, help="One or several: 1,2,4.")
@click.option("--runs", type=click.IntRange(1), default=50, show_default=True, help="Minimum number of timed inferences.")
@click.option("--warmup", type=click.IntRange(0), default=5, show_default=True, help="Inferences before them.")
@click.option(
    "--repeat", type=click.IntRange(1), default=3, show_default=True, help="Rounds on a device; each starts a new process."
)
@click.option("--profile", is_flag=True, help="One more run without XNNPACK: time of each layer.")
@click.option("--binary", type=click.Path(path_type=Path), help="A benchmark binary instead of the fetched one.")
@click.option("--cores", default="auto", show_default=True, help="auto (the big ones), all, or numbers: 4-7.")
@click.option("--cool-down", type=click.FloatRange(0), default=0, help="Seconds to wait at most for the processor to cool.")
@click.option("--timeout", type=click.FloatRange(1), default=600, show_default=True, help="Seconds that one run may take.")
@click.option("--folder", help="Working folder on the device. [default: chosen automatically]")
@click.option("--ssh-config", type=click.Path(path_type=Path), help="Instead of ~/.ssh/config.")
@click.option("--against", help="Also measure a baseline network: int8-mobilenetv2.")
@click.option("--trust", is_flag=True, help="On this machine, run the models without limits of memory and time.")
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="Folder.")
@common_options
def command(models: tuple[Path, ...], target: str, against: str | None, out: Path, as_json: bool, **options: Any) -> None:
    """Measure the latency of MODELS (.tflite), interleaved; the first one is what the others are compared with.

    Each run becomes a JSON file, with its raw log beside it.
    """
    from el_larq.devices.targets import check_target
    from el_larq.outputs import check_folder

    check_folder(out)
    kind = check_target(target)
    binary = options["binary"]
    if kind == "local" and binary is None and (found := shutil.which("lce_benchmark_model")):
        binary = options["binary"] = Path(found)
    marks: dict[str, tuple[str, ...]] = {}
    with interruptible():
        if against is not None:
            start_tensorflow()
            from el_larq.devices.baseline import build_baseline

            reference, mark = build_baseline(against, like=models[0], folder=out)
            models, marks = (*models, reference), {str(reference): (mark,)}
        if kind == "local" and binary is None:
            _in_process(models, out, as_json, marks, **options)
        else:
            _on_device(models, target, out, as_json, marks, **options)


def _in_process(
    models: tuple[Path, ...],
    out: Path,
    as_json: bool,
    marks: dict[str, tuple[str, ...]],
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
        raise UsageError("--profile needs the benchmark binary: on this machine give one with --binary")
    from el_larq.devices import record
    from el_larq.devices.local import caveat, measure_in_subprocess
    from el_larq.devices.local_shell import LocalTarget
    from el_larq.devices.probe import probe

    results = measure_in_subprocess(models, threads=threads, runs=runs, warmup=warmup, trust=trust)
    device = probe(LocalTarget(), ".", time.time()).to_dict()
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    rows, paths = [], []
    for result in results:
        told = (*marks.get(result.model, ()), caveat())
        kept = record.from_measurement(result, Path(result.model).stat().st_size, device, at, told, len(paths))
        paths.append(str(record.write(out, kept)))
        baseline = next(r for r in results if r.threads == result.threads)
        ratio = result.median_ms / baseline.median_ms
        # The runs are interleaved; the mean of the two interquartile ranges is a generous bound on the medians' random variation.
        noise = (result.iqr_ms + baseline.iqr_ms) / 2
        same = result is not baseline and abs(result.median_ms - baseline.median_ms) <= noise
        figures = (
            f"{result.median_ms:.3f}",
            f"{result.iqr_ms:.3f}",
            f"{min(result.latencies_ms):.3f}",
            f"{ratio:.2f}",
            "within noise" if same else "",
        )
        rows.append((result.model, result.threads, *figures))
    if as_json:
        print_json({"caveat": caveat(), "measurements": [result.to_dict() for result in results], "results": paths})
        return
    headings = ("model", "threads", "median ms", "IQR ms", "min ms", "ratio", "")
    print_table(f"Latency of {runs} runs after {warmup}, target local", headings, rows)
    for path in sorted({str(model) for model in models} & set(marks)):
        say(f"note: {path}: {'; '.join(marks[path])}")
    say(f"note: {caveat()}")


def _on_device(
    models: tuple[Path, ...], target: str, out: Path, as_json: bool, marks: dict[str, tuple[str, ...]], **options: Any
) -> None:
    from el_larq.devices import record
    from el_larq.devices.benchmark import BenchmarkPlan, BenchmarkSession
    from el_larq.devices.latency_comparison import compare_latencies
    from el_larq.devices.targets import open_target

    options.pop("trust")  # on a device, the benchmark binary runs in a separate process
    way = open_target(target, ssh_config=options.pop("ssh_config"))
    plan = BenchmarkPlan(models, marks=marks, **options)
    paths: list[str] = []
    with BenchmarkSession(way, plan, say) as session:
        records = session.run_all(lambda entry, logs: paths.append(str(record.write(out, entry, logs))))
        device = session.device
    compared = compare_latencies(records)
    profiles = [entry for entry in records if entry.profiled]
    notes = [*device.notes, *dict.fromkeys(f"{row.model}: {mark}" for row in compared for mark in row.marks)]
    if as_json:
        print_json(
            {
                "target": target,
                "device": device.to_dict(),
                "comparison": [row.to_dict() for row in compared],
                "records": [entry.to_dict() for entry in records],
                "notes": notes,
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
            {None: "baseline", True: "within noise", False: ""}[row.within_noise],
        )
        for row in compared
    ]
    headings = ("model", "threads", "ms", "noise ms", "min ms", "memory MB", "ratio", "")
    print_table(f"Latency with XNNPACK, {plan.repeat} x {plan.runs} runs or more, target {target}", headings, rows)
    for entry in profiles:
        _print_profile(entry)
    for note in notes:
        say(f"note: {note}")
    say(f"results in {out}")


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
    title = f"Layers of {entry.model['path']}, {entry.threads} threads, without XNNPACK: compare shares, not sums, with the latency"
    print_table(title, ("layer", "operator", "bits", "M MACs", "ms", "%"), rows)
