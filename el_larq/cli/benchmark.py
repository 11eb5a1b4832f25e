"""`el-larq benchmark`."""

from pathlib import Path

import click

from el_larq.cli.common import common_options, print_json, print_table, say, start_tensorflow


def _threads(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        counts = tuple(int(part) for part in value.split(","))
    except ValueError:
        counts = (0,)
    if min(counts) < 1:
        raise click.BadParameter(f"{value!r} is no list of thread counts like 1,2,4")
    return counts


@click.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--target", default="local", show_default=True, help="el-larq list targets.")
@click.option("--threads", default="1", show_default=True, callback=_threads, help="One or several: 1,2,4.")
@click.option("--runs", type=click.IntRange(1), default=50, show_default=True, help="Inferences that count.")
@click.option("--warmup", type=click.IntRange(0), default=5, show_default=True, help="Inferences before them.")
@common_options
def command(models: tuple[Path, ...], target: str, threads: tuple[int, ...], runs: int, warmup: int, as_json: bool) -> None:
    """Measure the latency of MODELS (.tflite), interleaved; the first one is what the others are compared with."""
    from el_larq.devices.targets import check_target

    check_target(target)

    start_tensorflow()
    from el_larq.devices.local import caveat, measure

    results = measure(models, threads=threads, runs=runs, warmup=warmup)
    if as_json:
        print_json({"caveat": caveat(), "measurements": [result.to_dict() for result in results]})
        return
    rows = []
    for result in results:
        baseline = next(r for r in results if r.threads == result.threads)
        ratio = result.median_ms / baseline.median_ms
        figures = (
            f"{result.median_ms:.3f}",
            f"{result.spread_ms:.3f}",
            f"{min(result.latencies_ms):.3f}",
            f"{ratio:.2f}",
        )
        rows.append((result.model, result.threads, *figures))
    headings = ("model", "threads", "median ms", "IQR ms", "min ms", "ratio")
    print_table(f"Latency of {runs} runs after {warmup}, target {target}", headings, rows)
    say(f"note: {caveat()}")
