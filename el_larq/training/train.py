"""Training a network with a method on a data set: from names to a run folder with a model in it."""

import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras as keras
from rich.console import Console

from el_larq import card
from el_larq.data.dataset import Dataset
from el_larq.data.registry import load_dataset
from el_larq.errors import UsageError
from el_larq.files import beside, read_bytes, write_bytes, write_json
from el_larq.methods.method import Method
from el_larq.models.build import build, resolve_method
from el_larq.models.own import Own, is_own, load_own
from el_larq.native_output import without_warnings
from el_larq.training.callbacks import Checkpoints, LiveProgress, Metrics, StopOnNaN
from el_larq.training.initialize import initialize, prepared_alike
from el_larq.training.optimizer import make_loss, make_optimizer
from el_larq.training.recipe import Recipe, get_recipe
from el_larq.training.run import Run, TrainConfig, environment, free_folder

EVALUATION_BATCH = 256

OWN = "own"
"""Stands for method and link where a user's own network chooses them itself."""


@dataclass(frozen=True)
class Trained:
    """A finished run: its folder, the model, and the accuracy of that model on the test split."""

    folder: Path
    model: keras.Model
    accuracy: float
    seconds: float

    @property
    def h5(self) -> Path:
        return self.folder / "model.h5"


def train(
    network: str,
    *,
    method: str | None = None,
    link: str | None = None,
    dataset: str | Dataset = "photos",
    recipe: str | Recipe = "standard",
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    image_size: int | None = None,
    width: float = 1.0,
    placement: str | None = None,
    link_options: dict[str, Any] | None = None,
    method_options: dict[str, Any] | None = None,
    network_options: dict[str, Any] | None = None,
    seed: int = 0,
    init_from: str | Path | None = None,
    strict: bool = False,
    out: str | Path | None = None,
    console: Console | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> Trained:
    """Train and leave everything in a run folder (see `el_larq.training.run`).

    The model saved is that of the last epoch: the best one on the test split, kept as a checkpoint, would flatter itself.

    Arguments:
        network, method, link, dataset, recipe: names from the registries; a network may also be one's own, as
            "my_network.py:build" (see `el_larq.models.own`). method None is "el", or nothing for a network that takes none.
        epochs, batch_size, learning_rate: changes to the recipe.
        width, placement, link_options, method_options, network_options: see `el_larq.models.build.build`.
        seed: of initialization, shuffling and augmentation. Two runs with one seed on one machine end with equal
            weights; for that, TensorFlow is set to deterministic operations for the rest of the process.
        init_from: a model to start from, where its layers fit (see `el_larq.training.initialize`); data of one's own are
            then scaled as its card says.
        strict: an image that cannot be read ends the training; otherwise it is named, left out and counted.
        out: the run folder; None makes runs/NETWORK-METHOD-DATASET-sSEED.
        console: where a progress bar goes if it is a terminal.
        notify: called with one line when the training starts, and for what it leaves out.

    Raises:
        UsageError: an unknown name or a value out of range.
        ElLarqError: the folder cannot be written, or the loss is not finite.
    """
    settings = (get_recipe(recipe) if isinstance(recipe, str) else recipe).with_changes(
        epochs=epochs, batch_size=batch_size, learning_rate=learning_rate
    )
    own = load_own(network) if is_own(network) else None
    if own is not None and not own.accepts("method"):
        if method or link or placement or link_options or method_options:
            raise UsageError(f"{network} takes no 'method'; leave --method, --link and their options out, or add the argument")
        resolved = None
    else:
        resolved = resolve_method(method or "el", link, placement, link_options or {}, method_options)
    data = load_dataset(dataset, image_size, strict=strict, notify=notify) if isinstance(dataset, str) else dataset
    if init_from is not None:
        data = prepared_alike(data, init_from)
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    model = _build(network, own, resolved, data, width, network_options or {})
    started = initialize(model, init_from) if init_from is not None else None
    steps_per_epoch = data.steps_per_epoch(settings.batch_size)
    batches = data.training_batches(settings.batch_size, settings.epochs, seed)
    config = TrainConfig(
        network=network,
        method=resolved.name if resolved else OWN,
        link=resolved.link.name if resolved else OWN,
        placement=placement,
        link_options=link_options or {},
        method_options=dict(resolved.options) if resolved else {},
        dataset=data.name,
        dataset_version=data.version,
        image_size=data.preprocessing.height,
        width=width,
        network_options=network_options or {},
        recipe=asdict(settings),
        seed=seed,
        # A resumed run loads the data with this preprocessing: those it was measured on, or taken from, may have gone.
        facts={
            "data": data.fingerprint,
            "preprocessing": data.preprocessing.to_dict(),
            "init_from": started.to_dict() if started else None,
        },
    )
    name = f"{own.path.stem if own else network}-{config.method}-{data.slug}-s{seed}"
    run = Run(Path(out) if out is not None else free_folder(Path("runs"), name), config)
    if own is not None:
        write_bytes(run.folder / "network.py", read_bytes(own.path))  # it decides what was computed
    notify(
        f"training {network} with method {config.method}, link {config.link}, on {data.name}: "
        f"{data.train_size} images, {settings.epochs} epochs, seed {seed} -> {run.folder}"
    )
    if started is not None:
        notify(started.summary)
    model.compile(
        make_optimizer(settings, model, steps_per_epoch * settings.epochs),
        make_loss(settings, data.num_classes),
        metrics=["accuracy"],
    )
    progress = LiveProgress(settings.epochs, steps_per_epoch, console or Console(stderr=True))
    start = time.monotonic()
    try:
        with data.reading():
            history: Any = model.fit(
                batches,
                epochs=settings.epochs,
                steps_per_epoch=steps_per_epoch,
                validation_data=data.test_batches(EVALUATION_BATCH),
                verbose=0,  # pyright: ignore[reportArgumentType]
                callbacks=[
                    StopOnNaN(),
                    Metrics(run),
                    Checkpoints(run),
                    keras.callbacks.TensorBoard(str(run.folder / "tensorboard"), write_graph=False),
                    progress,
                ],
            )
    finally:
        progress.close()
    seconds = time.monotonic() - start
    accuracy = float(history.history["val_accuracy"][-1])
    save_model(run.folder, model, make_card(config, data, accuracy))
    result = {"accuracy": accuracy, "best_accuracy": max(history.history["val_accuracy"]), "seconds": round(seconds, 1)}
    if data.skipped:
        result["skipped_images"] = len(data.skipped)
    write_json(run.folder / "result.json", result)
    return Trained(run.folder, model, accuracy, seconds)


def _build(
    network: str, own: Own | None, method: Method | None, data: Dataset, width: float, options: dict[str, Any]
) -> keras.Model:
    shape, classes = data.preprocessing.input_shape, data.num_classes
    if own is None:
        assert method is not None
        return build(network, method, input_shape=shape, num_classes=classes, width=width, **options)
    if method is not None:
        options = options | {"method": method}
    if width != 1 or (own.takes and "width" in own.takes):
        options = options | {"width": width}
    return own.build(shape, classes, **options)


def make_card(config: TrainConfig, data: Dataset, accuracy: float) -> card.Card:
    return {
        "network": config.network,
        "method": config.method,
        "link": config.link,
        "labels": list(data.labels),
        "preprocessing": data.preprocessing.to_dict(),
        "dataset": {"name": data.name, "version": data.version},
        "accuracy": {"split": "test", "top1": round(accuracy, 5)},
        "trained_with": {"seed": config.seed, "packages": environment()["packages"]},
    }


def save_model(folder: Path, model: keras.Model, model_card: card.Card) -> None:
    """model.h5 and model.keras, each with the card in it, without loss and optimizer."""
    bare = keras.Model(model.inputs, model.outputs, name=model.name)
    for suffix in (".h5", ".keras"):
        with beside(folder / f"model{suffix}") as temporary, warnings.catch_warnings(), without_warnings():
            # Keras recommends its newer format over .h5; both are written.
            warnings.filterwarnings("ignore", message="You are saving your model as an HDF5 file")
            # Only .h5 takes the argument; without it Keras warns that there is no optimizer to save.
            bare.save(temporary, **({"include_optimizer": False} if suffix == ".h5" else {}))
            card.attach(temporary, model_card)
