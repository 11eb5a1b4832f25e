"""Recipes: how a network is trained, as data. Does not import TensorFlow."""

from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

from el_larq.errors import UsageError, unknown_name

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("cosine", "step", "constant")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: an optimizer and a learning rate that warms up linearly and then follows a schedule.

    Arguments:
        learning_rate: the peak, reached after ``warmup`` (a fraction of all steps, 0 to 1).
        weight_decay: decoupled, applied per step and scaled by the learning rate; on real-valued kernels only. Of a binary
            kernel only the signs count, and gamma and batch normalization are scales: decay would change what they mean.
        label_smoothing: the fraction of each label's weight that is distributed evenly over all classes, 0 to 1.
        optimizer: "adamw"; "adam", which has no weight decay; or "sgd", with Nesterov momentum.
        momentum: of "sgd", 0 to below 1.
        schedule: after the warm-up, "cosine" falls to zero, "step" multiplies the rate by ``drop`` at each of the fractions
            ``drop_at`` of all steps, and "constant" keeps it.
        clip_norm: gradients whose global L2 norm is larger are scaled down to it; None for no clipping.
    """

    name: str
    summary: str
    epochs: int
    batch_size: int
    learning_rate: float
    warmup: float = 0.05
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    optimizer: str = "adamw"
    momentum: float = 0.9
    schedule: str = "cosine"
    drop_at: tuple[float, ...] = (0.5, 0.75)
    drop: float = 0.1
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "drop_at", tuple(self.drop_at))  # JSON has lists

    def with_changes(self, **changes: Any) -> "Recipe":
        """This recipe with the given fields replaced; None keeps a field. Raises UsageError for values out of range."""
        recipe = replace(self, **{name: value for name, value in changes.items() if value is not None})
        if recipe.epochs < 1:
            raise UsageError(f"epochs must be at least 1; got {recipe.epochs}")
        if recipe.batch_size < 1:
            raise UsageError(f"batch size must be at least 1; got {recipe.batch_size}")
        if not 0 < recipe.learning_rate < float("inf"):
            raise UsageError(f"learning rate must be positive; got {recipe.learning_rate:g}")
        for field in ("warmup", "label_smoothing"):
            if not 0 <= getattr(recipe, field) <= 1:
                raise UsageError(f"{field.replace('_', ' ')} must be between 0 and 1; got {getattr(recipe, field):g}")
        if not 0 <= recipe.weight_decay < float("inf"):
            raise UsageError(f"weight decay must not be negative; got {recipe.weight_decay:g}")
        recipe._check_optimizer()
        return recipe

    def _check_optimizer(self) -> None:
        for field, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if getattr(self, field) not in known:
                raise unknown_name(field, str(getattr(self, field)), known)
        if self.optimizer == "adam" and self.weight_decay:
            raise UsageError("adam has no weight decay; choose adamw, or set weight_decay to 0")
        if not 0 <= self.momentum < 1:
            raise UsageError(f"momentum must be from 0 to below 1; got {self.momentum:g}")
        if not 0 < self.drop < 1:
            raise UsageError(f"drop must be between 0 and 1; got {self.drop:g}")
        if not all(0 < at < 1 for at in self.drop_at) or list(self.drop_at) != sorted(set(self.drop_at)):
            raise UsageError(
                f"drop at must be increasing fractions of all steps; got {', '.join(f'{at:g}' for at in self.drop_at)}"
            )
        if self.clip_norm is not None and not 0 < self.clip_norm < float("inf"):
            raise UsageError(f"clip norm must be positive; got {self.clip_norm:g}")


DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Recipe) if field.default is not MISSING}
"""The fields that a recipe may leave out, with their values."""


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "standard",
            "AdamW, warm-up, cosine; for small images on a PC",
            epochs=30,
            batch_size=64,
            learning_rate=2e-2,
        ),
        Recipe(
            "demo",
            "the same, short enough for a first look",
            epochs=3,
            batch_size=64,
            learning_rate=2e-2,
        ),
        Recipe(
            "finetune",
            "for --init-from: a tenth of standard's rate, a third of its epochs, clipped gradients",
            epochs=10,
            batch_size=64,
            learning_rate=2e-3,
            warmup=0.1,
            clip_norm=1.0,
        ),
        Recipe(
            "bbg-cifar",
            "SGD, cosine, 400 epochs, as IR-Net's code trains on CIFAR-10; BBG's own recipe is not published",
            epochs=400,
            batch_size=128,
            learning_rate=0.1,
            warmup=0.0,
            label_smoothing=0.0,
            optimizer="sgd",
        ),
    )
}


def get_recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]
