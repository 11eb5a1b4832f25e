"""A run's float twin: the same network without binarization, trained alike. What binary weights and activations buy, in one table.

The folder of a twin contains `binary/` (the run's .tflite and its figures), `float/` (the twin's run folder, likewise), twin.json
and table.md. Does not import TensorFlow; processes of `el_larq.comparison.calls` do.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from el_larq import own_folders
from el_larq.comparison.calls import Call, run
from el_larq.comparison.comparison_plan import Task
from el_larq.data.names import folders
from el_larq.errors import ElLarqError, UsageError
from el_larq.files import parse_json, write_bytes, write_json
from el_larq.methods.method_registry import get_method
from el_larq.outputs import check_folder
from el_larq.training.config import OWN, TrainConfig, is_finished, read_config, read_result
from el_larq.training.run_folder import is_stage
from el_larq.training.training_plan import Settings, TrainingPlan, find_stored, resolve, settings_of
from el_larq.twins import BINARY, FLOAT, HEADINGS, SCHEMA, TWIN, TwinFigure, Twins


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
    if isinstance(config.validation, float | int):
        settings["validation"] = float(config.validation)
    if config.init_from is not None:
        settings["init_from"], settings["partial"] = config.init_from["source"], True  # accepted when the run was trained
    if config.teacher is not None:
        settings["teacher"] = find_stored(config.teacher, source)
    return settings


def compare_twin(source: Path, out: Path, notify: Callable[[str], None] = lambda _: None) -> Twins:
    """Train the float twin of a finished run, convert and time both. The same call continues after an interruption.

    Raises:
        UsageError: the run has no float twin.
        ElLarqError: the run is not finished or damaged, its data have changed, or a training or conversion failed.
    """
    plan = plan_twin(source, out)
    config = read_config(source)
    _check_owner(source, out)
    notify(f"training {config.network} with method float as {source} was trained: {_describe(config)} -> {plan.out}")
    task = Task("twin", plan, deploy=True)
    calls = [Call("el_larq.comparison.work:perform_twin", (source, out / BINARY, task))]
    ((_, outcome),) = run(calls)
    if outcome.error:
        raise ElLarqError(outcome.error)
    places = [out / BINARY, out / FLOAT]
    paths = [place / "model.tflite" for place in places]
    ((_, measured),) = run([Call("el_larq.comparison.work:measure_all", paths)])
    if measured.error:
        raise ElLarqError(measured.error)
    facts = [parse_json(own_folders.read(place / "deployed.json")) for place in places]
    results = [read_result(source), read_result(out / FLOAT)]
    twins = Twins(
        out,
        f"{config.network}, method {config.method}, link {config.link}, on {config.dataset}: {_describe(config)}",
        tuple(_figures(facts, results, measured.value)),
        measured.value["caveat"],
        (facts[0]["sha256"], facts[1]["sha256"]),
    )
    write_json(out / TWIN, twins.to_dict() | {"run": str(source.absolute())})
    lines = [HEADINGS, ("---",) * len(HEADINGS), *twins.cells()]
    write_bytes(out / "table.md", "".join(f"| {' | '.join(line)} |\n" for line in lines).encode())
    return twins


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


def _describe(config: TrainConfig) -> str:
    recipe = config.recipe
    return f"recipe {recipe['name']}, {recipe['epochs']} epochs, width {config.width:g}, seed {config.seed}"


def _figures(facts: Sequence[Any], results: Sequence[Any], latencies: dict[str, Any]) -> list[TwinFigure]:
    def of(name: str, label: str, scale: float = 1, digits: int = 0) -> TwinFigure:
        first, second = (None if one.get(name) is None else one[name] / scale for one in facts)
        return TwinFigure(label, first, second, digits)

    accuracy = [100 * result["accuracy"] for result in results]
    milliseconds = [latencies.get(one["sha256"], {}).get("median_ms") for one in facts]
    return [
        TwinFigure("test accuracy, %", accuracy[0], accuracy[1], 2),
        of("tflite_bytes", "size of the .tflite, kB", 1e3),
        of("bops", "binary MACs, M", 1e6, 2),
        of("flops", "real-valued MACs, M", 1e6, 2),
        of("peak_ram_bytes", "peak RAM of the tensors, kB", 1e3),
        TwinFigure("median ms on this machine, 1 thread", milliseconds[0], milliseconds[1], 3),
        TwinFigure("training, s", results[0]["seconds"], results[1]["seconds"], 0),
    ]
