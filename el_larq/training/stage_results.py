"""The files of a finished run of several stages. Does not import TensorFlow."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from el_larq.errors import ElLarqError
from el_larq.files import atomic_path, write_json
from el_larq.training.config import RESULT, read_epochs, read_result
from el_larq.training.recipe import DISTILLING, Recipe
from el_larq.training.run_folder import RunFolder, write_lines

_BINARIZED = {
    "nothing": "nothing is binarized",
    "activations": "activations are binarized",
    "both": "weights and activations are binarized",
}


def describe(stage: Recipe) -> str:
    """What a stage does, in words, for a user who watches."""
    terms = [name.replace("_", "-") for name in ("cross_entropy", *DISTILLING) if getattr(stage, name)]
    parts = [] if stage.method == "float" and stage.binarize == "both" else [_BINARIZED[stage.binarize]]
    parts += [f"loss: {' + '.join(terms)}"]
    parts += [f"teacher {stage.teacher}"] if stage.teacher else []
    parts += (
        ["pruned weights are kept at 0"] if stage.prune == "keep" else [f"prunes {stage.prune}"] if stage.prune != "none" else []
    )
    parts += [f"int{stage.qat_bits} is simulated"] if stage.qat_bits else []
    parts += [f"starts from {stage.start}"] if stage.start else []
    return ", ".join(parts)


def finish_stages(run: RunFolder, folders: Sequence[Path]) -> None:
    """Write the model, metrics and result of a run whose stages, in ``folders``, are finished; the result comes last.

    Raises:
        ElLarqError: the run folder cannot be written, or a stage's file is damaged.
    """
    results = [read_result(folder) for folder in folders]
    try:
        for name in ("model.h5", "model.keras"):
            _link(folders[-1] / name, run.folder / name)
        write_lines(run.metrics, _epochs(folders))
        stages = [{"stage": folder.name, **result} for folder, result in zip(folders, results, strict=True)]
        seconds = round(sum(result["seconds"] for result in results), 1)
        write_json(run.folder / RESULT, {**results[-1], "seconds": seconds, "stages": stages})
    except OSError as error:
        raise ElLarqError(
            f"cannot write {run.folder}: {error.strerror or error}; once this is fixed, continue with {run.command}"
        ) from error


def _link(source: Path, target: Path) -> None:
    """A second name for a file, or a copy where the file system has no hard links."""
    with atomic_path(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def _epochs(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """The epochs of all stages, numbered through, each with its stage's name."""
    found: list[dict[str, Any]] = []
    for folder in folders:
        begun = len(found)
        found += [{**record, "epoch": begun + record["epoch"], "stage": folder.name} for record in read_epochs(folder)]
    return found
