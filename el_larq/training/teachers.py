"""What the names in a recipe's stages refer to: earlier stages, networks to train first, models. Does not import TensorFlow."""

from dataclasses import replace
from pathlib import Path

from el_larq.errors import UsageError, suggest_name
from el_larq.loading.user_network import is_user_network
from el_larq.models.network_registry import NETWORKS
from el_larq.training.recipe import DISTILLING, Recipe
from el_larq.training.stage_list import REFERENCES
from el_larq.zoo.named_models import absolute_model, check_model, is_model_name

STAGE = "teacher"
"""The name of the stage that a setting ``teacher`` replaces."""

FLOAT = "float"
"""The method of networks that are trained as teachers."""


def with_teachers(recipe: Recipe, teacher: str | Path | None = None) -> Recipe:
    """The recipe with a stage for each network that is a teacher, and with absolute paths of models.

    Arguments:
        teacher: in place of the stage "teacher", or of the teacher of a recipe of one stage: a network's name or a model.

    Raises:
        UsageError: the recipe has no teacher to replace, or a name is neither a stage's nor a network's and there is no such file.
    """
    if teacher is not None:
        recipe = _replaced(recipe, str(teacher))
    stages: list[Recipe] = []
    for stage in recipe.stages or (recipe,):
        known = [earlier.name for earlier in stages]
        network = stage.teacher
        if network is not None and network not in known and network in NETWORKS:
            stages.append(_training(stage, network))
        stages.append(_with_paths(stage, [earlier.name for earlier in stages]))
    if recipe.stages:
        return recipe.with_stages(tuple(stages))
    if len(stages) == 1:
        return stages[0]
    return Recipe.of_stages(recipe.name, recipe.summary, (stages[0], replace(stages[1], method=None)), recipe.method)


def _replaced(recipe: Recipe, teacher: str) -> Recipe:
    if not recipe.stages:
        if recipe.teacher is None:
            raise UsageError(f"recipe {recipe.name} has no teacher that another one could replace; choose a recipe with a teacher")
        return replace(recipe, teacher=teacher)
    if STAGE not in (stage.name for stage in recipe.stages):
        raise UsageError(f"recipe {recipe.name} has no stage named {STAGE} that another teacher could replace")
    if teacher in NETWORKS:
        return recipe.with_stages(tuple(replace(s, network=teacher) if s.name == STAGE else s for s in recipe.stages))
    stages = []
    for stage in recipe.stages:
        if stage.name != STAGE:
            stages.append(replace(stage, **{field: teacher for field in REFERENCES if getattr(stage, field) == STAGE}))
    return recipe.with_stages(tuple(stages))


def _training(stage: Recipe, network: str) -> Recipe:
    """The stage that trains a network as a teacher, otherwise like the stage that needs it."""
    plain = dict.fromkeys(DISTILLING, 0.0)
    return replace(
        stage,
        name=network,
        summary="",
        binarize="nothing",
        cross_entropy=1.0,
        network=network,
        method=FLOAT,
        start=None,
        teacher=None,
        freeze="none",
        backbone_rate=1.0,
        batch_norm="train",
        **plain,
    )


def _with_paths(stage: Recipe, known: list[str]) -> Recipe:
    """The stage with absolute paths in place of relative ones. ``known`` are the names of earlier stages."""
    if stage.network is not None and stage.network not in NETWORKS and not is_user_network(stage.network):
        hint = suggest_name(stage.network, NETWORKS, "el-larq list networks names them")
        raise UsageError(f"stage {stage.name} trains an unknown network {stage.network!r}; {hint}")
    changed = {}
    for field, verb in REFERENCES.items():
        reference = getattr(stage, field)
        if reference is None or reference in known:
            continue
        if is_model_name(reference):
            check_model(reference)
            changed[field] = absolute_model(reference)
            continue
        path = Path(reference)
        if not path.exists():
            names = [*known, *(NETWORKS if field == "teacher" else ())]
            hint = suggest_name(reference, names, f"earlier stages: {', '.join(known) or 'none'}")
            kinds = "an earlier stage, a network or a model" if field == "teacher" else "an earlier stage or a model"
            raise UsageError(f"stage {stage.name} {verb} {reference}, which is not {kinds}; {hint}")
        changed[field] = str(path.absolute())
    return replace(stage, **changed)
