"""What `el-larq list` shows of published figures, through the command's own entry."""

import json
import re
from collections.abc import Callable
from subprocess import CompletedProcess

from el_larq.counting.network_costs import INSTRUCTIONS
from el_larq.methods.method_registry import METHODS
from el_larq.models.network_registry import DETECTORS, NETWORKS
from el_larq.models.zoo.zoo_registry import ZOO
from el_larq.published import TABLE, of_method

Command = Callable[..., CompletedProcess[str]]


def test_each_method_has_its_paper_and_whose_figure_it_is(el_larq_here: Command) -> None:
    result = el_larq_here("list", "methods")
    assert result.returncode == 0
    lines = {line.partition(": ")[0]: line for line in result.stdout.splitlines()}
    for name, method in METHODS.items():
        assert method.reference in lines[name]
        assert ("resnet18 as in: " in lines[name]) == ("resnet18" in of_method(name))
        if "resnet18" in of_method(name):
            figure, source = of_method(name)["resnet18"]
            assert lines[name].endswith(source)
            (row,) = [line for line in result.stdout.splitlines() if line.startswith(f"│ {name} ")]
            assert f" {figure:.1f} " in row


def test_published_figures_are_listed_next_to_our_counts(el_larq_here: Command) -> None:
    result = el_larq_here("list", "networks", "--published")
    assert result.returncode == 0
    assert max(map(len, result.stdout.splitlines()), default=0) <= 160
    rows = {line.split()[1]: line for line in result.stdout.splitlines() if line.startswith("│ ")}
    assert set(NETWORKS) <= set(rows)
    assert "4.82e9 │ 4.82e9 -0.1%" in rows["reactnet_a"]
    assert "1.17e8 │              │" in rows["reactnet_b"]  # the paper's OPs do not go with its BOPs and FLOPs
    assert "reactnet_b: " in result.stdout
    assert "1.63e8" in result.stdout
    data = json.loads(el_larq_here("list", "networks", "--published", "--json").stdout)
    assert len(data["top1"]) == len(TABLE)
    assert len(data["costs"]) == 3 * len(NETWORKS)


def test_predicted_instructions_are_listed_and_say_what_they_are(el_larq_here: Command) -> None:
    result = el_larq_here("list", "networks", "--cost", "cortex-a53", "--json")
    data = json.loads(result.stdout)
    assert data["predicted"] is True
    assert {row["network"] for row in data["networks"]} == set(INSTRUCTIONS)
    assert all(row["instructions"] == INSTRUCTIONS[row["network"]]["cortex-a53"] for row in data["networks"])
    assert "instructions are not time" in " ".join(el_larq_here("list", "networks", "--cost", "cortex-a72").stdout.split())
    assert "--cost applies to networks" in el_larq_here("list", "methods", "--cost", "cortex-a72").stderr
    assert "unknown core 'm4'" in el_larq_here("list", "networks", "--cost", "m4").stderr


def test_detectors_are_listed_with_their_task(el_larq_here: Command) -> None:
    entries = {entry["name"]: entry for entry in json.loads(el_larq_here("list", "networks", "--json").stdout)}
    assert list(entries) == [*NETWORKS, *DETECTORS]
    assert all(entries[name]["task"] == "classification" for name in NETWORKS)
    assert all(entries[name]["task"] == "detection" for name in DETECTORS)
    assert entries["ssd_mobilenet"]["options"] == "stem, depthwise, channels_per_group, heads"
    printed = el_larq_here("list", "networks").stdout
    assert re.search(r"^│ ssd300 +│ detection +│", printed, re.MULTILINE)
    assert re.search(r"^│ resnet18 +│ classification +│", printed, re.MULTILINE)
    assert "Detectors are not included" in el_larq_here("list", "networks", "--cost", "cortex-a72").stdout


def test_published_applies_to_networks_only(el_larq_here: Command) -> None:
    result = el_larq_here("list", "methods", "--published")
    assert result.returncode == 2
    assert "--published applies to networks" in result.stderr


def test_networks_of_larq_zoo_are_a_list_of_their_own(el_larq_here: Command) -> None:
    """They have the accuracy that belongs to them; networks that take a method do not show it."""
    entries = {entry["name"]: entry for entry in json.loads(el_larq_here("list", "zoo", "--json").stdout)}
    assert set(entries) == set(ZOO)
    assert (entries["quicknet"]["top-1"], entries["quicknet"]["parameters"]) == (63.3, 13_234_088)
    assert all(entry["source"] for entry in entries.values())
    assert entries["dorefanet"]["macs"] == {"1/2": 2_924_609_536, "32/32": 125_028_352}
    result = el_larq_here("list", "zoo")
    assert result.returncode == 0
    assert "binary_densenet37_dilated" in result.stdout
    assert result.stdout == el_larq_here("zoo", "list").stdout
    networks = {entry["name"]: entry for entry in json.loads(el_larq_here("list", "networks", "--json").stdout)}
    assert not any("top-1" in networks[name]["published"] for name in entries if name in networks)
