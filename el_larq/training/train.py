"""Training of a network with a method on a data set: from names to a run folder that contains a model, with resume."""

import contextlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras as keras
from rich.console import Console

from el_larq.counting.no_operator import warning, without_operator
from el_larq.data.dataset import Dataset
from el_larq.data.names import folders
from el_larq.data.preprocessing import Preprocessing
from el_larq.data.registry import load_dataset
from el_larq.data.validation import TEST, apply, choose
from el_larq.errors import ElLarqError, UsageError
from el_larq.files import read_bytes, write_json
from el_larq.keras_internals import is_compiled
from el_larq.methods.method import Method
from el_larq.methods.registry import get_method
from el_larq.models.build import build, resolve_method
from el_larq.models.user_network import UserNetwork as Own
from el_larq.models.user_network import is_user_network as is_own
from el_larq.models.user_network import load_user_network as load_own
from el_larq.outputs import check_folder
from el_larq.printable import counted
from el_larq.tables import html_table
from el_larq.training import run_folder
from el_larq.training.compiled import prepare_compiled as take
from el_larq.training.compiled import summary
from el_larq.training.config import CONFIG, FAILURE, RESULT, TrainConfig, damaged, is_finished, read_config, read_json, read_result
from el_larq.training.initialize import adopt_scaling as prepared_alike
from el_larq.training.initialize import initialize
from el_larq.training.loop import Loop
from el_larq.training.models import make_card, save_model
from el_larq.training.optimizer import make_loss, make_optimizer
from el_larq.training.progress import LiveProgress
from el_larq.training.recipe import Recipe, get_recipe
from el_larq.training.resumable import check_resumable, recipe_of, tidy
from el_larq.training.run_folder import RunFolder as Run
from el_larq.training.run_folder import free_folder, record_resume
from el_larq.training.stopping import stoppable

CHECKPOINT_SECONDS = 60.0

OWN = "own"
"""The value of method and link in the config if a user network chooses them itself."""

OWN_SOURCE = "network.py"
"""The copy of a user network's file in the run folder."""

Notify = Callable[[str], None]


def _silent(_line: str) -> None:
    pass


