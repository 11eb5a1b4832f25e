"""The model files of a run, which contain the model card."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import tensorflow as tf
import tf_keras as keras

from el_larq import card
from el_larq.data.dataset import Dataset
from el_larq.training.config import TrainConfig
from el_larq.training.features import OnFeatures
from el_larq.training.learned_steps import StepsTrained
from el_larq.training.run_folder import environment
from el_larq.training.selection import ACCURACY, MAP_50, MAP_50_95


def make_card(config: TrainConfig, data: Dataset, tested: Mapping[str, float] | None, kept: dict[str, Any]) -> card.Card:
    """The card of a run's model.

    Arguments:
        tested: figures of the test split, 0 to 1; None if it was not tested.
        kept: "epoch", if it is not the last, and the decay of the moving "average" of its weights, if it has one.
    """
    return {
        **({} if data.task == "classification" else {"task": data.task}),
        "network": config.network,
        "method": config.method,
        "link": config.link,
        "labels": list(data.labels),
        "preprocessing": data.preprocessing.to_dict(),
        "dataset": {"name": data.name, "version": data.version},
        **({} if tested is None else {"accuracy": {"split": "test", **_stated(tested)}}),
        "trained_with": {"seed": config.seed, **kept, "packages": environment()["packages"]},
    }


def _stated(tested: Mapping[str, float]) -> dict[str, float]:
    names = {ACCURACY: "top1", MAP_50: MAP_50, MAP_50_95: MAP_50_95}
    return {name: round(tested[figure], 5) for figure, name in names.items() if figure in tested}


def example(model: keras.Model, data: Dataset) -> tuple[tf.Tensor, tf.Tensor]:
    """Labels and outputs for one image, as the loss and the metrics take them; all of them 0."""
    if data.task == "detection":
        anchors, values = model.output_shape[1:]
        return tf.zeros([1, anchors, 5]), tf.zeros([1, anchors, values])
    return tf.zeros([1], tf.int64), tf.zeros([1, data.num_classes])


def bare(model: keras.Model) -> keras.Model:
    """The network of a model that was made to be trained: with the same layers and weights, without its training step."""
    return _without_training(model) if isinstance(model, (StepsTrained, OnFeatures)) else model


def architecture(model: keras.Model) -> str:
    """The configuration of the network that `save_model` writes, as JSON."""
    return _without_training(model).to_json()


def describe_weights(path: Path, config: str, model_card: card.Card) -> None:
    """Add a model's `architecture` and card to a file of `Model.save_weights`; it then stands for the model."""
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = config
        file.attrs["keras_version"] = keras.__version__
    card.attach(path, model_card)


def load_kept_weights(path: Path, model: keras.Model) -> None:
    """Load a file of `Model.save_weights`; without the metrics in it, which Keras does not load into several replicas."""
    _without_training(model).load_weights(path)


def save_model(folder: Path, model: keras.Model, model_card: card.Card) -> None:
    """Write model.h5 and model.keras, both with the card and without loss and optimizer."""
    network = _without_training(model)
    for suffix in (".h5", ".keras"):
        card.save_with(model_card, network, folder / f"model{suffix}")


def _without_training(model: keras.Model) -> keras.Model:
    return keras.Model(model.inputs, model.outputs, name=model.name)
