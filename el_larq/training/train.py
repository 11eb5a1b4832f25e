"""Training of a network with a method on a data set: from names to a run folder that contains a model, with resume."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import tf_keras as keras
from rich.console import Console

from el_larq.counting.real_valued_layers import allowances, without_operator
from el_larq.data.dataset import Dataset
from el_larq.data.names import folders
from el_larq.data.preprocessing import Preprocessing
from el_larq.data.registry import load_dataset
from el_larq.data.validation import TEST, Rule, apply, choose
from el_larq.errors import ElLarqError, UsageError
from el_larq.files import write_json
from el_larq.keras_internals import is_compiled
from el_larq.missing_operators import describe_missing
from el_larq.models.user_network import UserNetwork, is_user_network, load_user_network
from el_larq.outputs import check_folder
from el_larq.printable import counted
from el_larq.tables import html_table
from el_larq.training import run_folder
from el_larq.training.bop import check_binary, make_signs
from el_larq.training.compiled import prepare_compiled, summary
from el_larq.training.config import (
    CONFIG,
    FAILURE,
    OWN,
    OWN_MODEL,
    OWN_SOURCE,
    RESULT,
    TrainConfig,
    damaged,
    is_finished,
    read_config,
    read_json,
    read_result,
    recipe_of,
)
from el_larq.training.determinism import is_deterministic, set_deterministic
from el_larq.training.distillation import plain, with_loss
from el_larq.training.figures import CONFUSION, CURVE, draw_confusion, draw_curve
from el_larq.training.initialize import Initialized, adopt_scaling, initialize
from el_larq.training.loop import Loop
from el_larq.training.models import make_card, save_model
from el_larq.training.network import build_model, check_compiled, load_function, network_again, sources, takes_method
from el_larq.training.optimizer import make_accuracy, make_loss, make_optimizer
from el_larq.training.plan import Settings, TrainingPlan, find_stored, make_plan, plan_again, stored_path
from el_larq.training.progress import LiveProgress
from el_larq.training.resumable import check_resumable, tidy
from el_larq.training.run_folder import RunFolder, free_folder, record_resume
from el_larq.training.selection import best_epoch
from el_larq.training.staged import train_stages
from el_larq.training.stopping import stoppable

CHECKPOINT_SECONDS = 60.0

NOT_DETERMINISTIC = (
    "note: without deterministic operations, a resumed run and one with the same seed end with similar, not identical, weights"
)

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
    network: str | keras.Model,
    *,
    trust: bool = False,
    console: Console | None = None,
    notify: Notify = _silent,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    checkpoint_steps: int | None = None,
    **settings: Unpack[Settings],
) -> Trained:
    """Train a network and write everything into a run folder (see `el_larq.training.run_folder`).

    The saved model is that of the last epoch, and the test split is used once, for that model. The weights of the best epoch,
    chosen by the validation split, are kept as a checkpoint.

    Arguments:
        network: a name from the registry, the user's own "my_network.py:build" (see `el_larq.models.user_network`), or a Keras
            model from images to logits, whose weights the training starts from. A user network or model that comes compiled
            keeps its optimizer and loss (see `el_larq.training.compiled`), and ``learning_rate`` is then an error.
        settings: method, data set, recipe ...: see `el_larq.training.plan.Settings`. Two runs with the same seed on the same
            machine end with the same weights, interrupted or not, if they are deterministic. Whether they are is a setting of
            TensorFlow's for the whole process, until the next training.
        trust: load the models of ``init_from`` and of a teacher including any code in them (docs/safety.md).
        console: where to draw a progress bar, if it is a terminal.
        notify: called with one line when the training starts, and with anything else a user should know.
        checkpoint_seconds, checkpoint_steps: a state to resume from is saved about this often, in addition to those at the ends
            of epochs. If saving is slow, checkpoint_seconds is extended so that saving takes at most a twentieth of the time.

    Raises:
        UsageError: an unknown name or a value out of range.
        ElLarqError: the folder cannot be written, or the loss is not finite.
        Interrupted: Ctrl-C, SIGTERM or SIGHUP; a KeyboardInterrupt. The state is saved, and `notify` was called with how to resume.
    """
    plan = make_plan(network, **settings)
    return start(plan, trust, console, notify, checkpoint_seconds, checkpoint_steps)


def start(
    plan: TrainingPlan,
    trust: bool = False,
    console: Console | None = None,
    notify: Notify = _silent,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    checkpoint_steps: int | None = None,
) -> Trained:
    """Execute a plan; everything else is as in `train`."""
    deterministic = is_deterministic(plan.deterministic)
    set_deterministic(deterministic)
    every = (checkpoint_seconds, checkpoint_steps)
    if plan.recipe.stages:
        run, data = _begin_stages(plan, deterministic, notify)
        with run:
            return train_stages(run, plan, data, start, resume, every, trust=trust, console=console, notify=notify)
    own = load_function(plan)
    data = _load(plan, notify)
    if plan.init_from is not None:
        data = adopt_scaling(data, plan.init_from)
    rule = choose(data, plan.validation)
    data = apply(data, rule)
    model = build_model(plan, own, data)
    named = None
    if plan.is_own and is_compiled(model):
        if plan.recipe.average:
            raise UsageError(f"{plan.network_name} is compiled, so the average of its weights does not apply; set average to 0")
        if "learning_rate" in plan.given:
            where = f"set it in {own.path.name}" if own else "set it where the model is compiled"
            raise UsageError(f"{plan.network_name} is compiled, so --learning-rate does not apply; {where}")
        named = prepare_compiled(model, plan.recipe, data.num_classes, plan.network_name)
    if plan.recipe.optimizer == "bop" and named is None:
        check_binary(model)
    files = sources(plan, own)
    whole = plan.recipe.start is not None
    started = initialize(model, plan.init_from, trust, whole) if plan.init_from is not None else None
    model = with_loss(model, plan, data, trust)
    data.check_batch(plan.recipe.batch_size)
    config = _config(plan, own, data, rule, deterministic, started, named)
    with _create(plan, config, own, data, files) as run:
        notify(
            f"training {plan.network_name} with method {config.method}, link {config.link}, on {data.name}: "
            f"{counted(data.train_size, 'image')}, {data.validation_size or 'none'} for validation, "
            f"{counted(plan.recipe.epochs, 'epoch')}, seed {plan.seed}, "
            f"{'deterministic' if deterministic else 'not deterministic'} -> {run.folder}"
        )
        for line in _remarks(plan, config, model, data, named, started):
            notify(line)
        return _finish(run, model, data, plan, every, console, notify, resumed=False)


def resume(
    folder: str | Path,
    *,
    dataset: Dataset | None = None,
    model: keras.Model | None = None,
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
        model: required if the run was given a compiled Keras model: the same model, built and compiled again.
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
    every = (checkpoint_seconds, checkpoint_steps)
    with run_folder.open_run(folder) as run:
        if is_finished(folder):
            raise ElLarqError(f"{folder} was just finished by another process")
        if recipe_of(run.config, folder).stages:
            plan = plan_again(run.config, folder, network_again(folder, run.config, model, trust), dataset)
            data = _as_configured(_load(plan, notify), run.config, folder)
            rest: Any = {"trust": trust, "console": console, "notify": notify}
            return train_stages(run, plan, data, start, resume, every, learning_rate, **rest)
        if learning_rate is not None:
            _lower(run, learning_rate)
        config = run.config
        plan = plan_again(config, folder, network_again(folder, config, model, trust), dataset)
        set_deterministic(config.deterministic)
        own = load_function(plan)
        data = apply(_as_configured(_load(plan, notify), config, folder), config.validation)
        network = build_model(plan, own, data)
        if config.compiled is not None:
            check_compiled(folder, config, network)
            prepare_compiled(network, plan.recipe, data.num_classes, config.network)
        network = with_loss(network, plan, data, trust)
        return _finish(run, network, data, plan, every, console, notify, resumed=True, trust=trust)


def _load(plan: TrainingPlan, notify: Notify) -> Dataset:
    """The plan's data set, before a validation split is held out."""
    if isinstance(plan.dataset, str):
        return load_dataset(plan.dataset, plan.image_size, strict=plan.strict, notify=notify)
    return plan.dataset


