"""Recipes: how a network is trained, as data. Does not import TensorFlow."""

from dataclasses import dataclass, replace
from typing import Any

from el_larq.errors import UsageError, unknown_name


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: with Adam, linear warm-up and cosine decay to zero.

    Arguments:
        learning_rate: the peak, reached after ``warmup`` (a fraction of all steps, 0 to 1).
        weight_decay: decoupled, applied per step and scaled by the learning rate; on real-valued kernels only. Of a binary
            kernel only the signs count, and gamma and batch normalization are scales: decay would change what they mean.
        label_smoothing: the fraction of each label's weight that is distributed evenly over all classes, 0 to 1.
    """

    name: str
    summary: str
    epochs: int
    batch_size: int
    learning_rate: float
    warmup: float = 0.05
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1

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
        return recipe


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "standard",
            "Adam, warm-up, cosine; for small images on a PC",
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
    )
}


def get_recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]
