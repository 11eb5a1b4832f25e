"""Bop as a recipe's optimizer: kernels of signs, exact resume, conversion."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import BATCH
from test_kernel_metrics import NETWORK
from watched import kill_at

from el_larq.converters.job import Options
from el_larq.converters.pipeline import convert
from el_larq.data.in_memory import InMemory
from el_larq.errors import UsageError
from el_larq.training.optimizer import optimizer_variables
from el_larq.training.recipe import Recipe
from el_larq.training.train import resume

RECIPE = Recipe("bop", "", 2, BATCH, learning_rate=1e-2, weight_decay=0.0, optimizer="bop", bop_threshold=1e-6, bop_gamma=1e-2)


def everything(trained: Any) -> list[bytes]:
    return [variable.numpy().tobytes() for variable in (*trained.model.variables, *optimizer_variables(trained.model))]


def test_kernels_are_signs_and_a_resume_is_exact_and_it_converts(start: Any, digits: InMemory, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NETWORK)
    settings: Any = {"network": f"{tmp_path / 'net.py'}:build", "recipe": RECIPE}
    whole = start(tmp_path / "whole", **settings)
    layer = next(layer for layer in whole.model.layers if layer.name.startswith("quant_conv2d"))
    assert set(np.unique(layer.kernel.numpy())) == {-1.0, 1.0}
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "run", checkpoint_steps=2, dataset=kill_at(digits, 5), **settings)
    again = resume(tmp_path / "run", dataset=digits)
    assert everything(again) == everything(whole)
    assert again.accuracy == whole.accuracy
    convert(whole.h5, tmp_path / "model.tflite", options=Options())
    assert (tmp_path / "model.tflite").stat().st_size > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight_decay": 0.1}, "bop has no weight decay"),
        ({"clip_norm": 1.0}, "set clip_norm to null"),
        ({"average": 0.9}, "nothing to average"),
        ({"bop_gamma": 0.0}, "bop gamma must be above 0"),
        ({"bop_threshold": -1.0}, "bop threshold must not be negative"),
    ],
)
def test_what_contradicts_it_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RECIPE.with_changes(**changes)


def test_a_network_without_binary_kernels_is_refused(start: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no binary kernels"):
        start(tmp_path / "run", network="resnet26", method="float", width=0.125, recipe=RECIPE)