def _as_configured(data: Dataset, config: TrainConfig, folder: Path) -> Dataset:
    """The data set of a run that is resumed, with the preprocessing of its config. Raises ElLarqError if the data have changed."""
    if config.preprocessing is not None and data.preprocessing.to_dict() != config.preprocessing:
        # The images it was measured on, or the model it was taken from, may no longer exist.
        try:
            data = replace(data, preprocessing=Preprocessing.from_dict(config.preprocessing))
        except (TypeError, ValueError) as error:
            raise damaged(folder / CONFIG) from error
    if config.dataset_fingerprint not in (None, data.fingerprint):
        raise ElLarqError(f"{folder} cannot be resumed: the data of {data.name} have changed since the run started; train again")
    return data


def _config(
    plan: TrainingPlan,
    own: UserNetwork | None,
    data: Dataset,
    rule: Rule,
    deterministic: bool,
    started: Initialized | None = None,
    named: dict[str, str] | None = None,
) -> TrainConfig:
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
        init_from=started.to_dict() | {"source": stored_path(plan.init_from, plan)} if started else None,
        teacher=stored_path(plan.teacher, plan),
        compiled=named,
        deterministic=deterministic,
    )


def _begin_stages(plan: TrainingPlan, deterministic: bool, notify: Notify) -> tuple[RunFolder, Dataset]:
    """Create the folder of a run of several stages."""
    own = load_function(plan)
    if not isinstance(plan.network, str) and is_compiled(plan.network):
        raise UsageError(f"{plan.network_name} is compiled with its own optimizer, so it cannot be trained in stages")
    data = _load(plan, notify)
    config = _config(plan, own, data, choose(data, plan.validation), deterministic)
    return _create(plan, config, own, data, sources(plan, own)), data


