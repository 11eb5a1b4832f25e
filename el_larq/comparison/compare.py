"""Execution of the unfinished part of a plan; results are saved as they arrive. Does not import TensorFlow."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from el_larq.comparison.calls import Call, run
from el_larq.comparison.plan import Plan, Training
from el_larq.comparison.results_folder import SCHEMA
from el_larq.comparison.results_folder import ResultsFolder as Folder
from el_larq.comparison.table import Row, markdown, read_rows, to_csv
from el_larq.files import write_bytes, write_json


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison: its rows, and a caveat about the latencies."""

    rows: tuple[Row, ...]
    caveat: str

    @property
    def failed(self) -> bool:
        return any(row.errors for row in self.rows)


def compare(plan: Plan, path: Path, *, jobs: int = 1, notify: Callable[[str], None] = lambda _: None) -> Comparison:
    """Train, convert, count and time what the folder does not contain yet; write the tables and the plot.

    A run that fails is reported in its row, and the others continue. After an interruption at any moment, the comparison can be
    resumed from its folder.

    Arguments:
        jobs: number of concurrent trainings. It affects the training times but no other result.
        notify: called with one line for each run that ends.

    Raises:
        UsageError: the folder was created with other settings.
        ElLarqError: it is damaged, contains something else, or cannot be written.
    """
    folder = Folder(path, plan)
    errors: dict[str, list[str]] = {}
    trainings = _unfinished(folder, plan)
    total = len(plan.pairs) * plan.seeds
    if len(trainings) < total:
        notify(f"{total - len(trainings)} of {total} runs are done already")
    for number, (call, outcome) in enumerate(run([Call(_PERFORM, training) for training in trainings], jobs), 1):
        training: Training = call.argument
        if outcome.error:
            errors.setdefault(training.pair, []).append(f"seed {training.seed}: {outcome.error}")
            said = f"failed: {outcome.error}"
        else:
            said = f"accuracy {outcome.value['accuracy']:.4f} after {outcome.value['seconds']:.0f} s"
        notify(f"[{number}/{len(trainings)}] {training.name}: {said}")
        _write_results(folder, plan, errors, folder.latencies())
    latencies = _measure(folder, plan, errors)
    rows = _write_results(folder, plan, errors, latencies)
    _write_table(path, rows)
    return Comparison(tuple(rows), latencies.get("caveat", ""))


_PERFORM = "el_larq.comparison.work:perform"
_MEASURE = "el_larq.comparison.work:measure_all"


def _unfinished(folder: Folder, plan: Plan) -> list[Training]:
    """The trainings left to do, ordered by seed, so that an early stop leaves complete seeds of all pairs."""
    found = []
    for seed in range(plan.seeds):
        for pair in plan.pairs:
            deploy = seed == 0 and not folder.deployed(pair, seed)
            if deploy or not folder.result(pair, seed):
                found.append(folder.training(pair, seed, plan, deploy))
    return found


def _measure(folder: Folder, plan: Plan, errors: dict[str, list[str]]) -> dict[str, Any]:
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


def _write_results(folder: Folder, plan: Plan, errors: dict[str, list[str]], latencies: dict[str, Any]) -> list[Row]:
    content = {"schema": SCHEMA, "settings": plan.settings.to_dict(), "options": plan.options, "latencies": latencies}
    rows = read_rows(folder, plan, errors, latencies)
    write_json(folder.path / "results.json", content | {"rows": [row.to_dict() for row in rows]})
    return rows


def _write_table(path: Path, rows: list[Row]) -> None:
    from el_larq.comparison.plot import plot

    write_bytes(path / "table.csv", to_csv(rows).encode())
    write_bytes(path / "table.md", markdown(rows).encode())
    for suffix in (".png", ".svg"):
        plot(rows, path / f"comparison{suffix}")
