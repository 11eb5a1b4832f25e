import json
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest

from el_larq.errors import ElLarqError, UsageError
from el_larq.training.recipe import DEFAULTS, Recipe
from el_larq.training.recipe_file import FIELD_HELP, find_recipe, to_yaml
from el_larq.training.recipes import RECIPES, get_recipe
from el_larq.training.training_plan import make_plan

STANDARD = RECIPES["standard"]


def _read(content: str, folder: Path) -> Recipe:
    """The recipe of a file mine.yaml with this content."""
    path = folder / "mine.yaml"
    path.write_text(content)
    return find_recipe(path)


def _check_refused(content: str, reason: str, folder: Path, one_line: Callable[[BaseException], str]) -> None:
    with pytest.raises(UsageError) as caught:
        _read(content, folder)
    assert one_line(caught.value).startswith(reason.format(path=folder / "mine.yaml"))


@pytest.mark.parametrize("name", RECIPES)
def test_registered_recipes_are_valid_and_say_what_they_are(name: str):
    recipe = RECIPES[name]
    assert recipe.name == name
    assert recipe.summary
    assert recipe.with_changes() == recipe
    assert get_recipe(name) is recipe
    make_plan("resnet18", recipe=name, dataset="digits")  # names of starts and teachers


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
        {"schedule": "triangle"},
    ],
)
def test_values_out_of_range_are_refused_by_name(changes: dict[str, Any]):
    with pytest.raises(UsageError, match=next(iter(changes)).replace("_", " ")):
        STANDARD.with_changes(**changes)


def test_a_users_recipe_is_checked_as_well():
    recipe = Recipe("mine", "", epochs=0, batch_size=4, learning_rate=0.1)
    with pytest.raises(UsageError, match="epochs"):
        recipe.with_changes()


def test_adam_with_weight_decay_is_refused_with_the_remedy():
    with pytest.raises(UsageError, match="adam has no weight decay; choose adamw, or set weight_decay to 0"):
        STANDARD.with_changes(optimizer="adam")


# --- Files ----------------------------------------------------------------------------------------------------------------


def test_every_field_has_help_and_the_page_of_recipes_is_up_to_date():
    page = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text("utf-8")
    names = {field.name for field in fields(Recipe)}
    assert set(FIELD_HELP) == names, "each field of Recipe has a text, which may be empty, in FIELD_HELP of recipe_file.py"
    assert names - set(DEFAULTS) == {"name", "summary", "epochs", "batch_size", "learning_rate"}, "a new field needs a default"
    printed = to_yaml(STANDARD)
    assert f"```\n{printed}```" in page, (
        f"docs/recipes.md must contain what `el-larq list recipes --yaml standard` prints:\n{printed}"
    )
    missing = [name for name in RECIPES if f"\n| `{name}` | " not in page]
    assert missing == [], "these recipes need a row in the table of docs/recipes.md"


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
    _check_refused(content, reason, tmp_path, one_line)


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(ElLarqError, match=r"cannot read no_such.yaml: No such file"):
        find_recipe("no_such.yaml")


# --- Stages ---------------------------------------------------------------------------------------------------------------

STAGES = """\
name: mine
batch_size: 32
learning_rate: 0.01
optimizer: adam
weight_decay: 0
stages:
  - {name: first, epochs: 3, binarize: activations}
  - {name: second, epochs: 1, start: first, teacher: first, distributional: 1, cross_entropy: 0, learning_rate: 0.002}
"""


def test_fields_next_to_the_stages_are_defaults_of_the_stages(tmp_path: Path):
    recipe = _read(STAGES, tmp_path)
    first, second = recipe.stages
    assert (first.name, first.optimizer, first.learning_rate, first.binarize) == ("first", "adam", 0.01, "activations")
    assert (second.start, second.teacher, second.learning_rate, second.binarize) == ("first", "first", 0.002, "both")
    assert (recipe.epochs, recipe.learning_rate, recipe.batch_size) == (4, 0.01, 32)