def _create(
    plan: TrainingPlan, config: TrainConfig, own: UserNetwork | None, data: Dataset, files: Mapping[str, bytes]
) -> RunFolder:
    """The run folder that the plan names, or a new one named after the run."""
    recipe = f"-{plan.recipe.name}" if plan.recipe.stages else ""
    name = f"{own.path.stem if own else plan.network_name}-{config.method}-{data.slug}{recipe}-s{plan.seed}"
    folder = plan.out if plan.out is not None else free_folder(Path("runs"), name)
    check_folder(folder, inputs=(*folders(data.name), *filter(None, (plan.init_from,))))
    return run_folder.create(folder, config, files)


def _remarks(
    plan: TrainingPlan,
    config: TrainConfig,
    model: keras.Model,
    data: Dataset,
    named: dict[str, str] | None,
    started: Initialized | None,
) -> Iterator[str]:
    """What a user should know before the first step, a line each."""
    if named is not None:
        yield summary(plan.network_name, named)
    for rule, names in without_operator(model).items():
        yield f"note: {describe_missing(rule, names)}"
    if started is not None:
        yield started.summary
    if not config.deterministic:
        yield NOT_DETERMINISTIC
    if not data.exact_resume:
        yield f"{data.name} cannot be read from an arbitrary position: a resumed run ends with similar, not identical, weights"


