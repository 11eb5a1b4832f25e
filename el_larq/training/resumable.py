"""What can be checked about resuming a run before TensorFlow is imported."""

import contextlib
from pathlib import Path

from el_larq.errors import ElLarqError, UsageError
from el_larq.training.config import (
    CONFIG,
    FAILURE,
    FIRST_RESUMABLE,
    TrainConfig,
    is_finished,
    read_config,
    read_json,
    recipe_of,
)
from el_larq.training.run_folder import open_run
from el_larq.training.stage_list import stage_folders
from el_larq.training.state_files import StateFiles


def check_resumable(folder: Path, config: TrainConfig, learning_rate: float | None = None) -> None:
    """Raise if a run cannot be resumed, without importing TensorFlow. The errors are those of `resume`."""
    if config.schema < FIRST_RESUMABLE:
        raise ElLarqError(
            f"{folder} was made by an older el-larq (schema {config.schema}) that saved no state to resume from; train it again"
        )
    if learning_rate is not None and config.compiled is not None:
        raise UsageError(f"{folder}: {config.network} is compiled, so --learning-rate does not apply; omit it")
    if stages := recipe_of(config, folder).stages:
        _check_stages(stage_folders(stages, folder), learning_rate)
        return
    failed = (folder / FAILURE).exists()
    if failed and learning_rate is None:
        raise ElLarqError(f"{folder} would fail again: {read_json(folder / FAILURE).get('message')}")
    begun = recipe_of(config, folder).learning_rate
    if not failed and learning_rate not in (None, begun):
        raise UsageError(f"{folder} has a learning rate of {begun:g}; it can be changed only after a run has failed")


def _check_stages(folders: list[Path], learning_rate: float | None) -> None:
    """The same for a run of several stages: the first one that is not finished decides."""
    for folder in folders:
        if not is_finished(folder):
            if (folder / CONFIG).exists():
                check_resumable(folder, read_config(folder), learning_rate)
            elif learning_rate is not None:
                raise UsageError(f"{folder} has not started; the learning rate can be changed only after a run has failed")
            return


def tidy(folder: Path) -> None:
    """Remove what is left of a process that was killed after it wrote the result and before it exited."""
    if len(StateFiles(folder / "checkpoints").paths()) > 1 or any(folder.rglob(".*.part.*")):
        with contextlib.suppress(ElLarqError), open_run(folder) as run:  # the run is finished: a failure here does no harm
            StateFiles(run.checkpoints).remove(keep=1)
