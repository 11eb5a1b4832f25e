"""What can be said of going on with a run before TensorFlow starts."""

from pathlib import Path

from el_larq.errors import ElLarqError, UsageError
from el_larq.training.config import CONFIG, FAILURE, TrainConfig, damaged, read_json
from el_larq.training.recipe import Recipe


def check_resumable(folder: Path, config: TrainConfig, learning_rate: float | None = None) -> None:
    """Refuse what cannot be resumed, before TensorFlow starts. Raises as `resume` does."""
    if config.schema < 2:
        raise ElLarqError(
            f"{folder} was made by an older el-larq (schema {config.schema}) that kept no state to go on from; train it again"
        )
    failed = (folder / FAILURE).exists()
    if failed and learning_rate is None:
        raise ElLarqError(f"{folder} would fail again: {read_json(folder / FAILURE).get('message')}")
    if not failed and learning_rate not in (None, config.recipe.get("learning_rate")):
        raise UsageError(
            f"{folder} has a learning rate of {config.recipe.get('learning_rate'):g}; only a run that failed takes another"
        )


def recipe_of(config: TrainConfig, folder: Path) -> Recipe:
    try:
        return Recipe(**config.recipe).with_changes()
    except TypeError as error:
        raise damaged(folder / CONFIG) from error
