"""The plan of a training: names, options, ranges and data set, checked once, with what they stand for. Does not import TensorFlow.

The command line, `el_larq.train`, `el_larq.resume` and comparisons make one, and `el_larq.training.train` executes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

from el_larq.data.dataset_registry import check_dataset, check_image_size
from el_larq.data.names import folders
from el_larq.data.validation import check_share
from el_larq.errors import UsageError, unknown_name
from el_larq.loading.user_network import check_user_network, is_user_network
from el_larq.methods.method import Method
from el_larq.methods.method_registry import get_method, resolve_method
from el_larq.models.keras_applications import PREFIX as KERAS_PREFIX
from el_larq.models.keras_applications import get_application
from el_larq.models.network_registry import (
    DEFAULT_METHOD,
    DETECTORS,
    NETWORKS,
    check_width,
    get_any_network,
    resolve_options,
)
from el_larq.outputs import check_folder
from el_larq.training.cluster import check_distributable
from el_larq.training.config import OWN, TrainConfig, recipe_of
from el_larq.training.detector_settings import check_detector
from el_larq.training.recipe import Recipe
from el_larq.training.recipe_file import find_recipe
from el_larq.training.run_folder import is_stage
from el_larq.training.stage_list import stage_folders
from el_larq.training.teachers import with_teachers
from el_larq.zoo.named_models import absolute_model, check_model, check_network, is_model_name

if TYPE_CHECKING:
    import tf_keras as keras

    from el_larq.data.dataset import Dataset

CHANGES = (
    "epochs",
    "batch_size",
    "learning_rate",
    "keep",
    "patience",
    "average",
    "precision",
    "qat_bits",
    "qat_ranges",
    "prune",
    "sparsity",
    "freeze",
)
"""Settings in place of the recipe's."""

DETERMINISTIC = ("auto", "on", "off")

_OF_METHOD = ("method", "link", "placement", "link_options", "method_options")


class SharedSettings(TypedDict, total=False):
    """What the trainings of a comparison share; None is the same as leaving an entry out.

    dataset: a name (`el_larq.data.names`), or a loaded data set; the default is photos, for a detector shapes.
    image_size: in pixels, in place of the data set's own.
    validation: the fraction of the training images to hold out, 0 to below 1; 0 for no validation. The default is the data set's
        own validation split, or 0.1 if it has none.
    recipe: a name, a YAML file (`el_larq.training.recipe_file`), or a recipe; the default is "standard", or "detector" for one.
    epochs, batch_size, learning_rate, keep, patience, average, precision, qat_bits, qat_ranges, prune, sparsity, freeze: in place
        of the recipe's. Without a recipe, qat_bits chooses "int8"; of a recipe of stages, it applies to the last one, and prune and
        sparsity to those that prune.
    network_options: the network's own options, and ``variant``. width: factor for all channel counts.
    """

    dataset: "str | Dataset"
    image_size: int | None
    validation: float | None
    recipe: str | Path | Recipe
    epochs: int | None
    batch_size: int | None
    learning_rate: float | None
    keep: str | None
    patience: int | None
    average: float | None
    precision: str | None
    qat_bits: int | None
    qat_ranges: str | None
    prune: str | None
    sparsity: float | None
    freeze: str | None
    network_options: Mapping[str, Any] | None
    width: float


