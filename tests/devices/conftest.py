"""Devices for tests: an ssh server and adbd, each started once per session."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import servers
from servers import Far


@pytest.fixture(scope="session")
def ssh_far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    with servers.ssh_server(tmp_path_factory.mktemp("ssh")) as far:
        yield far


@pytest.fixture(scope="session")
def android_far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    with servers.adb_server(tmp_path_factory.mktemp("adb")) as far:
        yield far


@pytest.fixture(params=["ssh", "android"])
def far(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Far:
    found: Far = request.getfixturevalue(f"{request.param}_far")
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def logs(data_folder: Path) -> Path:
    return data_folder / "logs"
