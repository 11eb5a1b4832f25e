"""What of a training's settings does not apply to a detector. Does not import TensorFlow."""

from el_larq.errors import UsageError
from el_larq.training.recipe import DISTILLING, FLOAT32, Recipe

_NEUTRAL = {
    "label_smoothing": (0.0, "its loss has targets of its own"),
    "class_weights": ("none", "its loss balances objects and background"),
    "mixup": (0.0, "it mixes the classes of whole images"),
    "cutmix": (0.0, "it mixes the classes of whole images"),
    "random_augment": (0, "its operations move images without their boxes"),
    "cross_entropy": (1.0, "its loss is SSD's"),
    **dict.fromkeys(DISTILLING, (0.0, "teachers are classifiers")),
    "backbone_rate": (1.0, "its heads are not a single last layer"),
    "batch_norm": ("train", "its heads are not a single last layer"),
    "precision": (FLOAT32, "its loss is computed with 32 bits"),
    "qat_bits": (0, "training for int8 supports classifiers"),
    "prune": ("none", "pruning supports classifiers"),
}
"""The fields of a recipe that a detector needs to have one value, that value, and why."""


def check_detector(recipe: Recipe, strategy: str, teacher: object) -> None:
    """Check the settings of a detector's training.

    Raises:
        UsageError: a setting that does not apply.
    """
    if teacher is not None:
        raise UsageError("a detector learns from annotated boxes, not from a teacher; omit --teacher")
    if strategy != "none":
        raise UsageError(
            f"a detector is trained on one device: its loss is relative to the objects of a batch; omit --strategy {strategy}"
        )
    for stage in recipe.stages or (recipe,):
        where = f"stage {stage.name}" if recipe.stages else f"recipe {recipe.name}"
        for field, (value, reason) in _NEUTRAL.items():
            if getattr(stage, field) != value:
                raise UsageError(
                    f"{field} of {where} does not apply to a detector, since {reason}; choose recipe detector, or set it to {value}"
                )
        if stage.freeze == "backbone":
            raise UsageError("a detector's backbone is frozen by names of layers, such as --freeze 'stem_*,stage*'")
        if stage.network is not None or stage.teacher is not None:
            raise UsageError(f"{where} trains a teacher, which a detector does not have; choose recipe detector")