class Settings(SharedSettings, total=False):
    """What a training can be given in addition to its network: `SharedSettings`, and

    method, link: names from the registries. The default is "el" with its own link, "float" for a network that is real-valued, or no
        method for a user network that takes none.
    placement, link_options, method_options: of the link and of the method, see `el_larq.models.build.build`.
    seed: of initialization, shuffling and augmentation.
    deterministic: "on", "off", or "auto": on unless TensorFlow sees a GPU (`el_larq.training.determinism`).
    strategy: "none", "mirrored", "multi-worker" or "tpu" (`el_larq.training.cluster.STRATEGIES`).
    scale_batch: whether to multiply batch size and learning rate by the number of replicas.
    init_from: a model whose weights initialize the layers that they fit (`el_larq.training.initialize`). In a recipe of stages, it
        applies to those of the run's own network that do not start from another stage.
    partial: accept an ``init_from`` of which fewer than half of the network's layers are taken.
    teacher: in place of the recipe's: a model file, a run folder, or a network, which is then trained first. A recipe of stages
        gets it in place of its stage named teacher.
    strict: an image that cannot be read ends the training; otherwise it is reported, left out and counted.
    out: the run folder; the default is runs/NETWORK-METHOD-DATASET-sSEED.
    """

    method: str | None
    link: str | None
    placement: str | None
    link_options: Mapping[str, Any] | None
    method_options: Mapping[str, Any] | None
    seed: int
    deterministic: str
    strategy: str
    scale_batch: bool
    init_from: str | Path | None
    partial: bool
    teacher: str | Path | None
    strict: bool
    out: str | Path | None


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """A training that can start: everything that can be checked without TensorFlow and without reading images is.

    network: a name from the registry, a user network ("my_network.py:build"), a Keras model, or zoo:NAME or keras:NAME.
    method: with its link, placement and options. For a user network it applies only if its function takes a method.
    network_options: without the options that were not given; with ``variant``, if the network is built with one.
    init_from: for a stage that starts from another one, that stage's model, of which every tensor must fit.
    teacher: the model or run folder of the recipe's teacher. A plan of several stages has none; its stages have.
    given: the names of the settings that were given, for messages about those that do not apply.
    """

    network: "str | keras.Model"
    method: Method
    recipe: Recipe
    dataset: "str | Dataset" = "photos"
    placement: str | None = None
    link_options: Mapping[str, Any] = field(default_factory=dict)
    network_options: Mapping[str, Any] = field(default_factory=dict)
    width: float = 1.0
    image_size: int | None = None
    seed: int = 0
    deterministic: str = "auto"
    strategy: str = "none"
    scale_batch: bool = False
    init_from: Path | None = None
    partial: bool = False
    teacher: Path | None = None
    strict: bool = False
    validation: float | None = None
    out: Path | None = None
    given: frozenset[str] = frozenset()

    @property
    def network_name(self) -> str:
        return self.network if isinstance(self.network, str) else self.network.name

    @property
    def task(self) -> str:
        """What the network is for, see `el_larq.data.dataset.Dataset.task`; one that is not of the registry is a classifier."""
        return _task(self.network)

    @property
    def is_own(self) -> bool:
        """Whether the network is not of the registry: a file with a function, a Keras model, zoo:NAME or keras:NAME."""
        return not isinstance(self.network, str) or is_user_network(self.network) or self.is_named

    @property
    def is_named(self) -> bool:
        """Whether the network is one of Larq Zoo or Keras Applications, which no method applies to."""
        return isinstance(self.network, str) and is_model_name(self.network)

    @property
    def search(self) -> str | None:
        """The method's search between epochs; a stage without all quantizers has none."""
        return self.method.search if self.method.binarize == "both" else None

    def with_seed(self, seed: int, out: Path) -> Self:
        """The same training with another seed, in another folder."""
        return replace(self, seed=seed, out=out)

    def settings(self) -> Settings:
        """The settings that make this plan again, in plain values, without its folder."""
        own_link = get_method(self.method.name, chosen=self.method.options).link.name
        return {
            "method": self.method.name if not self.is_own or "method" in self.given else None,
            "link": None if self.method.link.name == own_link else self.method.link.name,
            "placement": self.placement,
            "link_options": dict(self.link_options),
            "method_options": dict(self.method.options),
            "network_options": dict(self.network_options),
            "width": self.width,
            "dataset": self.dataset,
            "image_size": self.image_size,
            "recipe": self.recipe,
            "seed": self.seed,
            "deterministic": self.deterministic,
            "strategy": self.strategy,
            "scale_batch": self.scale_batch,
            "init_from": self.init_from,
            "partial": self.partial,
            "teacher": self.teacher,
            "strict": self.strict,
            "validation": self.validation,
        }

    def __reduce__(self) -> Any:
        # Methods contain functions that cannot be sent to another process; their names can.
        return _again, (self.network, self.settings(), self.out)


