"""What benchmarks/ablation.py computes without training."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks/ablation.py"


@pytest.fixture(scope="module")
def ablation() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ablation", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ablation"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def row(ablation: ModuleType, factor: str, value: str, seed: int, accuracy: float) -> dict[str, Any]:
    values = (factor, value, "resnet26", "", "photos", "el", "{}", seed, 8, 0.125, accuracy, 10, "abc", "2 x cpu, fast")
    return dict(zip(ablation.COLUMNS, values, strict=True))


def test_the_interval_is_that_of_a_paired_t_test(ablation: ModuleType) -> None:
    from scipy.stats import ttest_rel

    first, second = np.random.default_rng(0).normal(0.8, 0.02, (2, 5))
    mean, half = ablation.paired(list(first - second))
    interval = ttest_rel(first, second).confidence_interval(0.95)
    assert (mean - half, mean + half) == pytest.approx((interval.low, interval.high))
    assert ablation.paired([0.25]) == (0.25, None)


def test_each_run_has_a_key_and_a_folder_of_its_own(ablation: ModuleType) -> None:
    runs = ablation.plan()
    assert len({run.key for run in runs}) == len({run.folder for run in runs}) == len(runs)
    assert {run.factor for run in runs[:9]} == {"link"}


def test_each_run_can_be_planned_and_has_its_epochs(ablation: ModuleType) -> None:
    from el_larq.training.training_plan import make_plan

    for run in ablation.plan():
        plan = make_plan(run.setting.network, **ablation.settings(run))
        assert plan.method.binary
        assert plan.recipe.epochs == run.setting.epochs


def test_results_are_added_line_by_line_and_read_again(ablation: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "results" / "ablation.csv"
    rows = [row(ablation, "link", value, 0, 0.5) for value in ("elastic", "none")]
    for one in rows:
        ablation.append(path, ablation.COLUMNS, one)
    assert ablation.read(path) == [{name: str(value) for name, value in one.items()} for one in rows]
    assert len(path.read_text().splitlines()) == 3
    run = next(run for run in ablation.plan() if run.setting is ablation.PHOTOS and run.value == "elastic")
    assert run.key == ablation.key_of(ablation.read(path)[0])


def test_values_are_compared_with_their_own_reference_over_common_seeds(ablation: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "ablation.csv"
    for factor, value, accuracies in (
        ("link", "elastic", (0.70, 0.72, 0.74)),
        ("link", "none", (0.60, 0.63, 0.66)),
        ("gamma", "fixed", (0.71, 0.73)),
        ("link at binary downsample", "elastic", (0.50, 0.52)),
        ("link at binary downsample", "none", (0.50, 0.50)),
        ("bbg", "neither", (0.80, 0.81)),
        ("bbg", "gates", (0.82, 0.83)),
    ):
        for seed, accuracy in enumerate(accuracies):
            ablation.append(path, ablation.COLUMNS, row(ablation, factor, value, seed, accuracy))
    text = ablation.table(ablation.read(path))
    assert "### resnet26, width 0.125, photos, 8 epochs" in text
    # Differences -10, -9 and -8 points: mean -9, std 1, and t(0.975, 2) = 4.303.
    assert "| link | none | 3 | 63.00 % | -9.00 [-11.48, -6.52] |" in text
    assert "| link | elastic | 3 | 72.00 % | reference |" in text
    assert "| gamma | fixed | 2 | 72.00 % | +1.00 [+1.00, +1.00] |" in text
    assert "| bbg | neither | 2 | 80.50 % | reference |" in text
    assert "| bbg | gates | 2 | 82.50 % | +2.00 [+2.00, +2.00] |" in text
    assert "| link at binary downsample | none | 2 | 50.00 % | -1.00 [-13.71, +11.71] |" in text


def test_the_page_and_its_picture_are_those_of_the_results(ablation: ModuleType, tmp_path: Path) -> None:
    docs = SCRIPT.parents[1] / "docs"
    rows = ablation.read(docs / "results" / "ablation.csv")
    assert ablation.table(rows) in (docs / "ablation.md").read_text("utf-8"), "replace the tables: benchmarks/ablation.py --table"
    ablation.plot(rows, tmp_path / "ablation.svg")
    drawn, stored = ((folder / "ablation.svg").read_text("utf-8") for folder in (tmp_path, docs))
    texts = [set(re.findall(r">([^<>]+)</text>", content)) for content in (drawn, stored)]
    assert texts[0] == texts[1], "draw the picture: benchmarks/ablation.py --plot docs/ablation.svg"