@dataclass(frozen=True)
class Trained:
    """A finished run.

    folder: the run folder.
    model: the model of the last epoch.
    accuracy: that model's accuracy on the test split, 0 to 1.
    seconds: the time that the training took.
    """

    folder: Path
    model: keras.Model
    accuracy: float
    seconds: float

    def __repr__(self) -> str:
        return f"Trained({str(self.folder)!r}: test accuracy {self.accuracy:.4f}, {self.seconds:,.0f} s)"

    def _repr_html_(self) -> str:
        rows = [
            ("model", f"{self.model.name}, {self.model.count_params():,} parameters"),
            ("test accuracy", f"{self.accuracy:.4f}"),
            ("seconds", f"{self.seconds:,.0f}"),
        ]
        return html_table(self.folder, rows)

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
    trust: bool = False,
    strict: bool = False,
    validation: float | None = None,
    out: str | Path | None = None,
    console: Console | None = None,
    notify: Notify = _silent,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    checkpoint_steps: int | None = None,
) -> Trained:
    """Train a network and write everything into a run folder (see `el_larq.training.run_folder`).

    The saved model is that of the last epoch, and the test split is used once, for that model. The weights of the best epoch,
    chosen by the validation split, are kept as a checkpoint.

    Arguments:
        network, method, link, dataset, recipe: names from the registries; a network may also be the user's own, given as
            "my_network.py:build" (see `el_larq.models.user_network`). method None means "el", or no method for a network that
            takes none.
        epochs, batch_size, learning_rate: changes to the recipe. A user network that comes compiled keeps its optimizer and loss
            (see `el_larq.training.compiled`), and learning_rate is then an error.
        image_size: height and width of the inputs in pixels, 8 or more; None is the data set's own size.
        width, placement, link_options, method_options, network_options: see `el_larq.models.build.build`.
        seed: of initialization, shuffling and augmentation. Two runs with the same seed on the same machine end with the same
            weights, interrupted or not; for this, TensorFlow uses deterministic operations for the rest of the process.
        init_from: a model whose weights initialize the layers that they fit (see `el_larq.training.initialize`); images read from
            files are then scaled as its card says.
        trust: load that model including any code in it (docs/safety.md).
        strict: an image that cannot be read ends the training; otherwise it is reported, left out and counted.
        validation: the fraction of the training images to hold out for validation, 0 to below 1; 0 disables validation. None
            uses the data set's own validation split, or 0.1 if it has none.
        out: the run folder; None creates runs/NETWORK-METHOD-DATASET-sSEED.
        console: where to draw a progress bar, if it is a terminal.
        notify: called with one line when the training starts, and with anything else a user should know.
        checkpoint_seconds, checkpoint_steps: a state to resume from is saved about this often, in addition to those at the ends
            of epochs. If saving is slow, checkpoint_seconds is extended so that saving takes at most a twentieth of the time.

    Raises:
        UsageError: an unknown name or a value out of range.
        ElLarqError: the folder cannot be written, or the loss is not finite.
        Interrupted: Ctrl-C, SIGTERM or SIGHUP; a KeyboardInterrupt. The state is saved, and `notify` was called with how to resume.
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
        resolved = _resolve(method or "el", link, placement, link_options or {}, method_options or {})
    data = load_dataset(dataset, image_size, strict=strict, notify=notify) if isinstance(dataset, str) else dataset
    if init_from is not None:
        data = prepared_alike(data, init_from)
    rule = choose(data, validation)
    data = apply(data, rule)
    model = _begin(network, own, resolved, data, width, network_options or {}, seed)
    named = None
    if own is not None and is_compiled(model):
        if learning_rate is not None:
            raise UsageError(f"{network} comes compiled, and --learning-rate does not apply; set it in {own.path.name}")
        named = take(model, settings, data.num_classes, network)
    started = initialize(model, init_from, trust) if init_from is not None else None
    # Raises an error for a batch size that is too large, before the folder is created.
    data.training_batches(settings.batch_size, settings.epochs, seed)
    config = TrainConfig(
        network=network,
        method=resolved.name if resolved else OWN,
        link=resolved.link.name if resolved else OWN,
        placement=placement,
        link_options=link_options or {},
        method_options=dict(resolved.options) if resolved else {},
        dataset=data.name,
        dataset_version=data.version,
        dataset_fingerprint=data.fingerprint,
        image_size=data.preprocessing.height,
        preprocessing=data.preprocessing.to_dict(),
        width=width,
        network_options=network_options or {},
        recipe=asdict(settings),
        seed=seed,
        strict=strict,
        validation=rule,
        init_from=started.to_dict() if started else None,
        compiled=named,
    )
    name = f"{own.path.stem if own else network}-{config.method}-{data.slug}-s{seed}"
    folder = Path(out) if out is not None else free_folder(Path("runs"), name)
    check_folder(folder, inputs=(*folders(data.name), *filter(None, (init_from,))))
    # A user network determines what is computed, so its source belongs to the run.
    files = {OWN_SOURCE: read_bytes(own.path)} if own is not None else {}
    with run_folder.create(folder, config, files) as run:
        notify(
            f"training {network} with method {config.method}, link {config.link}, on {data.name}: "
            f"{counted(data.train_size, 'image')}, {data.validation_size or 'none'} for validation, "
            f"{counted(settings.epochs, 'epoch')}, seed {seed} -> {run.folder}"
        )
        if named is not None:
            notify(summary(network, named))
        for rule, names in without_operator(model).items():
            notify(f"note: {warning(rule, names)}")
        if started is not None:
            notify(started.summary)
        if not data.exact_resume:
            notify(
                f"{data.name} cannot be read again from any place: a run that is resumed ends near, but not at, the same weights"
            )
        every = (checkpoint_seconds, checkpoint_steps)
        return _finish(run, model, data, settings, resolved, every, console, notify, resumed=False)


def resume(
    folder: str | Path,
    *,
    dataset: Dataset | None = None,
    learning_rate: float | None = None,
    trust: bool = False,
    console: Console | None = None,
    notify: Notify = _silent,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    checkpoint_steps: int | None = None,
) -> Trained:
    """Resume a run that was stopped or killed; the result is the same as without the interruption. A finished run is returned.

    Arguments:
        folder: the run folder.
        dataset: required if the run was given a Dataset that `load_dataset` cannot load by name.
        learning_rate: a new peak from here on, for a run that ended because its loss was not finite; otherwise an error.
        trust: for the model of ``init_from``, which is read again if no state is left; the run does not store it.
        console, notify, checkpoint_seconds, checkpoint_steps: see `train`.

    Raises:
        UsageError: a new learning rate for a run that has not failed, or for a network that comes compiled.
        ElLarqError: the folder is not a run folder, is damaged, of a newer schema or of one too old to resume, in use or not
            writable; its loss was not finite and no learning rate is given; or its data or network have changed.
        Interrupted: see `train`.
    """
    folder = Path(folder)
    config = read_config(folder)
    if is_finished(folder):
        return _finished(folder, config, notify)
    check_resumable(folder, config, learning_rate)
    with run_folder.open_run(folder) as run:
        if is_finished(folder):
            raise ElLarqError(f"{folder} was just finished by another process")
        if learning_rate is not None:
            _lower(run, learning_rate)
        config = run.config
        own = _own_of(folder, config) if is_own(config.network) else None
        resolved = None
        if config.method != OWN:
            given = None if config.link == get_method(config.method, chosen=config.method_options).link.name else config.link
            resolved = _resolve(config.method, given, config.placement, config.link_options, config.method_options)
        data = dataset
        if data is None:
            data = load_dataset(config.dataset, config.image_size, strict=config.strict, notify=notify)
        if config.preprocessing is not None and data.preprocessing.to_dict() != config.preprocessing:
            # The images it was measured on, or the model it was taken from, may no longer exist.
            try:
                data = replace(data, preprocessing=Preprocessing.from_dict(config.preprocessing))
            except (TypeError, ValueError) as error:
                raise damaged(folder / CONFIG) from error
        if config.dataset_fingerprint not in (None, data.fingerprint):
            raise ElLarqError(f"{folder} cannot go on: the data of {data.name} have changed since it began; train again")
        data = apply(data, config.validation)
        model = _begin(config.network, own, resolved, data, config.width, config.network_options, config.seed)
        if config.compiled is not None:
            if not is_compiled(model):
                raise ElLarqError(f"{folder} cannot go on: {config.network} does not come compiled any more; train again")
            take(model, recipe_of(config, folder), data.num_classes, config.network)
        every = (checkpoint_seconds, checkpoint_steps)
        return _finish(run, model, data, recipe_of(config, folder), resolved, every, console, notify, resumed=True, trust=trust)


def _resolve(method: str, link: str | None, placement: str | None, link_options: Any, method_options: Any) -> Method:
    """As `resolve_method`, but a link that is the method's own is not passed on, so that it does not count as an override."""
    own_link = get_method(method, chosen=method_options).link.name
    return resolve_method(method, None if link == own_link else link, placement, link_options, method_options)


