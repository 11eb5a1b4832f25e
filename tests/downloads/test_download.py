"""Downloads from a local server; only tests may use plain http."""

import hashlib
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from file_server import serving

from el_larq.downloads import download
from el_larq.downloads.asset import Asset, pinned_sha256, take
from el_larq.downloads.http_connection import AllowedHosts, Deadline, build_opener
from el_larq.errors import ElLarqError, UsageError

CONTENT = bytes(range(256)) * 2000
SUM = hashlib.sha256(CONTENT).hexdigest()
LOOPBACK = AllowedHosts(loopback=True)
PROGRAM = Asset("", "a benchmark binary", 200_000_000, "this release does not contain the file", executable=True)


def fetch(address: str, path: Path, *, max_bytes: int = PROGRAM.max_bytes, **options: Any) -> str:
    return download.fetch(replace(PROGRAM, address=address, max_bytes=max_bytes), path, **options)


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, Any]]]:
    with serving(CONTENT) as found:
        yield found


def test_a_file_is_fetched_pinned_and_executable(server: Any, tmp_path: Path) -> None:
    address, _state = server
    path = tmp_path / "cache" / "engine"
    seen: list[int] = []
    assert fetch(f"{address}/file", path, allowed=LOOPBACK, notify=lambda done, total: seen.append(done)) == SUM
    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o100
    assert pinned_sha256(path) == SUM
    assert seen[-1] == len(CONTENT)
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["engine", "engine.pin.json"]


def test_an_interrupted_download_is_continued(server: Any, tmp_path: Path) -> None:
    address, state = server
    path = tmp_path / "engine"
    state["stop"] = 100_000
    with pytest.raises(ElLarqError, match="100000 bytes are kept, and the next attempt resumes"):
        fetch(f"{address}/file", path, allowed=LOOPBACK)
    assert not path.exists()
    assert fetch(f"{address}/file", path, allowed=LOOPBACK) == SUM
    assert state["asked"][1][1] == "bytes=100000-"
    assert path.read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_not_patched_together(server: Any, tmp_path: Path) -> None:
    address, state = server
    path = tmp_path / "engine"
    state["stop"] = 100_000
    with pytest.raises(ElLarqError, match="next attempt resumes"):
        fetch(f"{address}/file", path, allowed=LOOPBACK)
    state["content"] = CONTENT[::-1]
    fetch(f"{address}/file", path, allowed=LOOPBACK)
    assert path.read_bytes() == CONTENT[::-1]


def test_a_wrong_sum_is_refused_and_the_old_file_stays(server: Any, tmp_path: Path) -> None:
    address, state = server
    path = tmp_path / "engine"
    with pytest.raises(ElLarqError, match="--sha256 says " + "0" * 64):
        fetch(f"{address}/file", path, sha256="0" * 64, allowed=LOOPBACK)
    assert list(tmp_path.iterdir()) == []
    assert fetch(f"{address}/file", path, sha256=SUM.upper(), allowed=LOOPBACK) == SUM
    state["content"] = b"something else"
    with pytest.raises(ElLarqError, match=r"the pin in .* says"):
        fetch(f"{address}/file", path, allowed=LOOPBACK)
    assert path.read_bytes() == CONTENT
    assert pinned_sha256(path) == SUM


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
        fetch(f"{address}/to/file", tmp_path / "engine", allowed=LOOPBACK)
    assert list(tmp_path.iterdir()) == []


def test_an_allowed_redirect_is_followed(server: Any, tmp_path: Path) -> None:
    address, state = server
    state["to"] = f"{address}/file"
    assert fetch(f"{address}/to/file", tmp_path / "engine", allowed=LOOPBACK) == SUM


@pytest.mark.parametrize("address", ["http://github.com/x", "https://example.com/x", "http://127.0.0.1:1/x", "file:///x"])
def test_addresses_that_are_refused_outside_tests(tmp_path: Path, address: str) -> None:
    with pytest.raises(ElLarqError, match="refused"):
        fetch(address, tmp_path / "engine")


def test_what_the_server_does_not_have_or_what_is_too_large(server: Any, tmp_path: Path) -> None:
    address, state = server
    with pytest.raises(ElLarqError, match=r"404.*does not contain the file"):
        fetch(f"{address}/missing", tmp_path / "engine", allowed=LOOPBACK)
    state["length"] = 10**9
    with pytest.raises(ElLarqError, match="too many for a benchmark binary"):
        fetch(f"{address}/file", tmp_path / "engine", allowed=LOOPBACK)
    with pytest.raises(UsageError, match="not a SHA-256"):
        fetch(f"{address}/file", tmp_path / "engine", sha256="abc", allowed=LOOPBACK)


