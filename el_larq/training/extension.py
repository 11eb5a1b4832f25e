"""More epochs for a run that was stopped or is finished. Does not import TensorFlow.

The learning rate from the kept state on is that of a training of all epochs, old and new together. After a schedule that falls to
zero it therefore rises again, and the weights are not those of a training that had all epochs from its start. The change is in the
run's config before the first further step, so a resume repeats it.
"""

import shlex
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from el_larq.errors import ElLarqError, UsageError
from el_larq.training.cluster import MULTI_WORKER
from el_larq.training.config import FIRST_RESUMABLE, RESULT, TrainConfig, is_finished, read_epochs, recipe_of
from el_larq.training.recipe import Recipe
from el_larq.training.run_folder import RunFolder
from el_larq.training.selection import has_stalled
from el_larq.training.state_files import StateFiles, read_state


def is_extension(config: TrainConfig, epochs: int | None) -> bool:
    """Whether a run is to have more epochs than its config says."""
    before = config.recipe.get("epochs")
    return epochs is not None and isinstance(before, int) and not config.recipe.get("stages") and epochs > before


def check_epochs(folder: Path, config: TrainConfig, epochs: int | None) -> None:
    """Raise UsageError unless these are the epochs of the run, or more of a run that has no stages."""
    before = config.recipe.get("epochs")
    if epochs is None or epochs == before or is_extension(config, epochs):
        return
    if config.recipe.get("stages"):
        raise UsageError(f"{folder} has several stages, which cannot be extended; {_from_it(folder)}")
    raise UsageError(
        f"{folder} was started with {before} epochs, and fewer ({epochs}) are not possible; omit the number, or give more"
    )


def _from_it(folder: Path) -> str:
    return f"start from it with --init-from {shlex.quote(str(folder))}"


def check_extendable(folder: Path, config: TrainConfig) -> None:
    """Check that a run can have more epochs.

    Raises:
        UsageError: it was trained by several workers, or early stopping ended it.
        ElLarqError: it has no state to continue from, or a damaged one.
    """
    recipe, remedy = recipe_of(config, folder), _from_it(folder)
    if (config.distribution or {}).get("strategy") == MULTI_WORKER:
        raise UsageError(f"{folder} was trained by several workers, which cannot be extended; {remedy}")
    if has_stalled(read_epochs(folder, skip_damaged=True), recipe.patience):
        raise UsageError(
            f"{folder} was stopped early, since its validation had not improved for {recipe.patience} epochs, and further "
            f"ones would be too; {remedy}"
        )
    if config.schema < FIRST_RESUMABLE or (is_finished(folder) and not StateFiles(folder / "checkpoints").paths()):
        raise ElLarqError(
            f"{folder} has no state to continue from, because an older el-larq made it or its checkpoints were removed; {remedy}"
        )


def extend(run: RunFolder, epochs: int) -> None:
    """Give a run more epochs. A finished run is an unfinished one afterwards; its model stays until it is finished again.

    Raises:
        UsageError, ElLarqError: as `check_extendable`.
    """
    check_extendable(run.folder, run.config)
    states = StateFiles(run.checkpoints)
    if is_finished(run.folder):
        read_state(states.paths()[0])  # a damaged one would be found only after the result is gone
    recipe = recipe_of(run.config, run.folder)
    # A process that is killed between these lines leaves a run that a resume finishes as it was.
    (run.folder / RESULT).unlink(missing_ok=True)
    change = {"step": states.kept_step() or 0, "epochs": epochs, "epochs_before": recipe.epochs}
    extended = asdict(recipe.with_changes(epochs=epochs))
    run.change(replace(run.config, recipe=extended, changes=[*run.config.changes, change]))


def describe_extension(
    run: RunFolder, recipe: Recipe, steps_per_epoch: int, rate: Callable[[Recipe, int, int], float] | None
) -> str:
    """What the last change of a run's epochs does to its schedule, in one line.

    Arguments:
        rate: the learning rate of a recipe over a number of steps, at a step; None if the network comes with its own optimizer.
    """
    change = run.config.changes[-1]
    step, before = change["step"], replace(recipe, epochs=change["epochs_before"])
    line = f"{run.folder} has {recipe.epochs} epochs from step {step} on, {before.epochs} before; "
    if rate is None:
        return line + "the network's own optimizer continues with its own learning rate"
    old, new = (rate(one, one.epochs * steps_per_epoch, step) for one in (before, recipe))
    line += f"the schedule ({recipe.schedule}) is that of {recipe.epochs} epochs: "
    return line + f"the learning rate is {new:.3g} now, {old:.3g} before"
