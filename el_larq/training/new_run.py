"""The run folder of a new training: its config, its name, and the files that a resume builds the network from."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from el_larq.data.dataset import Dataset
from el_larq.data.names import folders
from el_larq.data.validation import ValidationRule
from el_larq.loading.user_network import UserNetwork
from el_larq.outputs import check_folder
from el_larq.training import run_folder
from el_larq.training.config import OWN, OWN_MODEL, TrainConfig
from el_larq.training.initialize import Initialized
from el_larq.training.network import takes_method
from el_larq.training.run_folder import RunFolder, free_folder
from el_larq.training.training_plan import TrainingPlan, stored_path


def make_config(
    plan: TrainingPlan,
    own: UserNetwork | None,
    data: Dataset,
    rule: ValidationRule,
    deterministic: bool,
    distribution: dict[str, Any] | None,
    started: Initialized | None = None,
    compiled: dict[str, str] | None = None,
) -> TrainConfig:
    """The complete configuration of a plan's run.

    Arguments:
        own: the user network's function, if the plan has one.
        data: the plan's data set, with the validation split that ``rule`` chooses.
        distribution: see `el_larq.training.distribution.Distribution.facts`.
        started: what ``init_from`` initialized.
        compiled: the names of optimizer and loss of a network that comes compiled.
    """
    chosen = takes_method(plan, own)
    return TrainConfig(
        network=plan.network if isinstance(plan.network, str) else OWN_MODEL,
        method=plan.method.name if chosen else OWN,
        link=plan.method.link.name if chosen else OWN,
        placement=plan.placement,
        link_options=dict(plan.link_options),
        method_options=dict(plan.method.options) if chosen else {},
        dataset=data.name,
        dataset_version=data.version,
        dataset_fingerprint=data.fingerprint,
        image_size=data.preprocessing.height,
        preprocessing=data.preprocessing.to_dict(),
        width=plan.width,
        network_options=dict(plan.network_options),
        recipe=asdict(plan.recipe),
        seed=plan.seed,
        strict=plan.strict,
        validation=rule,
        init_from=_stored_start(started, plan) if started else None,
        teacher=stored_path(plan.teacher, plan),
        compiled=compiled,
        deterministic=deterministic,
        distribution=distribution,
    )


def _stored_start(started: Initialized, plan: TrainingPlan) -> dict[str, Any]:
    return started.to_dict() | {"source": stored_path(plan.init_from, plan)} | ({"partial": True} if plan.partial else {})


def create_run(
    plan: TrainingPlan, config: TrainConfig, own: UserNetwork | None, data: Dataset, files: Mapping[str, bytes]
) -> RunFolder:
    """The run folder that the plan names, or a new one named after the run, with these files."""
    recipe = f"-{plan.recipe.name}" if plan.recipe.stages else ""
    name = f"{own.path.stem if own else plan.network_name.replace(':', '-')}-{config.method}-{data.slug}{recipe}-s{plan.seed}"
    folder = plan.out if plan.out is not None else free_folder(Path("runs"), name)
    check_folder(folder, inputs=(*folders(data.name), *filter(None, (plan.init_from,))))
    return run_folder.create(folder, config, files)