def _again(network: str, settings: Settings, out: Path | None) -> TrainingPlan:
    return replace(resolve(network, **settings), out=out)  # the folder may have been begun meanwhile


def make_plan(network: "str | keras.Model", **settings: Unpack[Settings]) -> TrainingPlan:
    """The plan for a network with these `Settings`.

    Raises:
        UsageError: an unknown name, a value out of range, or settings that do not fit together.
        ElLarqError: the data set, the user network's file, ``init_from`` or a teacher does not exist, or ``out`` cannot be used.
    """
    if isinstance(network, str) and is_model_name(network):
        network, start = _network_and_start(network)
        if settings.get("init_from") is None and start is not None:
            settings["init_from"] = start
    changes = {name: settings.get(name) for name in CHANGES}
    recipe = settings.get("recipe") or _default_recipe(network, settings.get("qat_bits"))
    recipe = (recipe if isinstance(recipe, Recipe) else find_recipe(recipe)).with_changes(**changes)
    recipe = with_teachers(recipe, settings.get("teacher"))
    rest: Any = {name: value for name, value in settings.items() if name not in (*changes, "teacher")}
    plan = resolve(network, **(rest | {"recipe": recipe}))
    if plan.init_from is not None:
        check_model(plan.init_from)
        if plan.init_from.suffix == ".tflite":
            raise UsageError(
                f"{plan.init_from}: a .tflite is converted, and a training cannot start from it; "
                "give the run folder, .h5 or .keras that it was made from"
            )
    elif plan.partial:
        raise UsageError("--partial applies to the model of --init-from; give one, or omit it")
    # Making the plans of stages checks whether they fit the method and the network.
    for stage in stage_plans(plan, Path()) if recipe.stages else (plan,):
        keeps = stage.recipe.freeze != "none" or stage.recipe.batch_norm == "frozen"
        if keeps and stage.init_from is None and (stage.is_named or not stage.is_own):
            raise UsageError("frozen layers would keep random weights; start from a trained model with --init-from")
        _check_real(stage)
    return replace(plan, given=frozenset(name for name, value in settings.items() if value not in (None, {})))


def _check_real(plan: TrainingPlan) -> None:
    """Raise UsageError if a recipe is for real-valued networks and the network of the registry is binary.

    The training checks layers, but a recipe's last stage may start hours later.
    """
    recipe, method = plan.recipe, plan.method
    if plan.is_own or not method.binary or method.binarize == "nothing":
        return
    what = ""
    if recipe.prune != "none" and method.binarize == "both":
        what = "prune"
    elif 0 < recipe.qat_bits < 8:
        what = f"qat_bits {recipe.qat_bits}"
    elif recipe.qat_bits and recipe.qat_ranges == "learned":
        what = "qat_ranges learned"
    if what:
        raise UsageError(f"{what} is for networks without binary layers, and method {plan.method.name} binarizes; choose float")


def _network_and_start(network: str) -> tuple[str, str | None]:
    """The network that a model's name stands for, and the model to start from if no other is given."""
    if network.startswith(KERAS_PREFIX):
        name, equals, _ = network.partition("=")
        return f"{KERAS_PREFIX}{get_application(name).name}", network if equals else None
    return network, network


def _task(network: "str | keras.Model") -> str:
    return "detection" if isinstance(network, str) and network in DETECTORS else "classification"


def _default_recipe(network: "str | keras.Model", qat_bits: int | None) -> str:
    if _task(network) == "detection":
        return "detector"
    return "int8" if qat_bits else "standard"


def default_dataset(network: "str | keras.Model") -> str:
    """The data set of a training that is given none."""
    return "shapes" if _task(network) == "detection" else "photos"


def _default_method(network: "str | keras.Model") -> str:
    return NETWORKS[network].default_method if isinstance(network, str) and network in NETWORKS else DEFAULT_METHOD


