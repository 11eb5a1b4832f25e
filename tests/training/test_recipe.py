from dataclasses import replace
from typing import Any

import pytest

from el_larq.errors import UsageError
from el_larq.training.recipe import RECIPES, Recipe, get_recipe

STANDARD = RECIPES["standard"]


@pytest.mark.parametrize("name", RECIPES)
def test_registered_recipes_are_valid_and_say_what_they_are(name: str):
    recipe = RECIPES[name]
    assert recipe.name == name
    assert recipe.summary
    assert recipe.with_changes() == recipe
    assert get_recipe(name) is recipe


def test_an_unknown_recipe_offers_the_nearest():
    with pytest.raises(UsageError, match="unknown recipe 'standart'; did you mean standard"):
        get_recipe("standart")


def test_changes_change_what_they_name_only():
    changed = STANDARD.with_changes(epochs=3, batch_size=None, learning_rate=0.1)
    assert changed == replace(STANDARD, epochs=3, learning_rate=0.1)


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 0},
        {"epochs": -1},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": -1e-3},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
        {"warmup": -0.1},
        {"warmup": 1.5},
        {"label_smoothing": -0.1},
        {"label_smoothing": 1.5},
        {"weight_decay": -1e-4},
        {"weight_decay": float("nan")},
    ],
)
def test_values_out_of_range_are_refused_by_name(changes: dict[str, Any]):
    with pytest.raises(UsageError, match=next(iter(changes)).replace("_", " ")):
        STANDARD.with_changes(**changes)


def test_a_recipe_of_ones_own_is_checked_as_well():
    recipe = Recipe("mine", "", epochs=0, batch_size=4, learning_rate=0.1)
    with pytest.raises(UsageError, match="epochs"):
        recipe.with_changes()
