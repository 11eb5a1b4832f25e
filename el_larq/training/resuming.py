"""What resuming a run begins with, whether it has one stage or several."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tf_keras as keras

from el_larq.data.dataset import Dataset
from el_larq.errors import ElLarqError
from el_larq.loading.load import load_model
from el_larq.loading.user_network import is_user_network, load_user_network
from el_larq.training.config import OWN_SOURCE, TrainConfig, is_finished, read_config, read_result
from el_larq.training.extension import check_extendable, is_extension
from el_larq.training.network import network_again
from el_larq.training.resumable import check_resumable, tidy
from el_larq.training.run_folder import RunFolder, open_run
from el_larq.training.run_options import Notify, RunOptions
from el_larq.training.selection import TITLES
from el_larq.training.trained import Trained


@dataclass(frozen=True, kw_only=True)
class Replacements:
    """What a run that is resumed gets in place of what its folder names; see `el_larq.training.train.resume`."""

    dataset: Dataset | None = None
    model: keras.Model | None = None
    learning_rate: float | None = None
    epochs: int | None = None


Continue = Callable[[RunFolder, RunOptions, Replacements], Trained]


def resume_with(continue_run: Continue, folder: Path, options: RunOptions, given: Replacements) -> Trained:
    """The finished run, or the result of ``continue_run`` in the locked run folder. The errors are those of `resume`."""
    config = read_config(folder)
    longer = is_extension(config, given.epochs)
    if is_finished(folder) and not longer:
        return _open_finished(folder, config, options.notify)
    check_resumable(folder, config, given.learning_rate)
    if longer:
        check_extendable(folder, config)
    with open_run(folder) as run:
        if is_finished(folder) and not longer:
            raise ElLarqError(f"{folder} was just finished by another process")
        return continue_run(run, options, given)


def _open_finished(folder: Path, config: TrainConfig, notify: Notify) -> Trained:
    result = read_result(folder)
    tidy(folder)
    notify(f"{folder} is finished")
    if is_user_network(config.network) and (folder / OWN_SOURCE).is_file():
        load_user_network(str(network_again(folder, config, None, trust=False)))  # registers its layers
    figures = {name: float(result[name]) for name in TITLES if name in result}
    return Trained(folder, load_model(folder / "model.h5"), figures, float(result["seconds"]))