def resolve(network: "str | keras.Model", **settings: Unpack[Settings]) -> TrainingPlan:
    """The plan for these `Settings`, of which ``recipe`` is one whose names are resolved (`el_larq.training.teachers`).

    It does not look for models, since stages write them one for another. The errors are those of `make_plan`.
    """
    unknown = set(settings) - Settings.__optional_keys__
    if unknown:
        raise TypeError(f"no such setting of a training: {', '.join(sorted(unknown))}")
    chosen: dict[str, Any] = {name: value for name, value in settings.items() if value not in (None, {})}
    recipe = chosen["recipe"]
    if not recipe.stages:
        chosen = {"init_from": recipe.start, "teacher": recipe.teacher} | chosen
        chosen = {name: value for name, value in chosen.items() if value is not None}
    method = resolve_method(
        chosen.get("method", recipe.method or _default_method(network)),
        chosen.get("link"),
        chosen.get("placement"),
        chosen.get("link_options"),
        chosen.get("method_options"),
    ).binarizing(recipe.binarize, recipe.instead_of_sign)
    options = {name: value for name, value in chosen.get("network_options", {}).items() if value is not None}
    if isinstance(network, str) and is_user_network(network):
        check_user_network(network)
    elif isinstance(network, str) and is_model_name(network):
        check_network(network)
        if options or chosen.get("width", 1.0) != 1.0:
            raise UsageError(f"{network} is a complete definition; width and network options apply to the networks of el-larq list")
    elif isinstance(network, str):
        options = resolve_options(get_any_network(network), method, options)
    check_width(chosen.get("width", 1.0))
    task, dataset = _task(network), chosen.get("dataset", default_dataset(network))
    if isinstance(dataset, str):
        check_image_size(chosen.get("image_size"))
        check_dataset(dataset, task)
    elif dataset.task != task:
        raise UsageError(f"{dataset.name} is a data set for {dataset.task}, and the network is for {task}")
    if "validation" in chosen:
        check_share(chosen["validation"])
    if (deterministic := chosen.get("deterministic", "auto")) not in DETERMINISTIC:
        raise unknown_name("deterministic", str(deterministic), DETERMINISTIC)
    strategy = chosen.get("strategy", "none")
    check_distributable(strategy, recipe, method.search if method.binarize == "both" else None)
    if task == "detection":
        check_detector(recipe, strategy, chosen.get("teacher"))
    check_validated(recipe, chosen.get("validation"))
    init_from, teacher, out = (Path(chosen[name]) if name in chosen else None for name in ("init_from", "teacher", "out"))
    if out is not None:
        check_folder(out, inputs=(*folders(dataset if isinstance(dataset, str) else dataset.name), *filter(None, (init_from,))))
    return TrainingPlan(
        network=network,
        method=method,
        recipe=recipe,
        dataset=dataset,
        placement=chosen.get("placement"),
        link_options=chosen.get("link_options", {}),
        network_options=options,
        width=chosen.get("width", 1.0),
        image_size=chosen.get("image_size"),
        seed=chosen.get("seed", 0),
        deterministic=deterministic,
        strategy=strategy,
        scale_batch=chosen.get("scale_batch", False),
        init_from=init_from,
        partial=chosen.get("partial", False),
        teacher=None if recipe.stages else teacher,
        strict=chosen.get("strict", False),
        validation=chosen.get("validation"),
        out=out,
        given=frozenset(chosen),
    )