def _finish(
    run: RunFolder,
    model: keras.Model,
    data: Dataset,
    plan: TrainingPlan,
    every: tuple[float, int | None],
    console: Console | None,
    notify: Notify,
    resumed: bool,
    trust: bool = False,
) -> Trained:
    """Train from the run's last state, or from the start, to the end, and write the files of a finished run."""
    recipe, steps_per_epoch = plan.recipe, data.steps_per_epoch(plan.recipe.batch_size)
    if run.config.compiled is None:
        model.compile(
            make_optimizer(recipe, model, steps_per_epoch * recipe.epochs),
            make_loss(recipe, data.num_classes),
            metrics=[make_accuracy(data.num_classes)],
        )
    progress = LiveProgress(recipe.epochs, steps_per_epoch, console or Console(stderr=True))
    with stoppable() as stop, contextlib.closing(progress):
        loop = Loop(
            run,
            model,
            data,
            recipe,
            seed=run.config.seed,
            search=plan.search if run.config.method != OWN else None,
            stop=stop,
            progress=progress,
            every_seconds=every[0],
            every_steps=every[1],
            notify=notify,
        )
        if resumed:
            if (state := loop.states.load(notify, loop.state.largest_file)) is not None:
                try:
                    loop.state.restore(state, run.folder)
                except (KeyError, TypeError, ValueError, AttributeError) as error:
                    raise damaged(loop.states.paths()[0]) from error  # load() removed newer, damaged ones
            elif run.config.init_from is not None:
                source = run.config.init_from.get("source")
                if not isinstance(source, str):
                    raise damaged(run.folder / CONFIG)
                initialize(model, find_stored(source, run.folder), trust, whole=recipe.start is not None)
            notify(f"continuing {run.folder} at step {loop.state.step} of {loop.state.total}")
            differences = record_resume(run, loop.state.step)
            if not run.config.deterministic:
                notify(NOT_DETERMINISTIC)
            elif differences:
                notify(
                    f"this is not the machine on which the run started, so weights may differ by rounding: {', '.join(differences)}"
                )
        if recipe.optimizer == "bop" and run.config.compiled is None:
            make_signs(model)  # after initialization, and without effect on a restored state
        accuracy = loop.train()["accuracy"]
        with loop.failures.writing():
            save_model(run.folder, model, make_card(run.config, data, accuracy, loop.kept))
            draw_curve(run.folder / CURVE, loop.state.records)
            draw_confusion(run.folder / CONFUSION, loop.confusion, data.labels)
        seconds = loop.state.elapsed
        result = {"accuracy": accuracy, **_validated(run.config, loop.state.records), "seconds": round(seconds, 1)}
        if data.skipped:
            result["skipped_images"] = len(data.skipped)
        if allow := allowances(model):
            result["allow"] = allow
        with loop.failures.writing():
            write_json(run.folder / RESULT, result)
        loop.states.remove()
    return Trained(run.folder, plain(model), accuracy, seconds)


def _validated(config: TrainConfig, records: list[dict[str, Any]]) -> dict[str, Any]:
    """Validation accuracy of the epoch that was kept and of the best one (the first of equals); empty without validation."""
    if "val_accuracy" not in records[-1]:
        return {}
    best = best_epoch(records)
    if config.validation == TEST:
        return {"best_accuracy": best["val_accuracy"]}  # on the test split, as in older runs
    kept = best if config.recipe.get("keep") == "best" else records[-1]
    return {
        "validation_accuracy": kept["val_accuracy"],
        "best_validation_accuracy": best["val_accuracy"],
        "best_epoch": best["epoch"],
        "kept_epoch": kept["epoch"],
    }


def _finished(folder: Path, config: TrainConfig, notify: Notify) -> Trained:
    from el_larq.loading.load import load_model

    result = read_result(folder)
    tidy(folder)
    notify(f"{folder} is finished")
    if is_user_network(config.network) and (folder / OWN_SOURCE).is_file():
        load_user_network(str(network_again(folder, config, None, trust=False)))  # registers its layers
    return Trained(folder, load_model(folder / "model.h5"), float(result["accuracy"]), float(result["seconds"]))


def _lower(run: RunFolder, learning_rate: float) -> None:
    """Set another learning rate for a run whose loss was not finite."""
    if learning_rate != run.config.recipe["learning_rate"]:
        recipe = recipe_of(run.config, run.folder).with_changes(learning_rate=learning_rate)
        change = {"step": read_json(run.folder / FAILURE).get("kept_step"), "learning_rate": learning_rate}
        run.change(replace(run.config, recipe=asdict(recipe), changes=[*run.config.changes, change]))
    (run.folder / FAILURE).unlink(missing_ok=True)
