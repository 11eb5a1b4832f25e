"""Which workers there are, and what can be distributed over them."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from el_larq.errors import UsageError
from el_larq.training.cluster import Cluster, check_divisible, find_cluster, scaled, unscaled
from el_larq.training.config import TrainConfig, read_config
from el_larq.training.recipe import Recipe
from el_larq.training.recipes import RECIPES
from el_larq.training.repeat import remarks, repeated_settings
from el_larq.training.training_plan import make_plan

RECIPE = Recipe("tiny", "", epochs=1, batch_size=32, learning_rate=0.01)


def tf_config(workers: object, index: object = 0, kind: str = "worker", **roles: object) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": {"worker": workers, **roles}, "task": {"type": kind, "index": index}})}


def test_workers_are_given_by_options_or_by_tf_config() -> None:
    expected = Cluster(("a:1", "b:2"), 1)
    assert find_cluster("a:1, b:2", 1, {}) == expected
    assert find_cluster(None, None, tf_config(["a:1", "b:2"], 1)) == expected
    assert find_cluster("[::1]:1,[2001:db8::7]:2", 1, {}) == Cluster(("[::1]:1", "[2001:db8::7]:2"), 1)
    assert find_cluster(None, None, {"TF_CONFIG": expected.tf_config}) == expected
    # TensorFlow's older form, in which the first worker has a role of its own
    assert find_cluster(None, None, tf_config(["b:2"], 0, chief=["a:1"])) == expected
    assert find_cluster(None, None, tf_config(["b:2"], 0, "chief", chief=["a:1"])) == replace(expected, index=0)


@pytest.mark.parametrize(
    ("workers", "index", "environment", "message"),
    [
        ("a:1,b:2", None, {}, "--workers needs --worker-index"),
        (None, None, {}, "needs --workers host:port,host:port,... and --worker-index, or the variable TF_CONFIG"),
        (None, 0, tf_config(["a:1", "b:2"]), "TF_CONFIG contains its own index"),
        ("a:1,a:1", 0, {}, "--workers names a:1 twice"),
        (None, None, tf_config(["a:1", "b:2", "a:1"]), "TF_CONFIG names a:1 twice"),
        ("a:1,b:2", 2, {}, "--worker-index 2 is out of range: --workers names workers 0 to 1"),
        ("a:1,b:2", -1, {}, "out of range"),
        (None, None, tf_config(["a:1", "b:2"], 5), "its index 5 is out of range"),
        ("a:1", 0, {}, "names 1 worker; multi-worker training needs at least two"),
        ("a:1,b", 0, {}, "'b' is not an address host:port"),
        ("a:1,b:70000", 0, {}, "with a port from 1 to 65535"),
        ("a:1,:2", 0, {}, "is not an address"),
        ("[::1]:1,::2:2", 0, {}, "'::2:2' is not an address host:port; write an IPv6 address in brackets, as in [::1]:5000"),
        ("[a:b]:1,c:2", 0, {}, "write an IPv6 address in brackets"),
        (None, None, {"TF_CONFIG": "{"}, "TF_CONFIG is invalid"),
        (None, None, {"TF_CONFIG": "[]"}, "TF_CONFIG is invalid"),
        (None, None, tf_config(["a:1", "b:2"], "x"), "TF_CONFIG is invalid"),
        (None, None, tf_config(["a:1", "b:2"], ps=["c:3"]), "has the role 'ps'"),
        (None, None, tf_config(["a:1", "b:2"], 0, "evaluator"), "has the role 'evaluator'"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(
    workers: str | None, index: int | None, environment: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError) as error:
        find_cluster(workers, index, environment)
    assert message in str(error.value)


def test_batches_must_be_divisible() -> None:
    check_divisible(RECIPE, 4, "replicas")
    with pytest.raises(UsageError, match=r"batch size 32 is not divisible by the 3 replicas; .* --batch-size 30"):
        check_divisible(RECIPE, 3, "replicas")
    staged = RECIPES["two-stage"].with_changes(batch_size=10)
    with pytest.raises(UsageError, match=r"batch size 10 is not divisible by the 4 workers; .* --batch-size 8"):
        check_divisible(staged, 4, "workers")


def test_batch_and_learning_rate_are_scaled_in_all_stages() -> None:
    assert scaled(RECIPE, 4) == replace(RECIPE, batch_size=128, learning_rate=0.04)
    before, after = RECIPES["two-stage"], scaled(RECIPES["two-stage"], 2)
    for stage, larger in zip(before.stages, after.stages, strict=True):
        assert larger == replace(stage, batch_size=2 * stage.batch_size, learning_rate=2 * stage.learning_rate)
    assert after.batch_size == 2 * before.batch_size
    assert unscaled(after, 2) == before


def test_a_repeated_run_is_not_scaled_twice(data_folder: Path, tmp_path: Path) -> None:
    config = read_config(data_folder / "run_schema2")
    facts = {"strategy": "mirrored", "workers": 1, "replicas": 3, "scaled_by": 3}
    recipe = asdict(scaled(Recipe(**config.recipe), 3))
    run = replace(config, recipe=recipe, distribution=facts)

    def repeated(of: TrainConfig, changes: Any) -> Any:
        return repeated_settings(of, tmp_path, changes).get("recipe")

    assert repeated(run, {}) == Recipe(**recipe)
    assert list(remarks(run, tmp_path)) == [
        f"note: {tmp_path} has 3 times the batch size and learning rate of its recipe, and so has the new run"
    ]
    assert repeated(run, {"scale_batch": True}) == Recipe(**config.recipe)
    assert list(remarks(run, tmp_path, scale_batch=True)) == []
    assert repeated(config, {"scale_batch": True}) == Recipe(**config.recipe)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategy": "miror"}, "unknown strategy.*mirrored"),
        ({"method": "cibcnn", "strategy": "mirrored"}, "the method searches between epochs.*omit --strategy"),
        ({"recipe": replace(RECIPE, optimizer="bop", weight_decay=0.0), "strategy": "multi-worker"}, "CaseOptimizer.*adam or sgd"),
        ({"recipe": replace(RECIPE, backbone_rate=0.1), "strategy": "tpu"}, "backbone_rate.*set it to 1"),
    ],
)
def test_what_only_one_replica_can_do_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_plan("resnet26", dataset="digits", **settings)  # pyright: ignore[reportArgumentType]
    make_plan("resnet26", dataset="digits", **{**settings, "strategy": "none"})  # pyright: ignore[reportArgumentType]
