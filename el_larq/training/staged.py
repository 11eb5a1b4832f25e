"""The training of a recipe's stages, one after the other, each in a run folder of its own."""

from dataclasses import replace

import tf_keras as keras

from el_larq.data.dataset import Dataset
from el_larq.data.validation import choose
from el_larq.errors import UsageError
from el_larq.keras_internals import is_compiled
from el_larq.training.config import CONFIG, is_finished, read_result
from el_larq.training.determinism import is_deterministic, set_deterministic
from el_larq.training.distribution import open_distribution
from el_larq.training.network import load_function, network_again, sources
from el_larq.training.new_run import create_run, make_config
from el_larq.training.resumable import tidy
from el_larq.training.resuming import Replacements, resume_with
from el_larq.training.run_data import load_data, load_data_again
from el_larq.training.run_folder import RunFolder
from el_larq.training.run_options import RunOptions
from el_larq.training.single import continue_single, start_single
from el_larq.training.stage_results import describe, finish_stages
from el_larq.training.trained import Trained
from el_larq.training.training_plan import TrainingPlan, plan_again, stage_plans
from el_larq.training.worker_check import check_same_data


def start_stages(plan: TrainingPlan, options: RunOptions) -> Trained:
    """Execute the plan of several stages in a new run folder. The errors are those of `el_larq.training.train.train`."""
    deterministic = is_deterministic(plan.deterministic)
    set_deterministic(deterministic)
    own = load_function(plan)
    if not isinstance(plan.network, str) and is_compiled(plan.network):
        raise UsageError(f"{plan.network_name} is compiled with its own optimizer, so it cannot be trained in stages")
    data = load_data(plan, options.notify)
    distribution = open_distribution(plan.strategy)
    check_same_data(data, distribution)
    facts = distribution.facts(distribution.replicas if plan.scale_batch else 1)
    config = make_config(plan, own, data, choose(data, plan.validation), deterministic, facts)
    with create_run(plan, config, own, data, sources(plan, own)) as run:
        return _train_stages(run, plan, data, options)


def continue_stages(run: RunFolder, options: RunOptions, given: Replacements) -> Trained:
    """Continue a run of several stages, whose folder is locked. The errors are those of `el_larq.training.train.resume`."""
    network = network_again(run.folder, run.config, given.model, options.trust)
    plan = plan_again(run.config, run.folder, network, given.dataset)
    open_distribution(plan.strategy).check_same(run.config.distribution, run.folder)
    data = load_data_again(plan, options.notify, run.config, run.folder)
    return _train_stages(run, plan, data, options, given.learning_rate)


def _train_stages(
    run: RunFolder, plan: TrainingPlan, data: Dataset, options: RunOptions, learning_rate: float | None = None
) -> Trained:
    """Train all stages that are not finished, and give the run's folder the last one's model.

    Arguments:
        run: the folder of all stages.
        plan: of the run, with ``data`` as its data set.
        learning_rate: a new one for the stage that ended because its loss was not finite.
    """
    stages = stage_plans(replace(plan, dataset=data), run.folder)
    trained = None
    for number, stage in enumerate(stages, 1):
        folder = stage.out
        assert folder is not None
        if is_finished(folder) and number < len(stages):
            tidy(folder)
            options.notify(f"stage {number} of {len(stages)}, {stage.recipe.name}, is finished")
            continue
        options.notify(f"stage {number} of {len(stages)}, {stage.recipe.name}: {describe(stage.recipe)}")
        # Names of layers that count up, by which weights are transferred, then do not depend on the stages before.
        keras.backend.clear_session()
        if (folder / CONFIG).exists():
            given = Replacements(dataset=data, learning_rate=learning_rate)
            trained = resume_with(continue_single, folder, options, given)
        else:
            trained = start_single(stage, options)
    finish_stages(run, [stage.out for stage in stages if stage.out is not None])
    assert trained is not None  # the last stage is always started or resumed
    return replace(trained, folder=run.folder, seconds=read_result(run.folder)["seconds"])