def _begin(
    network: str, own: Own | None, method: Method | None, data: Dataset, width: float, options: dict[str, Any], seed: int
) -> keras.Model:
    """Build the model with its random initialization, which is a function of the arguments."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    # Layers that draw random numbers then have a state that can be saved.
    keras.backend.experimental.enable_tf_random_generator()
    return _build(network, own, method, data, width, options)


def _finish(
    run: Run,
    model: keras.Model,
    data: Dataset,
    recipe: Recipe,
    method: Method | None,
    every: tuple[float, int | None],
    console: Console | None,
    notify: Notify,
    resumed: bool,
    trust: bool = False,
) -> Trained:
    """Train from the run's last state, or from the start, to the end, and write the files of a finished run."""
    steps_per_epoch = data.steps_per_epoch(recipe.batch_size)
    if run.config.compiled is None:
        model.compile(
            make_optimizer(recipe, model, steps_per_epoch * recipe.epochs),
            make_loss(recipe, data.num_classes),
            metrics=["accuracy"],
        )
    progress = LiveProgress(recipe.epochs, steps_per_epoch, console or Console(stderr=True))
    with stoppable() as stop, contextlib.closing(progress):
        loop = Loop(
            run,
            model,
            data,
            recipe,
            seed=run.config.seed,
            search=method.search if method else None,
            stop=stop,
            progress=progress,
            every_seconds=every[0],
            every_steps=every[1],
            notify=notify,
        )
        if resumed:
            if (state := loop.load(notify)) is not None:
                try:
                    loop.restore(state)
                except (KeyError, TypeError, ValueError, AttributeError) as error:
                    raise damaged(loop.states.paths()[0]) from error  # load() removed newer, damaged ones
            elif run.config.init_from is not None:
                source = run.config.init_from.get("source")
                if not isinstance(source, str):
                    raise damaged(run.folder / CONFIG)
                initialize(model, source, trust)
            notify(f"going on with {run.folder} at step {loop.step} of {loop.total}")
            if differences := record_resume(run, loop.step):
                notify(f"not the machine it began on, so the weights may differ in rounding: {', '.join(differences)}")
        accuracy = loop.train()["accuracy"]
        with loop.writing():
            save_model(run.folder, model, make_card(run.config, data, accuracy))
        seconds = loop.elapsed
        result = {"accuracy": accuracy, **_validated(run.config, loop.records), "seconds": round(seconds, 1)}
        if data.skipped:
            result["skipped_images"] = len(data.skipped)
        with loop.writing():
            write_json(run.folder / RESULT, result)
        loop.states.remove()
    return Trained(run.folder, model, accuracy, seconds)


