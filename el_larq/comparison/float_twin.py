"""A run's float twin: the same network without binarization, trained alike. What binary weights and activations buy, in one table.

Its int8 twin is the float twin converted with `--int8 full`, and stands beside the run's own network converted alike. The folder of
the twins contains `binary/` (the run's .tflite and its figures), `float/` (the float twin's run folder, likewise), with the int8
twin also `binary-int8/` and `int8/`, and twin.json and table.md. Trainings and conversions are in processes of
`el_larq.comparison.calls`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from el_larq import own_folders
from el_larq.comparison.calls import Call, run
from el_larq.comparison.comparison_plan import Task
from el_larq.comparison.results_folder import hash_of, recorded
from el_larq.data.names import folders
from el_larq.errors import ElLarqError, UsageError
from el_larq.files import parse_json, write_bytes, write_json
from el_larq.inspection.inspect import inspect
from el_larq.methods.method_registry import get_method
from el_larq.outputs import check_folder
from el_larq.training.config import CONFIG, OWN, TrainConfig, is_finished, read_config, read_result
from el_larq.training.run_folder import is_stage
from el_larq.training.training_plan import Settings, TrainingPlan, find_stored, resolve, settings_of
from el_larq.twins import BINARY, COLUMNS, FLOAT, INT8, MODEL, SCHEMA, TWIN, TwinFigure, Twins


def plan_twin(source: Path, out: Path) -> TrainingPlan:
    """The training of the float twin of the run in ``source``; its own settings apply, except for method and link.

    Raises:
        UsageError: the run has no float twin.
        ElLarqError: it is not a finished run folder, or is damaged.
    """
    config = read_config(source)
    if not is_finished(source):
        raise ElLarqError(f"{source} is not finished; el-larq train --resume {source} continues it")
    if config.method == OWN:
        raise UsageError(
            f"{source}: {Path(config.network).name} takes no 'method', so there is no float version of it; let its function take "
            "the argument, and train it again"
        )
    if not get_method(config.method).binary:
        raise UsageError(f"{source} is real-valued itself (method {config.method}); give a run with a binary method")
    if config.recipe.get("stages") or is_stage(source):
        raise UsageError(f"{source} was trained in stages that differ in what is binarized; a twin needs a recipe of one stage")
    place = out / FLOAT
    check_folder(out, inputs=(source, *folders(config.dataset)))
    return replace(resolve(_network(config, source), **_settings(config, source)), out=place)


def _network(config: TrainConfig, source: Path) -> str:
    file, _, function = config.network.rpartition(":")
    return f"{source / 'network.py'}:{function}" if file.endswith(".py") else config.network


def _settings(config: TrainConfig, source: Path) -> Settings:
    settings: Any = settings_of(config, source)
    for name in ("link", "placement", "link_options", "method_options"):
        settings.pop(name, None)
    options = dict(settings["network_options"])
    if options.get("variant") == get_method(config.method).variant:
        options.pop("variant", None)  # the method chose it
    settings |= {"method": "float", "network_options": options, "deterministic": "on" if config.deterministic else "off"}
    # Otherwise its float file would be trained for int8.
    settings["recipe"] = replace(settings["recipe"], qat_bits=0, qat_ranges="auto")
    if isinstance(config.validation, float | int):
        settings["validation"] = float(config.validation)
    if config.init_from is not None:
        settings["init_from"], settings["partial"] = config.init_from["source"], True  # accepted when the run was trained
    if config.teacher is not None:
        settings["teacher"] = find_stored(config.teacher, source)
    return settings


def compare_twin(source: Path, out: Path, int8: bool = False, notify: Callable[[str], None] = lambda _: None) -> Twins:
    """Train the float twin of a finished run; convert, evaluate and time both. The same call continues after an interruption.

    Arguments:
        int8: also convert both with `--int8 full`, calibrated on the training split. What is finished in ``out`` is not repeated,
            so a comparison with the float twin becomes one with both twins without another training, and stays one.

    Raises:
        UsageError: the run has no float twin.
        ElLarqError: the run is not finished or damaged, its data have changed, or a training or conversion failed.
    """
    plan = plan_twin(source, out)
    config = read_config(source)
    _check_owner(source, out)
    _check_epochs(config, source, out / FLOAT)
    notify(f"training {config.network} with method float as {source} was trained: {_describe(config)} -> {plan.out}")
    for note in _notes(config):
        notify(f"note: {note}")
    int8 = int8 or own_folders.is_there(out / INT8 / MODEL)
    columns = [*COLUMNS] if int8 else [BINARY, FLOAT]
    files = {column: out / column / MODEL for column in columns}
    _call("perform_twins", (source, [path.parent for path in files.values()], Task("twin", plan, deploy=False)))
    hashes = {column: hash_of(path) for column, path in files.items()}
    accuracies = [_test_accuracy(path, hashes[column], config.dataset, notify) for column, path in files.items()]
    latencies = _call("measure_all", [*files.values()])
    milliseconds = [latencies.get(sha256, {}).get("median_ms") for sha256 in hashes.values()]
    seconds = [read_result(source)["seconds"], read_result(out / FLOAT)["seconds"]] * (len(columns) // 2)
    twins = Twins(
        out,
        f"{config.network}, method {config.method}, link {config.link}, on {config.dataset}: {_describe(config)}",
        tuple(_figures(accuracies, [*files.values()], milliseconds, seconds)),
        latencies["caveat"],
        hashes,
    )
    write_json(out / TWIN, twins.to_dict() | {"run": str(source.absolute())})
    headings = twins.headings()
    lines = [headings, ("---",) * len(headings), *twins.cells()]
    write_bytes(out / "table.md", "".join(f"| {' | '.join(line)} |\n" for line in lines).encode())
    return twins


def _call(function: str, argument: Any) -> Any:
    ((_, outcome),) = run([Call(f"el_larq.comparison.work:{function}", argument)])
    if outcome.error:
        raise ElLarqError(outcome.error)
    return outcome.value


def _test_accuracy(model: Path, sha256: str, dataset: str, notify: Callable[[str], None]) -> float:
    """From 0 to 1. Evaluated in this process, since those of `calls` can have none of their own; once for the same file."""
    from el_larq.evaluation.evaluate import REPORT, evaluate

    report = model.parent / "evaluation" / REPORT
    if recorded(report, "sha256") != sha256:
        notify(f"evaluating {model} on {dataset}")
        evaluate(model, dataset, out=report.parent)
    return float(parse_json(own_folders.read(report))["top1"])


def _check_owner(source: Path, out: Path) -> None:
    """Raise UsageError if the folder contains something else, or the twin of another run."""
    if not out.exists() or not any(out.iterdir()):
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / TWIN, {"schema": SCHEMA, "run": str(source.absolute())})
        return
    known = parse_json(own_folders.read(out / TWIN)) if own_folders.is_there(out / TWIN) else None
    if not isinstance(known, dict) or "run" not in known:
        raise UsageError(f"{out} already contains files that are not a twin's; choose another folder with -o")
    if known["run"] != str(source.absolute()):
        raise UsageError(f"{out} belongs to {known['run']}; choose another folder with -o")


def _check_epochs(config: TrainConfig, source: Path, twin: Path) -> None:
    """Raise UsageError if the run was extended after its twin was started."""
    if not own_folders.is_there(twin / CONFIG):
        return
    ours, theirs = config.recipe["epochs"], read_config(twin).recipe["epochs"]
    if ours != theirs:
        raise UsageError(
            f"{source} has {ours} epochs now and its float twin {theirs}; extend that with "
            f"el-larq train --resume {twin} --epochs {ours}, or choose another folder with -o"
        )


def _notes(config: TrainConfig) -> Iterator[str]:
    """What is not alike in the two trainings, or makes them hard to compare."""
    if config.init_from is not None:
        yield (
            f"the float twin starts from the weights of {config.init_from['source']} too; if these are of a binary network, it has "
            "only the epochs of this recipe to learn real-valued ones"
        )
    if config.recipe.get("qat_bits"):
        yield "the float twin is trained without simulated int8 (qat_bits 0)"


def _describe(config: TrainConfig) -> str:
    recipe = config.recipe
    return f"recipe {recipe['name']}, {recipe['epochs']} epochs, width {config.width:g}, seed {config.seed}"


def _figures(
    accuracies: Sequence[float], files: Sequence[Path], milliseconds: Sequence[float | None], seconds: Sequence[float]
) -> list[TwinFigure]:
    """The rows of the table; each argument has an entry for each column."""

    def row(name: str, values: Iterable[float | None], digits: int, scale: float = 1) -> TwinFigure:
        return TwinFigure(name, tuple(None if value is None else scale * value for value in values), digits)

    found = [inspect(path) for path in files]
    return [
        row("test accuracy of the .tflite, %", accuracies, 2, 100),
        row("size of the .tflite, kB", [path.stat().st_size for path in files], 0, 1e-3),
        row("binary MACs, M", [one.macs[1] for one in found], 2, 1e-6),
        row("8-bit MACs, M", [one.macs[8] for one in found], 2, 1e-6),
        row("32-bit MACs, M", [one.macs[32] for one in found], 2, 1e-6),
        row("peak RAM of the tensors, kB", [one.arena for one in found], 0, 1e-3),
        row("median ms on this machine, 1 thread", milliseconds, 3),
        row("training, s", seconds, 0),
    ]
