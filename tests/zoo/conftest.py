"""A small network in the tables of Larq Zoo, with a weights file of the zoo's form, and a server instead of its releases."""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras as keras
from file_server import serving
from tiny_zoo import TINY, Files

from el_larq import published
from el_larq.downloads import download
from el_larq.downloads.asset import hash_file
from el_larq.downloads.http_connection import AllowedHosts
from el_larq.models.zoo import zoo_macs
from el_larq.models.zoo.zoo_build import build_zoo
from el_larq.models.zoo.zoo_registry import ZOO, ZooNetwork
from el_larq.zoo import published_files


@pytest.fixture(scope="session")
def weights_files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("zoo")
    found: dict[str, Any] = {}
    for name, top, blocks in (("model", True, (1, 1, 1, 1)), ("notop", False, (1, 1, 1, 1)), ("other", True, (2, 1, 1, 1))):
        keras.backend.clear_session()
        with pytest.MonkeyPatch.context() as patch:
            network = ZooNetwork("tiny", "", "", "", TINY.builder, {"filters": TINY.arguments["filters"], "blocks": blocks})
            patch.setitem(ZOO, "tiny", network)
            model = build_zoo("tiny", top=top)
        numbers = np.random.default_rng(0)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.moving_mean.assign(0.1 * numbers.standard_normal(layer.moving_mean.shape))
        model.save_weights(folder / f"{name}.h5")
        found[name] = model
    gc.collect()
    return Files(folder / "model.h5", folder / "notop.h5", folder / "other.h5", found["model"])


@pytest.fixture
def tiny(weights_files: Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Files:
    """zoo:tiny is a published network, and the cache is empty."""
    pair = published_files._Pair(  # pyright: ignore[reportPrivateUsage]
        "tiny_weights", ("tiny-v1.0", "tiny-v1.0"), (hash_file(weights_files.top), hash_file(weights_files.notop))
    )
    figures = {
        "top-1": (12.5, "these tests"),
        "top-5": (25.0, "these tests"),
        "parameters": (weights_files.model.count_params(), "these tests"),
        "size": ("1 MB", "these tests"),
    }
    monkeypatch.setitem(ZOO, "tiny", TINY)
    monkeypatch.setitem(published_files._FILES, "tiny", pair)  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setitem(published._BY_ZOO_NETWORK, "tiny", figures)  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setitem(zoo_macs.MACS, "tiny", {zoo_macs.BINARY: 1})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return weights_files


@pytest.fixture
def releases(tiny: Files, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The state of a server that has the file of zoo:tiny; see `file_server.serving`."""
    with serving(tiny.top.read_bytes()) as (address, state):
        monkeypatch.setattr(published_files, "RELEASES", address)
        monkeypatch.setattr(download, "AllowedHosts", lambda: AllowedHosts(loopback=True))
        yield state
