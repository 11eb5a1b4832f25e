"""The Keras model that a plan trains: of the registry, of the user's own file, or given as an object."""

import tempfile
from pathlib import Path

import tf_keras as keras

from el_larq.data.dataset import Dataset
from el_larq.detection.detection_set import DetectionSet
from el_larq.errors import ElLarqError, UsageError, summarize
from el_larq.files import read_bytes
from el_larq.keras_internals import is_compiled
from el_larq.loading.load import load_model
from el_larq.loading.user_network import UserNetwork, is_user_network, load_user_network
from el_larq.models.build import build_network
from el_larq.models.detector_anchors import model_anchors
from el_larq.models.network_registry import get_any_network
from el_larq.training.config import OWN_MODEL, OWN_SOURCE, TrainConfig
from el_larq.training.training_plan import TrainingPlan, check_no_method
from el_larq.zoo.named_models import build_named


def load_function(plan: TrainingPlan) -> UserNetwork | None:
    """The function of a user network; None for other networks.

    Raises:
        UsageError: a method was given for a network that takes none.
    """
    own = load_user_network(plan.network) if isinstance(plan.network, str) and is_user_network(plan.network) else None
    if not takes_method(plan, own):
        check_no_method(plan)
        if plan.recipe.binarize != "both":
            remedy = "choose another recipe" if plan.is_named else "add the argument"
            raise UsageError(
                f"{plan.network_name} takes no 'method', so recipe {plan.recipe.name} cannot leave out its quantizers; {remedy}"
            )
    return own


def takes_method(plan: TrainingPlan, own: UserNetwork | None) -> bool:
    """Whether the plan's method determines the network; a user network may choose for itself, and Larq Zoo's have none."""
    return not plan.is_own or (own is not None and own.accepts("method"))


def build_model(plan: TrainingPlan, own: UserNetwork | None, data: Dataset) -> keras.Model:
    """The model with its random initialization, which is a function of the arguments."""
    keras.utils.set_random_seed(plan.seed)
    # Layers that draw random numbers then have a state that can be saved.
    keras.backend.experimental.enable_tf_random_generator()
    shape, classes = data.preprocessing.input_shape, data.num_classes
    if isinstance(plan.network, keras.Model):
        model = _checked(plan, plan.network, shape, classes)
        return model if is_compiled(model) else _built_again(model)
    if own is None:
        assert isinstance(plan.network, str)
        if plan.is_named:
            return build_named(plan.network, shape, classes)
        return build_network(get_any_network(plan.network), plan.method, shape, classes, plan.width, plan.network_options)
    options = dict(plan.network_options)
    if own.accepts("method"):
        options["method"] = plan.method
    if plan.width != 1 or (own.takes and "width" in own.takes):
        options["width"] = plan.width
    return own.build(shape, classes, **options)


def for_network(data: Dataset, model: keras.Model) -> Dataset:
    """The data set with labels for the network: of a detector, what it shall predict for its anchors."""
    return data.with_anchors(model_anchors(model)) if isinstance(data, DetectionSet) else data


def _checked(plan: TrainingPlan, model: keras.Model, shape: tuple[int, ...], classes: int) -> keras.Model:
    inputs, outputs = [[tuple(tensor.shape[1:]) for tensor in side or []] for side in (model.inputs, model.outputs)]
    if inputs != [shape] or outputs != [(classes,)]:
        raise UsageError(f"the model must map {shape} to {classes} logits for this data set; it maps {inputs} to {outputs}")
    if plan.network_options or plan.width != 1:
        raise UsageError("width and network options apply to networks by name; a Keras model has its own")
    return model


def _built_again(model: keras.Model) -> keras.Model:
    """The model with new layers and the same weights: layers that draw random numbers then follow the seed, so that runs repeat."""
    try:
        again = keras.models.clone_model(model)
    except (ValueError, NotImplementedError, TypeError) as error:
        raise UsageError(
            f"the model {model.name} cannot be built again from its layers ({summarize(error)}); compile it"
        ) from error
    again.set_weights(model.get_weights())
    return again


def sources(plan: TrainingPlan, own: UserNetwork | None) -> dict[str, bytes]:
    """The files from which a resume builds the network again: they determine what is computed, so they belong to the run."""
    if own is not None:
        return {OWN_SOURCE: read_bytes(own.path)}
    if not isinstance(plan.network, keras.Model):
        return {}
    with tempfile.TemporaryDirectory(prefix="el-larq-") as folder:
        path = Path(folder) / OWN_MODEL
        keras.Model(plan.network.inputs, plan.network.outputs, name=plan.network.name).save(path)
        return {OWN_MODEL: path.read_bytes()}


def network_again(folder: Path, config: TrainConfig, model: keras.Model | None, trust: bool) -> str | keras.Model:
    """The network of a run, for its resume: its name, the user network's original file or copy, or the model.

    Arguments:
        model: the model that the run was started with, if it was compiled: a run does not store an optimizer as an object.
    """
    if config.network == OWN_MODEL:
        if model is None and config.compiled is not None:
            raise ElLarqError(
                f"{folder} trains a compiled Keras model, whose optimizer it does not store; build and compile the model again "
                "and pass it: el_larq.resume(folder, model=model)"
            )
        return model if model is not None else load_model(folder / OWN_MODEL, trust)
    if not is_user_network(config.network):
        return config.network
    file, _, function = config.network.rpartition(":")
    copy = folder / OWN_SOURCE
    unchanged = Path(file).is_file() and copy.is_file() and Path(file).read_bytes() == copy.read_bytes()
    return config.network if unchanged or not copy.is_file() else f"{copy}:{function}"


def check_compiled(folder: Path, config: TrainConfig, model: keras.Model) -> None:
    if not is_compiled(model):
        raise ElLarqError(f"{folder} cannot be resumed: {config.network} is no longer compiled; train again")
