"""The data set of a run, new or resumed."""

from pathlib import Path

from el_larq.data.dataset import Dataset
from el_larq.data.dataset_registry import load_dataset
from el_larq.data.preprocessing import Preprocessing
from el_larq.errors import ElLarqError
from el_larq.training.config import CONFIG, TrainConfig, damaged
from el_larq.training.run_options import Notify
from el_larq.training.training_plan import TrainingPlan


def load_data(plan: TrainingPlan, notify: Notify) -> Dataset:
    """The plan's data set, before a validation split is held out."""
    if isinstance(plan.dataset, str):
        return load_dataset(plan.dataset, plan.image_size, strict=plan.strict, notify=notify, task=plan.task)
    return plan.dataset


def load_data_again(plan: TrainingPlan, notify: Notify, config: TrainConfig, folder: Path) -> Dataset:
    """The same for a run that is resumed, with the preprocessing of its config.

    Raises:
        ElLarqError: the data have changed, or the config is damaged.
    """
    data = load_data(plan, notify)
    if config.preprocessing is not None and data.preprocessing.to_dict() != config.preprocessing:
        # The images it was measured on, or the model it was taken from, may no longer exist.
        try:
            data = data.with_preprocessing(Preprocessing.from_dict(config.preprocessing))
        except (TypeError, ValueError) as error:
            raise damaged(folder / CONFIG) from error
    if config.dataset_fingerprint not in (None, data.fingerprint):
        raise ElLarqError(f"{folder} cannot be resumed: the data of {data.name} have changed since the run started; train again")
    return data
