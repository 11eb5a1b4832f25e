"""Networks of a few blocks, for tests that would take too long with all of them."""

import importlib
from dataclasses import replace

import pytest

from el_larq.models.network_registry import NETWORKS


def shorten(monkeypatch: pytest.MonkeyPatch, network: str) -> None:
    """Leave a network a block of each kind that it has.

    Where it has stages: one block in each of the first two, of which the second has a stride and more channels.
    """
    full = NETWORKS[network]
    if repeats := {"repeats", "layers"} & full.arguments.keys():
        stages = {name: full.arguments[name][:2] for name in ("filters", "reductions") if name in full.arguments}
        shorter = dict.fromkeys(repeats, (1, 1))
        monkeypatch.setitem(NETWORKS, network, replace(full, arguments={**full.arguments, **stages, **shorter}))
        return
    module = importlib.import_module(full.builder.split(":")[0])
    if hasattr(module, "BLOCKS"):
        # More channels; more channels and a stride; neither.
        monkeypatch.setattr(module, "BLOCKS", ((2, 1), (4, 2), (4, 1)))
    elif hasattr(module, "STAGES"):
        monkeypatch.setattr(module, "STAGES", ((1, 16, 1, 1), (6, 24, 2, 2)))  # without expand; with a stride; with a shortcut
    elif hasattr(module, "FILTERS"):
        monkeypatch.setattr(module, "FILTERS", ((128,), (256,)))  # the same channels; more channels
    else:
        assert hasattr(module, "MODULES"), (
            f"say here how {network} is shortened: it has neither repeats, layers, BLOCKS, STAGES nor FILTERS"
        )
        monkeypatch.setattr(module, "MODULES", {"4a": module.MODULES["4a"]})
