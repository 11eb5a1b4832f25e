"""The folder of a comparison: its settings, all runs and the results. Does not import TensorFlow.

comparison.json   the settings that all runs share, the methods' options, and their recipes if they differ
runs/NETWORK-METHOD-sSEED/   one run folder each (see `el_larq.training.run_folder`)
    model.tflite, deployed.json   in the run of each pair that is converted
results.json   rewritten after each run
table.csv, table.md, comparison.png, comparison.svg   rewritten at the end of a call

Every file is written completely or not at all, and a run is finished when its result exists, so a comparison that was stopped at
any moment can be resumed from its folder.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from el_larq import own_folders
from el_larq.comparison.comparison_plan import ComparisonPlan, Pair, Task
from el_larq.data.names import folders
from el_larq.devices.record_form import find_misfit
from el_larq.errors import ElLarqError, UsageError
from el_larq.files import is_temporary, parse_json, write_json
from el_larq.outputs import check_folder
from el_larq.training.recipe import DEFAULTS

SCHEMA = 1

_NUMBER = (float, None)
_FORMS = {
    "comparison.json": {"settings": {}, "options": {}, "recipes?": {}},
    "result.json": {"accuracy": float, "seconds": float},
    "deployed.json": {"sha256": str, **dict.fromkeys(("bops?", "flops?", "ops?", "tflite_bytes?"), _NUMBER)},
    "results.json": {"latencies?": {}},
}
"""What each file must contain for a comparison to be resumed, as forms of `el_larq.devices.record_form`."""


class ResultsFolder:
    """A comparison's folder, created or opened for a plan.

    Raises:
        UsageError: the folder's runs were made with other settings.
        ElLarqError: it contains something else, a link or a pipe, is damaged, or cannot be written.
    """

    def __init__(self, path: Path, plan: ComparisonPlan):
        settings = json.loads(json.dumps(plan.settings()))
        check_folder(path, inputs=folders(settings["dataset"]))
        self.path = path
        # comparison.json is the first file written, so a folder that contains other files but not this one was not created by a
        # comparison, even while another shard of the same comparison is creating it.
        others = path.exists() and (
            not path.is_dir() or any(not is_temporary(entry.name, "comparison.json") for entry in path.iterdir())
        )
        known = self._read(path / "comparison.json")
        by_method: dict[str, dict[str, dict[str, Any]]] = {"options": plan.options, "recipes": plan.recipes}
        by_method = json.loads(json.dumps(by_method))
        if known:
            own_folders.check_all(path)
            if "validation" not in known["settings"]:
                raise UsageError(
                    f"{path} was made by an older el-larq, which trained on all training images and chose the best epoch by the "
                    "test split; its runs do not compare with new ones: choose another folder with -o"
                )
            stated = known["settings"]
            _check_same(path, stated | {"recipe": _with_defaults(stated.get("recipe"))}, settings)
            for kind, asked in by_method.items():
                stored = known.get(kind, {})
                for name, values in stored.items():
                    if wrong := find_misfit(values, {}, f"{kind}.{name}"):
                        raise _damaged(path / "comparison.json", wrong)
                    if name in asked:
                        values = _with_defaults(values) if kind == "recipes" else values
                        _check_same(path, _named(name, values), _named(name, asked[name]))
                by_method[kind] = stored | asked
        elif others:
            raise ElLarqError(f"{path} already contains files that are not a comparison; choose another folder with -o")
        try:
            path.mkdir(parents=True, exist_ok=True)
            write_json(path / "comparison.json", {"schema": SCHEMA, "settings": settings, **by_method})
            self.runs.mkdir(exist_ok=True)
        except OSError as error:
            raise ElLarqError(f"cannot write a comparison to {path}: {error.strerror or error}") from error

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    def run(self, pair: Pair, seed: int) -> Path:
        return self.runs / f"{pair.name}-s{seed}"

    def task(self, pair: Pair, seed: int, deploy: bool) -> Task:
        return Task(pair.name, pair.plan.with_seed(seed, self.run(pair, seed)), deploy)

    def result(self, pair: Pair, seed: int) -> dict[str, Any]:
        """A run's result; empty until it is finished."""
        return self._read(self.run(pair, seed) / "result.json")

    def deployed(self, pair: Pair, seed: int) -> dict[str, Any]:
        """The properties of a run's .tflite; empty until it is converted."""
        return self._read(self.run(pair, seed) / "deployed.json")

    def latencies(self) -> dict[str, Any]:
        """The measurements in results.json by the SHA-256 of the .tflite, and the caveat."""
        path = self.path / "results.json"
        found = self._read(path).get("latencies", {})
        for name, values in found.items():
            if name != "caveat" and (wrong := find_misfit(values, {"median_ms": float, "iqr_ms": float}, f"latencies.{name}")):
                raise _damaged(path, wrong)
        return found

    @staticmethod
    def _read(path: Path) -> dict[str, Any]:
        if not own_folders.is_there(path):
            return {}
        try:
            content = parse_json(own_folders.read(path))
        except ValueError as error:
            raise _damaged(path, "it is not JSON") from error
        if wrong := find_misfit(content, _FORMS[path.name], path.name):
            raise _damaged(path, wrong)
        return content


def hash_of(path: Path) -> str:
    """The SHA-256 of a file of a folder."""
    return hashlib.sha256(own_folders.read(path)).hexdigest()


def recorded(path: Path, name: str) -> Any:
    """A value in a JSON file of a folder. None if there is none or the file is damaged: what it describes is made again."""
    try:
        content = parse_json(own_folders.read(path)) if own_folders.is_there(path) else None
    except ValueError:
        return None
    return content.get(name) if isinstance(content, dict) else None


def _with_defaults(recipe: Any) -> Any:
    """A recipe with the fields of it and its stages that were added after it was written."""
    if not isinstance(recipe, dict):
        return recipe
    defaults = json.loads(json.dumps(DEFAULTS))
    recipe = defaults | recipe
    if isinstance(recipe["stages"], list):
        recipe["stages"] = [defaults | stage if isinstance(stage, dict) else stage for stage in recipe["stages"]]
    return recipe


def _damaged(path: Path, wrong: str) -> ElLarqError:
    return ElLarqError(f"{path} is damaged: {wrong}; remove it, or choose another folder with -o")


def clear(folder: Path) -> None:
    """Remove an unfinished run, so that it can be started again."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ElLarqError(f"cannot remove the unfinished run {folder}: {error.strerror or error}") from error


def _named(method: str, options: dict[str, Any]) -> dict[str, Any]:
    return {f"{method}.{name}": value for name, value in options.items()}


def _check_same(path: Path, known: dict[str, Any], asked: dict[str, Any], within: str = "") -> None:
    for name in dict.fromkeys((*known, *asked)):
        old, new = known.get(name), asked.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            _check_same(path, old, new, f"{name} ")
        elif old != new:
            word = f"{within}{name}".replace("_", " ")
            raise UsageError(f"{path} was made with {word} {old}, not {new}; give the same settings, or another folder with -o")
