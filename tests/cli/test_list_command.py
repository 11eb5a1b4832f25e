"""What `el-larq list` shows of published figures, through the command's own entry."""

import json

import pytest
from in_process import call

from el_larq.methods.registry import METHODS
from el_larq.models.registry import NETWORKS
from el_larq.published import TABLE, of_method


def test_each_method_has_its_paper_and_whose_figure_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    status, text, _ = call(capsys, "list", "methods")
    assert status == 0
    lines = {line.partition(": ")[0]: line for line in text.splitlines()}
    for name, method in METHODS.items():
        assert method.reference in lines[name]
        assert ("resnet18 as in: " in lines[name]) == ("resnet18" in of_method(name))
        if "resnet18" in of_method(name):
            figure, source = of_method(name)["resnet18"]
            assert lines[name].endswith(source)
            (row,) = [line for line in text.splitlines() if line.startswith(f"│ {name} ")]
            assert f" {figure:.1f} " in row


def test_published_figures_stand_beside_our_counts(capsys: pytest.CaptureFixture[str]) -> None:
    status, text, _ = call(capsys, "list", "networks", "--published")
    assert status == 0
    assert max(map(len, text.splitlines()), default=0) <= 160
    rows = {line.split()[1]: line for line in text.splitlines() if line.startswith("│ ")}
    assert set(NETWORKS) <= set(rows)
    assert "4.82e9 │ 4.82e9 -0.1%" in rows["reactnet_a"]
    assert "1.17e8 │              │" in rows["reactnet_b"]  # the paper's OPs do not go with its BOPs and FLOPs
    assert "reactnet_b: " in text
    assert "1.63e8" in text
    data = json.loads(call(capsys, "list", "networks", "--published", "--json")[1])
    assert len(data["top1"]) == len(TABLE)
    assert len(data["costs"]) == 3 * len(NETWORKS)


def test_published_goes_with_networks_alone(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = call(capsys, "list", "methods", "--published")
    assert status == 2
    assert "--published applies to networks" in err