def test_a_server_that_is_not_there(tmp_path: Path, one_line: Any) -> None:
    with pytest.raises(ElLarqError, match=r"the download failed \(the host cannot be reached: .*--from-file\)$") as caught:
        fetch("http://127.0.0.1:9/x", tmp_path / "engine", allowed=LOOPBACK)
    one_line(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_published_sum_is_required_at_once(server: Any, tmp_path: Path) -> None:
    address, _state = server
    asset = replace(PROGRAM, address=f"{address}/file", sha256="0" * 64, published_by="the maker")
    with pytest.raises(ElLarqError, match=rf"its SHA-256 is {SUM}, but the maker says 0000"):
        download.fetch(asset, tmp_path / "engine", allowed=LOOPBACK)
    assert list(tmp_path.iterdir()) == []
    download.fetch(replace(asset, sha256=SUM, executable=False), tmp_path / "engine", allowed=LOOPBACK)
    assert not (tmp_path / "engine").stat().st_mode & 0o100


def test_a_proxy_from_the_environment_is_used(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server answers as a proxy: it is asked for the whole address, at which nothing listens."""
    address, state = server
    monkeypatch.setenv("http_proxy", address)
    monkeypatch.delenv("no_proxy", raising=False)
    assert fetch("http://127.0.0.1:9/file", tmp_path / "engine", allowed=LOOPBACK) == SUM
    assert state["asked"][0][0] == "http://127.0.0.1:9/file"


def test_a_proxy_that_refuses_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_line: Any) -> None:
    with _answering(_answer(b"", status="403 Forbidden")) as address:
        monkeypatch.setenv("https_proxy", address.removesuffix("/file"))
        monkeypatch.delenv("no_proxy", raising=False)
        with pytest.raises(
            ElLarqError, match=r"https://github.com/x: the download failed \(.*403 Forbidden.*--from-file"
        ) as caught:
            fetch("https://github.com/x", tmp_path / "engine")
    one_line(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_copy_is_kept_like_a_download(tmp_path: Path) -> None:
    source, path = tmp_path / "copy", tmp_path / "cache" / "engine"
    source.write_bytes(CONTENT)
    asset = replace(PROGRAM, address="https://github.com/x")
    assert take(asset, source, path) == SUM
    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o100
    assert pinned_sha256(path) == SUM
    source.write_bytes(CONTENT[::-1])
    with pytest.raises(ElLarqError, match=rf"copy: its SHA-256 is .*the pin in .* says {SUM}; it was not kept"):
        take(asset, source, path)
    with pytest.raises(ElLarqError, match=r"copy: 512000 bytes are too many for a benchmark binary; nothing was kept"):
        take(replace(asset, max_bytes=1000), source, path)
    with pytest.raises(ElLarqError, match="none: No such file"):
        take(asset, tmp_path / "none", path)
    with pytest.raises(ElLarqError, match="more than 1000 bytes are too many"):
        take(replace(asset, max_bytes=1000), Path("/dev/zero"), path)
    assert path.read_bytes() == CONTENT
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["engine", "engine.pin.json"]


@contextmanager
def _answering(*answers: bytes, drip: float = 0.0) -> Iterator[str]:
    """A server that sends these bytes to each connection, one connection at a time. ``drip``: seconds between bytes."""
    left = list(answers)
    stop = threading.Event()

    class Raw(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1 << 16)
            answer = left.pop(0)
            try:
                for part in [answer] if not drip else (answer[n : n + 1] for n in range(len(answer))):
                    self.request.sendall(part)
                    if stop.wait(drip) if drip else False:
                        return
            except OSError:
                pass  # the client has gone, as it should

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Raw) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/file"
        finally:
            stop.set()
            server.shutdown()


def _answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "Connection: close", "", ""]).encode("latin-1") + body


def _chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)


BAD_ANSWERS = {
    "an empty file": (_answer(b"", "Content-Length: 0"), "empty file"),
    "an empty chunked file": (_answer(_chunked(b""), "Transfer-Encoding: chunked"), "empty file"),
    "a part that nobody asked for": (
        _answer(b"abc", "Content-Length: 3", "Content-Range: bytes 0-2/3", status="206 Partial Content"),
        "answers 206 instead of 200",
    ),
    "no content": (_answer(b"", status="204 No Content"), "answers 204"),
    "a negative length": (_answer(b"abc", "Content-Length: -5"), "invalid length"),
    "a length that is not a number": (_answer(b"abc", "Content-Length: 3x"), "invalid length"),
    "two lengths": (_answer(b"abc", "Content-Length: 3", "Content-Length: 2"), "invalid length"),
    "a length in addition to chunks": (
        _answer(_chunked(b"abc", b""), "Content-Length: 3", "Transfer-Encoding: chunked"),
        "invalid length",
    ),
    "no length": (_answer(b"abc"), "does not state the length"),
    "a length beyond all": (_answer(b"abc", f"Content-Length: {10**17}"), "too many for a benchmark binary"),
    "fewer bytes, to be had again": (_answer(b"abc", "Content-Length: 9"), r"download failed \(the connection ended too early"),
    "chunks cut off": (_answer(_chunked(b"abc")[:-4], "Transfer-Encoding: chunked"), "download failed"),
    "not http": (b"SSH-2.0-x\r\n\r\n", "download failed"),
    "nothing": (b"", "download failed"),
    "control characters": (_answer(b"", status="500 \x1b[2J\x9b\rel-larq: forged"), r"answers 500 .x1b\[2J.x9b el-larq: forged"),
    "a folded redirect": (
        _answer(b"", "Location: https://example.com/a\r\n\tb\x1b", status="302 Found"),
        "refused https://example.com",
    ),
    "a redirect to what is not an address": (_answer(b"", "Location: https://[x", status="302 Found"), "https://|download failed"),
    "headers without end": (_answer(b"", *["X: y"] * 200), "download failed"),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_a_bad_answer_is_one_line_and_leaves_nothing(name: str, tmp_path: Path, one_line: Any) -> None:
    answer, reason = BAD_ANSWERS[name]
    with _answering(answer) as address, pytest.raises(ElLarqError, match=reason) as caught:
        fetch(address, tmp_path / "engine", allowed=LOOPBACK)
    assert "\x1b" not in one_line(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_redirect_in_a_circle_is_one_line(server: Any, tmp_path: Path, one_line: Any) -> None:
    address, state = server
    state["to"] = f"{address}/to/file"
    with pytest.raises(ElLarqError, match="the server answers 302") as caught:
        fetch(f"{address}/to/file", tmp_path / "engine", allowed=LOOPBACK)
    one_line(caught.value)


@pytest.mark.parametrize("headers", [["Transfer-Encoding: chunked"], ["Transfer-Encoding: chunked", 'ETag: "x"']])
def test_a_body_without_end_is_stopped_and_not_kept(headers: list[str], tmp_path: Path) -> None:
    with (
        _answering(_answer(_chunked(*[b"x" * 1000] * 1000), *headers)) as address,
        pytest.raises(ElLarqError, match="more than 100000 bytes"),
    ):
        fetch(address, tmp_path / "engine", allowed=LOOPBACK, max_bytes=100_000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", ["200 OK", "302 Found", "404 Not Found"])
def test_the_time_of_all_of_it_is_limited(status: str, tmp_path: Path) -> None:
    """Single bytes at intervals, in headers and in bodies, restart the timeout of the socket again and again."""
    headers = ["X-Long: " + "y" * 200] if status != "200 OK" else []
    with (
        _answering(_answer(b"x" * 60_000, "Content-Length: 60000", *headers, status=status), drip=0.01) as address,
        pytest.raises(ElLarqError, match=r"it took more than 0\.5 seconds; --timeout allows more\)$"),
    ):
        fetch(address, tmp_path / "engine", allowed=LOOPBACK, seconds=0.5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "place", ["bytes 0-9/10", "bytes 5-8/10", "bytes 5-9/9", "bytes 5-9/*", "bytes -5-9/10", "x", "bytes 5-999999999/1000000000"]
)
def test_a_continuation_that_does_not_fit_is_refused_and_the_next_try_begins_anew(place: str, tmp_path: Path) -> None:
    cut = _answer(b"01234", "Content-Length: 10", 'ETag: "x"')
    part = _answer(b"56789", f"Content-Range: {place}", status="206 Partial Content")
    whole = _answer(b"0123456789", "Content-Length: 10")
    with _answering(cut, part, whole) as address:
        with pytest.raises(ElLarqError, match="5 bytes are kept, and the next attempt resumes"):
            fetch(address, tmp_path / "engine", allowed=LOOPBACK)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["engine.partial", "engine.partial.json"]
        with pytest.raises(ElLarqError, match=r"wrong offset|too many for a benchmark binary"):
            fetch(address, tmp_path / "engine", allowed=LOOPBACK)
        assert list(tmp_path.iterdir()) == []
        fetch(address, tmp_path / "engine", allowed=LOOPBACK)
    assert (tmp_path / "engine").read_bytes() == b"0123456789"


@pytest.mark.parametrize("etag", ['W/"x"', "", '"a\r\n b"', '"\xe9"', '"' + "x" * 1000 + '"'])
def test_what_cannot_be_continued_safely_is_not_kept(etag: str, tmp_path: Path) -> None:
    with (
        _answering(_answer(b"01234", "Content-Length: 10", f"ETag: {etag}")) as address,
        pytest.raises(ElLarqError, match=r"download failed \(the connection ended too early\)$"),
    ):
        fetch(address, tmp_path / "engine", allowed=LOOPBACK)
    assert list(tmp_path.iterdir()) == []


def test_the_limit_applies_to_a_handshake_of_tls(tmp_path: Path) -> None:
    """The timeout of the socket is 30 seconds here; a silent server is left at the deadline."""
    with _answering(b"\x16" * 100, drip=0.2) as address, Deadline(0.3) as deadline:
        with pytest.raises(OSError, match=r".") as caught:
            build_opener(AllowedHosts(), deadline).open(address.replace("http:", "https:"), timeout=30)
        assert deadline.expired, caught.value
