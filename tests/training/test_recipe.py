from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from el_larq.errors import ElLarqError, UsageError
from el_larq.training.recipe import RECIPES, Recipe, get_recipe
from el_larq.training.recipe_file import find_recipe, to_yaml

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
        {"momentum": 1.0},
        {"drop": 0.0},
        {"drop_at": (0.5, 0.5)},
        {"drop_at": (0.75, 0.5)},
        {"drop_at": (0.0,)},
        {"clip_norm": 0.0},
        {"clip_norm": float("nan")},
        {"optimizer": "lamb"},
        {"schedule": "linear"},
    ],
)
def test_values_out_of_range_are_refused_by_name(changes: dict[str, Any]):
    with pytest.raises(UsageError, match=next(iter(changes)).replace("_", " ")):
        STANDARD.with_changes(**changes)


def test_a_recipe_of_ones_own_is_checked_as_well():
    recipe = Recipe("mine", "", epochs=0, batch_size=4, learning_rate=0.1)
    with pytest.raises(UsageError, match="epochs"):
        recipe.with_changes()


def test_adam_with_weight_decay_is_refused_with_the_remedy():
    with pytest.raises(UsageError, match="adam has no weight decay; choose adamw, or set weight_decay to 0"):
        STANDARD.with_changes(optimizer="adam")


# --- Files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
def test_a_printed_recipe_is_read_as_the_same(name: str, tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text(to_yaml(RECIPES[name]))
    assert find_recipe(path) == find_recipe(str(path)) == RECIPES[name]


def test_a_file_needs_three_fields_and_takes_numbers_as_people_write_them(tmp_path: Path):
    path = tmp_path / "short.yml"
    path.write_text("epochs: 2\nbatch_size: 32\nlearning_rate: 1e-3\noptimizer: sgd\nweight_decay: 0\ndrop_at: [3e-1, 0.5]\n")
    expected = Recipe("short", "", 2, 32, 1e-3, optimizer="sgd", weight_decay=0.0, drop_at=(0.3, 0.5))
    assert find_recipe(path) == expected


NEEDED = "epochs: 2\nbatch_size: 32\nlearning_rate: 0.01\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (NEEDED + "learning_rte: 1\n", "unknown field in {path}: 'learning_rte'; did you mean learning_rate?"),
        (NEEDED + "epochs: 3\n", "{path} is not valid YAML: line 4: epochs appears twice"),
        ("epochs: 2\nbatch_size: 32\n", "{path} has no learning_rate; el-larq list recipes --yaml standard prints"),
        (NEEDED + "optimizer: adm\n", "{path}: unknown optimizer 'adm'; did you mean adam or adamw?"),
        (NEEDED + "warmup: 2\n", "{path}: warmup must be between 0 and 1; got 2"),
        ("epochs: many\nbatch_size: 32\nlearning_rate: 1\n", "{path}: epochs must be a whole number; got 'many'"),
        ("epochs: 2.5\nbatch_size: 32\nlearning_rate: 1\n", "{path}: epochs must be a whole number; got 2.5"),
        ("epochs: true\nbatch_size: 32\nlearning_rate: 1\n", "{path}: epochs must be a whole number; got True"),
        (NEEDED + "momentum: high\n", "{path}: momentum must be a number; got 'high'"),
        (NEEDED + "momentum: true\n", "{path}: momentum must be a number; got True"),
        (NEEDED + "clip_norm: [1]\n", "{path}: clip_norm must be a number or null; got a list"),
        (NEEDED + "drop_at: 0.5\n", "{path}: drop_at must be a list of numbers; got 0.5"),
        (NEEDED + "schedule: null\n", "{path}: schedule must be a text; got None"),
        ("- epochs\n", "{path} is not a recipe; el-larq list recipes --yaml standard prints one to start from"),
        ("", "{path} is not a recipe"),
        ("epochs: [1\n", "{path} is not valid YAML: line 2: "),
        ("a: &a [x, x]\nb: *c\n", "{path} is not valid YAML: line 2: "),
        ("? [1, 2]\n: 3\n", "{path} is not valid YAML: "),
        ("e: !!python/object/apply:os.system [ls]\n", "{path} is not valid YAML: line 1: could not determine a constructor"),
        ("\x00", "{path} is not valid YAML: it contains bytes"),
    ],
    ids=repr,
)
def test_a_file_that_is_not_a_recipe_is_named_in_one_line(
    content: str, reason: str, tmp_path: Path, one_line: Callable[[BaseException], str]
):
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(UsageError) as caught:
        find_recipe(path)
    assert one_line(caught.value).startswith(reason.format(path=path))


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(ElLarqError, match=r"cannot read no_such.yaml: No such file"):
        find_recipe("no_such.yaml")
