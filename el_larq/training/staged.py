"""The training of a recipe's stages, one after the other, each in a run folder of its own."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import tf_keras as keras

from el_larq.data.dataset import Dataset
from el_larq.training.config import CONFIG, is_finished, read_result
from el_larq.training.plan import TrainingPlan, stage_plans
from el_larq.training.resumable import tidy
from el_larq.training.run_folder import RunFolder
from el_larq.training.stage_results import describe, finish_stages

Trained = Any
"""`el_larq.training.train.Trained`; that module imports this one."""


def train_stages(
    run: RunFolder,
    plan: TrainingPlan,
    data: Dataset,
    start: Callable[..., Trained],
    resume: Callable[..., Trained],
    every: tuple[float, int | None],
    learning_rate: float | None = None,
    *,
    notify: Callable[[str], None],
    **rest: Any,
) -> Trained:
    """Train all stages that are not finished, and give the run's folder the last one's model.

    Arguments:
        run: the folder of all stages.
        plan: of the run, with ``data`` as its data set.
        start, resume: `el_larq.training.train.start` and `resume`, and ``rest`` what both take besides.
        every: seconds and steps between saved states.
        learning_rate: a new one for the stage that ended because its loss was not finite.
    """
    stages = stage_plans(replace(plan, dataset=data), run.folder)
    rest |= {"notify": notify, "checkpoint_seconds": every[0], "checkpoint_steps": every[1]}
    trained: Trained = None
    for number, stage in enumerate(stages, 1):
        folder = stage.out
        assert folder is not None
        if is_finished(folder) and number < len(stages):
            tidy(folder)
            notify(f"stage {number} of {len(stages)}, {stage.recipe.name}, is finished")
            continue
        notify(f"stage {number} of {len(stages)}, {stage.recipe.name}: {describe(stage.recipe)}")
        # Names of layers that count up, by which weights are transferred, then do not depend on the stages before.
        keras.backend.clear_session()
        if (folder / CONFIG).exists():
            trained = resume(folder, dataset=data, learning_rate=learning_rate, **rest)
        else:
            trained = start(stage, **rest)
    finish_stages(run, [stage.out for stage in stages if stage.out is not None])
    return replace(trained, folder=run.folder, seconds=read_result(run.folder)["seconds"])
