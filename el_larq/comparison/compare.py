"""Execution of the unfinished part of a plan; results are saved as they arrive. Does not import TensorFlow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from el_larq.comparison.calls import Call, run
from el_larq.comparison.comparison_plan import ALL, ComparisonPlan, Pair, Task, plan_comparison
from el_larq.comparison.results_folder import SCHEMA, ResultsFolder
from el_larq.comparison.shard import Shard, parse_shard
from el_larq.comparison.table import HEADINGS, ComparisonRow, cells, markdown, read_rows, to_csv
from el_larq.files import write_bytes, write_json
from el_larq.tables import html_table
from el_larq.training.training_plan import SharedSettings


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison: its folder, one row per network and method, and a caveat about the latencies."""

    folder: Path
    rows: tuple[ComparisonRow, ...]
    caveat: str

    def __repr__(self) -> str:
        return f"Comparison({str(self.folder)!r}: {', '.join(f'{row.network} {row.method}' for row in self.rows)})"

    def _repr_html_(self) -> str:
        return html_table(self.folder, cells(self.rows), HEADINGS)

    @property
    def failed(self) -> bool:
        return any(row.errors for row in self.rows)


def compare(
    networks: str | Sequence[str],
    methods: str | Sequence[str] = ALL,
    *,
    seeds: int = 3,
    options: Sequence[str] = (),
    out: str | Path = "comparison",
    jobs: int = 1,
    shard: str | None = None,
    notify: Callable[[str], None] = lambda _: None,
    **settings: Unpack[SharedSettings],
) -> Comparison:
    """Train networks with methods and several seeds, convert, count and time them; one table and one plot in a folder.

    What the folder already contains is kept, so the same call continues where it was stopped, and more methods, networks or seeds
    are added to it.

    Arguments:
        networks, methods: names, or one name; "all" methods are those that fit each network.
        seeds: number of runs of each network with each method, with the seeds 0, 1, 2 ...
        options: options of methods, each as "METHOD.NAME=VALUE".
        out: the folder of the comparison.
        jobs: number of concurrent trainings. It affects the training times but no other result.
        shard: "K/N": only the K-th of N shares of the runs, see `execute`.
        notify: called with one line for each run that ends.
        settings: what all runs share, see `el_larq.training.training_plan.SharedSettings`: data set, recipe, width, image size ...

    Raises:
        UsageError: an unknown name or a value out of range, or the folder was created with other settings.
        ElLarqError: the folder is damaged, contains something else, or cannot be written.
    """
    names, chosen = ([given] if isinstance(given, str) else list(given) for given in (networks, methods))
    share = None if shard is None else parse_shard(shard)
    plan = plan_comparison(names, chosen, seeds, options, **settings)
    return execute(plan, Path(out), jobs=jobs, shard=share, notify=notify)


def execute(
    plan: ComparisonPlan,
    path: Path,
    *,
    jobs: int = 1,
    shard: Shard | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Train, convert, count and time what the folder does not contain yet; write the tables and the plot.

    A run that fails is reported in its row, and the others continue. After an interruption at any moment, the comparison can be
    resumed from its folder.

    Arguments:
        jobs: number of concurrent trainings. It affects the training times but no other result.
        shard: train and convert only this share of the runs. Other processes, also on other machines that share the folder, may
            work on the other shards at the same time. Only a later call without a shard measures latencies and writes the results,
            the tables and the plot: latencies of one table must come from one machine.
        notify: called with one line for each run that ends.

    Raises:
        UsageError: the folder was created with other settings.
        ElLarqError: it is damaged, contains something else, or cannot be written.
    """
    folder = ResultsFolder(path, plan)
    errors: dict[str, list[str]] = {}
    runs = [(pair, seed) for seed in range(plan.seeds) for pair in plan.pairs]  # by seed: an early stop leaves complete seeds
    if shard:
        total, runs = len(runs), shard.select(runs)
        notify(f"shard {shard}: {len(runs)} of {total} runs")
    tasks = _unfinished(folder, runs)
    if len(tasks) < len(runs):
        notify(f"{len(runs) - len(tasks)} of {len(runs)} runs are done already")
    for number, (call, outcome) in enumerate(run([Call(_PERFORM, task) for task in tasks], jobs), 1):
        task: Task = call.argument
        if outcome.error:
            errors.setdefault(task.pair, []).append(f"seed {task.plan.seed}: {outcome.error}")
            outcome_text = f"failed: {outcome.error}"
        else:
            outcome_text = f"accuracy {outcome.value['accuracy']:.4f} after {outcome.value['seconds']:.0f} s"
        notify(f"[{number}/{len(tasks)}] {task.name}: {outcome_text}")
        if not shard:
            _write_results(folder, plan, errors, folder.latencies())
    if shard:
        return Comparison(path, tuple(read_rows(folder, plan, errors, folder.latencies())), "")
    latencies = _measure(folder, plan, errors)
    rows = _write_results(folder, plan, errors, latencies)
    _write_table(path, rows)
    return Comparison(path, tuple(rows), latencies.get("caveat", ""))


_PERFORM = "el_larq.comparison.work:perform"
_MEASURE = "el_larq.comparison.work:measure_all"


def _unfinished(folder: ResultsFolder, runs: Sequence[tuple[Pair, int]]) -> list[Task]:
    """The trainings and conversions left to do."""
    found = []
    for pair, seed in runs:
        deploy = seed == 0 and not folder.deployed(pair, seed)
        if deploy or not folder.result(pair, seed):
            found.append(folder.task(pair, seed, deploy))
    return found


def _measure(folder: ResultsFolder, plan: ComparisonPlan, errors: dict[str, list[str]]) -> dict[str, Any]:
    """Latencies of all .tflite files, measured alternately; those of an earlier call if it measured the same files."""
    known = folder.latencies()
    deployed = [(pair, facts) for pair in plan.pairs if (facts := folder.deployed(pair, 0))]
    paths = [folder.run(pair, 0) / "model.tflite" for pair, _facts in deployed]
    hashes = {facts["sha256"] for _pair, facts in deployed}
    if not paths or hashes <= known.keys():
        return known
    ((_call, outcome),) = run([Call(_MEASURE, paths)])
    if outcome.error:
        for pair in plan.pairs:
            errors.setdefault(pair.name, []).append(f"latency: {outcome.error}")
        return {}
    return outcome.value


def _write_results(
    folder: ResultsFolder, plan: ComparisonPlan, errors: dict[str, list[str]], latencies: dict[str, Any]
) -> list[ComparisonRow]:
    content = {"schema": SCHEMA, "settings": plan.settings(), "options": plan.options, "latencies": latencies}
    rows = read_rows(folder, plan, errors, latencies)
    write_json(folder.path / "results.json", content | {"rows": [row.to_dict() for row in rows]})
    return rows


def _write_table(path: Path, rows: list[ComparisonRow]) -> None:
    from el_larq.comparison.plot import plot

    write_bytes(path / "table.csv", to_csv(rows).encode())
    write_bytes(path / "table.md", markdown(rows).encode())
    for suffix in (".png", ".svg"):
        plot(rows, path / f"comparison{suffix}")
