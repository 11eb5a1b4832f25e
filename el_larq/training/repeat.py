"""`el-larq train --config RUN/config.json`: a run's settings for a new run. Does not import TensorFlow."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from el_larq.data.validation import SPLIT, TEST
from el_larq.errors import ElLarqError
from el_larq.training.cluster import unscaled
from el_larq.training.config import CONFIG, OWN_MODEL, TrainConfig, damaged
from el_larq.training.training_plan import Settings, find_stored, settings_of

_MERGED = ("network_options", "link_options", "method_options")
_OF_METHOD = ("link", "placement", "link_options", "method_options")


def run_of(path: Path) -> Path:
    """The run folder that a path names: the folder itself, or its config.json."""
    if path.is_dir():
        return path
    if path.name != CONFIG:
        raise ElLarqError(f"{path} is not a run's {CONFIG}; give RUN/{CONFIG} or the run folder")
    return path.parent


def repeated_settings(config: TrainConfig, folder: Path, changes: Settings) -> Settings:
    """The settings that repeat a run, with ``changes``. Another method comes without the options of the run's method.

    Runs that validated on the test split (schema 1 and 2) are repeated without validation: they trained on all training images.

    Raises:
        ElLarqError: the run trained a compiled Keras model, or its config is damaged.
    """
    if config.network == OWN_MODEL and config.compiled is not None:
        raise ElLarqError(f"{folder} trains a compiled Keras model, whose optimizer it does not store; train it from Python again")
    settings: dict[str, Any] = dict(settings_of(config, folder))
    settings["validation"] = {SPLIT: None, TEST: 0.0}.get(str(config.validation), config.validation)
    recipe = settings["recipe"]
    if config.init_from is not None:
        if not isinstance(source := config.init_from.get("source"), str):
            raise damaged(folder / CONFIG)
        settings["init_from"] = str(find_stored(source, folder))
        settings["partial"] = config.init_from.get("partial") is True
        if recipe.start is not None:  # of a stage: there, it is the name of another stage
            recipe = replace(recipe, start=settings.pop("init_from"))
    if config.teacher is not None:
        recipe = replace(recipe, teacher=str(find_stored(config.teacher, folder)))
    given: dict[str, Any] = dict(changes)
    factor = scaled_by(config)
    settings["recipe"] = unscaled(recipe, factor) if given.get("scale_batch") and factor != 1 else recipe
    if given.get("method", config.method) != config.method:
        settings = {name: value for name, value in settings.items() if name not in _OF_METHOD}
    for name in _MERGED:
        if given.get(name) and settings.get(name):
            given[name] = {**settings[name], **given[name]}
    result: Any = settings | given
    return result


def scaled_by(config: TrainConfig) -> int:
    """What batch size and learning rate of the run's recipe were multiplied with."""
    factor = (config.distribution or {}).get("scaled_by", 1)
    return factor if isinstance(factor, int) and factor > 1 else 1


def remarks(config: TrainConfig, folder: Path, scale_batch: bool = False) -> Iterator[str]:
    """How the new run will differ from the run, or what it has in common with it unexpectedly, a line each."""
    if (factor := scaled_by(config)) != 1 and not scale_batch:
        yield f"note: {folder} has {factor} times the batch size and learning rate of its recipe, and so has the new run"
    for change in config.changes:
        rate, step = change.get("learning_rate"), change.get("step")
        if rate is None:
            epochs, before = change.get("epochs"), change.get("epochs_before")
            yield f"note: {folder} had {before} epochs up to step {step}; the new run has the schedule of {epochs} from the start"
            continue
        yield f"note: {folder} had the learning rate {rate} only from step {step} on; the new run has its last one from the start"