def _validated(config: TrainConfig, records: list[dict[str, Any]]) -> dict[str, Any]:
    """Validation accuracy of the last epoch and of the best one (the first of equals); empty without validation."""
    if "val_accuracy" not in records[-1]:
        return {}
    best = max(records, key=lambda record: record["val_accuracy"])
    if config.validation == TEST:
        return {"best_accuracy": best["val_accuracy"]}  # on the test split, as in older runs
    return {
        "validation_accuracy": records[-1]["val_accuracy"],
        "best_validation_accuracy": best["val_accuracy"],
        "best_epoch": best["epoch"],
    }


def _finished(folder: Path, config: TrainConfig, notify: Notify) -> Trained:
    from el_larq.loading.load import load_model

    result = read_result(folder)
    tidy(folder)
    notify(f"{folder} is finished")
    if is_own(config.network) and (folder / OWN_SOURCE).is_file():
        _own_of(folder, config)  # registers its layers
    return Trained(folder, load_model(folder / "model.h5"), float(result["accuracy"]), float(result["seconds"]))


def _lower(run: Run, learning_rate: float) -> None:
    """Set another learning rate for a run whose loss was not finite."""
    if learning_rate != run.config.recipe["learning_rate"]:
        recipe = recipe_of(run.config, run.folder).with_changes(learning_rate=learning_rate)
        change = {"step": read_json(run.folder / FAILURE).get("kept_step"), "learning_rate": learning_rate}
        run.change(replace(run.config, recipe=asdict(recipe), changes=[*run.config.changes, change]))
    (run.folder / FAILURE).unlink(missing_ok=True)


def _own_of(folder: Path, config: TrainConfig) -> Own:
    """The user network that a run was started with: the original file if it is unchanged, otherwise the run's copy."""
    file, _, function = config.network.rpartition(":")
    copy = folder / OWN_SOURCE
    unchanged = Path(file).is_file() and copy.is_file() and Path(file).read_bytes() == copy.read_bytes()
    return load_own(config.network if unchanged or not copy.is_file() else f"{copy}:{function}")


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
