"""Downloads against a local server; only tests may ask one over plain http."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from el_larq.devices.download import Allowance, fetch, pinned
from el_larq.errors import ElLarqError, UsageError

CONTENT = bytes(range(256)) * 2000
SUM = hashlib.sha256(CONTENT).hexdigest()
LOOPBACK = Allowance(loopback=True)


class Handler(BaseHTTPRequestHandler):
    state: dict[str, Any]

    def do_GET(self) -> None:
        self.state["asked"].append((self.path, self.headers.get("Range"), self.headers.get("If-Range")))
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.state["to"])
            self.end_headers()
            return
        if self.path == "/missing":
            self.send_error(404)
            return
        content, start = self.state["content"], 0
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        if (wanted := self.headers.get("Range")) and self.headers.get("If-Range") == etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(self.state.get("length", len(content) - start)))
        self.end_headers()
        stop = self.state.pop("stop", len(content))
        self.wfile.write(content[start:stop])

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, Any]]]:
    state: dict[str, Any] = {"asked": [], "content": CONTENT}
    handler = type("Bound", (Handler,), {"state": state})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}", state
    http.shutdown()
    http.server_close()
    thread.join()


def test_a_file_is_fetched_pinned_and_executable(server: Any, tmp_path: Path) -> None:
    address, _state = server
    path = tmp_path / "cache" / "engine"
    seen: list[int] = []
    assert fetch(f"{address}/file", path, allowance=LOOPBACK, notify=lambda done, total: seen.append(done)) == SUM
    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o100
    assert pinned(path) == SUM
    assert seen[-1] == len(CONTENT)
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["engine", "engine.pin.json"]


def test_an_interrupted_download_is_continued(server: Any, tmp_path: Path) -> None:
    address, state = server
    path = tmp_path / "engine"
    state["stop"] = 100_000
    with pytest.raises(ElLarqError, match="100000 bytes are kept and the next try continues"):
        fetch(f"{address}/file", path, allowance=LOOPBACK)
    assert not path.exists()
    assert fetch(f"{address}/file", path, allowance=LOOPBACK) == SUM
    assert state["asked"][1][1] == "bytes=100000-"
    assert path.read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_not_patched_together(server: Any, tmp_path: Path) -> None:
    address, state = server
    path = tmp_path / "engine"
    state["stop"] = 100_000
    with pytest.raises(ElLarqError, match="next try continues"):
        fetch(f"{address}/file", path, allowance=LOOPBACK)
    state["content"] = CONTENT[::-1]
    fetch(f"{address}/file", path, allowance=LOOPBACK)
    assert path.read_bytes() == CONTENT[::-1]


def test_a_wrong_sum_is_refused_and_the_old_file_stays(server: Any, tmp_path: Path) -> None:
    address, state = server
    path = tmp_path / "engine"
    with pytest.raises(ElLarqError, match="--sha256 says " + "0" * 64):
        fetch(f"{address}/file", path, sha256="0" * 64, allowance=LOOPBACK)
    assert list(tmp_path.iterdir()) == [tmp_path / "engine.partial.json"]
    assert fetch(f"{address}/file", path, sha256=SUM.upper(), allowance=LOOPBACK) == SUM
    state["content"] = b"something else"
    with pytest.raises(ElLarqError, match=r"the pin in .* says"):
        fetch(f"{address}/file", path, allowance=LOOPBACK)
    assert path.read_bytes() == CONTENT
    assert pinned(path) == SUM


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://example.com/file",
        "http://github.com/file",
        "https://github.com.example.com/x",
        "https://user@github.com/x",
        "https://github.com:8443/x",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "http://localhost/x",
    ],
)
def test_a_redirect_elsewhere_is_refused(server: Any, tmp_path: Path, elsewhere: str) -> None:
    address, state = server
    state["to"] = elsewhere
    with pytest.raises(ElLarqError):
        fetch(f"{address}/to/file", tmp_path / "engine", allowance=LOOPBACK)
    assert list(tmp_path.iterdir()) == []


def test_an_allowed_redirect_is_followed(server: Any, tmp_path: Path) -> None:
    address, state = server
    state["to"] = f"{address}/file"
    assert fetch(f"{address}/to/file", tmp_path / "engine", allowance=LOOPBACK) == SUM


@pytest.mark.parametrize("address", ["http://github.com/x", "https://example.com/x", "http://127.0.0.1:1/x", "file:///x"])
def test_addresses_that_are_refused_outside_tests(tmp_path: Path, address: str) -> None:
    with pytest.raises(ElLarqError, match="refused"):
        fetch(address, tmp_path / "engine")


def test_what_the_server_does_not_have_or_what_is_too_large(server: Any, tmp_path: Path) -> None:
    address, state = server
    with pytest.raises(ElLarqError, match=r"404.*no such file"):
        fetch(f"{address}/missing", tmp_path / "engine", allowance=LOOPBACK)
    state["length"] = 10**9
    with pytest.raises(ElLarqError, match="no benchmark binary"):
        fetch(f"{address}/file", tmp_path / "engine", allowance=LOOPBACK)
    with pytest.raises(UsageError, match="no SHA-256"):
        fetch(f"{address}/file", tmp_path / "engine", sha256="abc", allowance=LOOPBACK)


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ElLarqError, match="the download failed"):
        fetch("http://127.0.0.1:9/x", tmp_path / "engine", allowance=LOOPBACK)