def test_a_printed_recipe_of_stages_is_read_as_the_same(tmp_path: Path):
    recipe = _read(STAGES, tmp_path)
    path = tmp_path / "again.yaml"
    path.write_text(to_yaml(recipe))
    assert find_recipe(path) == recipe
    assert Recipe(**json.loads(json.dumps(asdict(recipe)))) == recipe  # as the config of a run stores it


@pytest.mark.parametrize(("total", "shares"), [(4, (3, 1)), (8, (6, 2)), (2, (1, 1)), (5, (4, 1)), (101, (76, 25))])
def test_epochs_are_shared_out_in_proportion_and_none_is_lost(total: int, shares: tuple[int, int], tmp_path: Path):
    assert tuple(stage.epochs for stage in _read(STAGES, tmp_path).with_changes(epochs=total).stages) == shares


def test_other_changes_apply_to_all_stages_and_learning_rates_stay_in_proportion(tmp_path: Path):
    recipe = _read(STAGES, tmp_path).with_changes(learning_rate=0.1, batch_size=8)
    assert [stage.learning_rate for stage in recipe.stages] == pytest.approx([0.1, 0.02])
    assert [stage.batch_size for stage in recipe.stages] == [8, 8]
    with pytest.raises(UsageError, match="epochs must be at least 2 for the 2 stages of mine; got 1"):
        recipe.with_changes(epochs=1)


HEAD = "batch_size: 32\nlearning_rate: 0.01\nepochs: 1\nstages:\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (HEAD + " - {name: a, start: b}\n - {name: b, start: a}\n", "{path}: the stages form a cycle: a -> b -> a; let one"),
        (HEAD + " - {name: a, start: a}\n", "{path}: the stages form a cycle: a -> a"),
        (HEAD + " - {name: a, start: b}\n - {name: b}\n", "{path}: stage a starts from b, which comes later"),
        (HEAD + " - {name: a}\n - {name: a}\n", "{path}: two stages have the name a"),
        (HEAD + " - {name: ../a}\n", "{path}: a stage's name is the name of a folder"),
        (HEAD + " - {name: a, stages: [{name: b}]}\n", "{path}: stages of stage 1 must be omitted"),
        (HEAD + " - {name: a, binarise: both}\n", "unknown field of stage 1 in {path}: 'binarise'; did you mean binarize or name?"),
        (
            HEAD + " - {name: a, binarize: kernels}\n",
            "{path}: stage a: unknown binarize 'kernels'; known: activations, both, nothing",
        ),
        (HEAD + " - {name: a, epochs: many}\n", "{path}: epochs of stage 1 must be a whole number; got 'many'"),
        (HEAD + " - {name: a, logits: 1}\n", "{path}: stage a: the loss term logits needs a teacher"),
        (HEAD + " - {name: a, teacher: m.h5}\n", "{path}: stage a: the teacher m.h5 is not used"),
        (HEAD + " - {name: a, cross_entropy: 0}\n", "{path}: stage a: one of the loss weights must be above 0"),
        (HEAD + " - {name: a, attention_on: stage1}\n", "{path}: attention_on of stage 1 must be a list of texts; got 'stage1'"),
        (HEAD + " - {name: a, teacher: 3}\n", "{path}: teacher of stage 1 must be a text or null; got 3"),
        (HEAD + " - a\n", "{path}: stage 1 must have the fields of a recipe; got 'a'"),
        (HEAD + " - {epochs: 1}\n", "{path}: stage 1 has no name"),
        ("stages: two\n", "{path}: stages must be a list of stages, each with the fields of a recipe; got 'two'"),
        (NEEDED + "stages: null\n", "{path}: stages must be a list of stages"),
        ("stages:\n - {name: a}\n", "{path} has no epochs of stage 1; el-larq list recipes --yaml standard prints"),
        (NEEDED + "network: resnet18\n", "{path}: network belongs to a stage"),
    ],
    ids=repr,
)
def test_stages_that_are_wrong_are_named_in_one_line(
    content: str, reason: str, tmp_path: Path, one_line: Callable[[BaseException], str]
):
    _check_refused(content, reason, tmp_path, one_line)