def stage_plans(plan: TrainingPlan, folder: Path) -> list[TrainingPlan]:
    """A plan for each stage of a run in ``folder``.

    A stage with a network or a method of its own gets the run's width and those of its options that apply: a link belongs to the
    run's method, and options of another network are left out.

    Raises:
        UsageError: a stage does not fit the method or the network.
    """
    places = dict(zip((stage.name for stage in plan.recipe.stages), stage_folders(plan.recipe.stages, folder), strict=True))
    plans = []
    for stage in plan.recipe.stages:
        settings: Any = plan.settings() | {"recipe": stage, "init_from": None, "teacher": None}
        network = plan.network if stage.network is None else stage.network
        if stage.method is not None:
            settings = {name: value for name, value in settings.items() if name not in _OF_METHOD} | {"method": stage.method}
            settings["network_options"] = {k: v for k, v in settings["network_options"].items() if k != "variant"}
        if stage.network is not None:
            known = NETWORKS[stage.network].options if stage.network in NETWORKS else ()
            settings["network_options"] = {k: v for k, v in settings["network_options"].items() if k in known}
        own = stage.network is None and stage.method is None
        if stage.method is None:
            settings["recipe"] = replace(stage, method=plan.recipe.method)  # the default of the run is that of the stage
        settings["init_from"] = places.get(stage.start or "", stage.start) or (plan.init_from if own else None)
        settings["teacher"] = places.get(stage.teacher or "", stage.teacher)
        plans.append(replace(resolve(network, **settings), out=places[stage.name]))
    return plans


def stored_path(path: Path | None, plan: TrainingPlan) -> str | None:
    """The path of a model in a run's config; of an earlier stage it is relative, so that the run may be moved."""
    if path is None:
        return None
    if is_model_name(path):
        return absolute_model(path)
    if plan.out is not None and path.absolute().is_relative_to(parent := plan.out.absolute().parent) and is_stage(plan.out):
        return str(Path("..") / path.absolute().relative_to(parent))
    return str(path.absolute())


def find_stored(stored: str, folder: Path) -> Path:
    """The path that `stored_path` wrote into the config of the run in ``folder``."""
    return Path(stored) if is_model_name(stored) else folder / stored


def plan_again(config: TrainConfig, folder: Path, network: "str | keras.Model", dataset: "Dataset | None" = None) -> TrainingPlan:
    """The plan of a run that is resumed. What may be gone by now (the model that it was initialized from) is not looked for.

    Arguments:
        network: what the run's network is now, see `el_larq.training.network.network_again`.
        dataset: in place of the one that the config names.
    """
    settings = settings_of(config, folder)
    settings["deterministic"] = "on" if config.deterministic else "off"
    if config.distribution is not None:
        settings["strategy"] = config.distribution.get("strategy", "none")
        settings["scale_batch"] = config.distribution.get("scaled_by") != 1
    if dataset is not None:
        settings["dataset"] = dataset
    if config.teacher is not None:
        settings["teacher"] = find_stored(config.teacher, folder)
    return replace(resolve(network, **settings), out=folder)


def settings_of(config: TrainConfig, folder: Path) -> Settings:
    """The settings of a run that its config states, without validation and ``init_from``."""
    settings: Settings = {
        "dataset": config.dataset,
        "image_size": config.image_size,
        "recipe": recipe_of(config, folder),
        "width": config.width,
        "network_options": config.network_options,
        "seed": config.seed,
        "strict": config.strict,
    }
    if config.method != OWN:
        settings |= {
            "method": config.method,
            "link": config.link,
            "placement": config.placement,
            "link_options": config.link_options,
            "method_options": config.method_options,
        }
    return settings


def check_validated(recipe: Recipe, validation: float | None) -> None:
    """Raise UsageError if a recipe needs a validation split and there is to be none (``validation`` is 0)."""
    for stage in recipe.stages or (recipe,):
        needs = "keep best" if stage.keep == "best" else f"patience {stage.patience}" if stage.patience else None
        if needs and validation == 0:
            raise UsageError(
                f"{needs} needs a validation split, because the test split is never used for selection; omit --validation 0"
            )


def check_no_method(plan: TrainingPlan) -> None:
    """Raise UsageError if a method's settings were given for a network that takes no method."""
    if plan.given & set(_OF_METHOD) and plan.is_named:
        raise UsageError(f"{plan.network_name} is a complete definition; omit --method, --link and their options")
    if plan.given & set(_OF_METHOD):
        raise UsageError(f"{plan.network_name} takes no 'method'; omit --method, --link and their options, or add the argument")
