"""Fetching a file over https from a host that is named here, and keeping it only when its SHA-256 is the right one.

A redirect may lead to the code host's own asset domains and nowhere else. What arrived of an interrupted download stays beside the
destination and is continued. LCE publishes no checksums: the first download pins one, and later ones must agree with it.
"""

import hashlib
import http.client
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from el_larq.errors import ElLarqError, UsageError, summarize
from el_larq.files import write_json

HOSTS = frozenset({"github.com", "objects.githubusercontent.com", "release-assets.githubusercontent.com"})
"""The code host and where it keeps the files of releases."""

MAX_BYTES = 200_000_000
"""A benchmark binary has some megabytes; more than this is no benchmark binary."""

_CHUNK = 1 << 16
_REDIRECTS = 5


@dataclass(frozen=True)
class Allowance:
    """Which addresses may be asked. ``loopback`` is for tests alone: plain http to 127.0.0.1, and nothing else by http."""

    hosts: frozenset[str] = HOSTS
    loopback: bool = False

    def check(self, address: str) -> None:
        parts = urllib.parse.urlsplit(address)
        if self.loopback and parts.scheme == "http" and parts.hostname == "127.0.0.1":
            return
        if parts.scheme != "https":
            raise ElLarqError(f"refused {_shown(address)}: only https is trusted with a program")
        if parts.hostname not in self.hosts or parts.port not in (None, 443) or parts.username is not None:
            raise ElLarqError(f"refused {_shown(address)}: programs are fetched from {', '.join(sorted(self.hosts))} only")


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = _REDIRECTS

    def __init__(self, allowance: Allowance):
        self.allowance = allowance

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        self.allowance.check(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(
    address: str,
    path: Path,
    *,
    sha256: str | None = None,
    allowance: Allowance | None = None,
    notify: Callable[[int, int | None], None] = lambda done, total: None,
    timeout: float = 30.0,
) -> str:
    """Download a file to ``path``; returns its SHA-256, which is pinned there.

    Arguments:
        sha256: what it must be; without it, what was pinned for this path before, and at first whatever it is.
        notify: called with the bytes that are there and their total, None where the server does not tell.

    Raises:
        ElLarqError: the address, a redirect or the file is not what it must be, or the network failed; what has arrived
            by then is kept and continued next time, except when its sum is wrong.
    """
    allowance = allowance or Allowance()
    allowance.check(address)
    wanted = (sha256 or pinned(path) or "").lower()
    if wanted and (len(wanted) != 64 or set(wanted) - set("0123456789abcdef")):
        raise UsageError(f"{wanted!r} is no SHA-256: 64 hexadecimal digits")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ElLarqError(f"cannot write {path.parent}: {error.strerror or error}") from error
    partial = path.with_name(f"{path.name}.partial")
    _download(address, partial, allowance, notify, timeout)
    found = _sum(partial)
    if wanted and found != wanted:
        partial.unlink()
        origin = "--sha256" if sha256 else f"the pin in {_pins(path)}"
        raise ElLarqError(
            f"{path.name}: its SHA-256 is {found}, but {origin} says {wanted}; it was not kept. "
            "If the release was replaced on purpose, give the new sum with --sha256"
        )
    try:
        partial.chmod(0o755)
        os.replace(partial, path)
    except OSError as error:
        raise ElLarqError(f"cannot write {path}: {error.strerror or error}") from error
    _partial_facts(partial).unlink(missing_ok=True)
    write_json(_pins(path), {"sha256": found, "address": address, "given": bool(sha256)})
    return found


def pinned(path: Path) -> str | None:
    """The SHA-256 that the file at ``path`` must have, if it was fetched before."""
    try:
        content = json.loads(_pins(path).read_text("utf-8"))
        return str(content["sha256"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ElLarqError(f"the pin {_pins(path)} is damaged; remove it to fetch the file anew") from error


def _pins(path: Path) -> Path:
    return path.with_name(f"{path.name}.pin.json")


def _partial_facts(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def _download(address: str, partial: Path, allowance: Allowance, notify: Callable[[int, int | None], None], timeout: float) -> None:
    opener = urllib.request.OpenerDirector()
    handlers: Iterable[urllib.request.BaseHandler] = (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(allowance),
    )
    for handler in handlers:
        opener.add_handler(handler)
    have, etag = _resumable(partial, address)
    request = urllib.request.Request(address, headers={"User-Agent": "el-larq", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        # The server sends all of it again if the file is another one by now.
        request.add_header("If-Range", etag)
    try:
        with opener.open(request, timeout=timeout) as response:
            _receive(response, partial, address, have, notify)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:
            partial.unlink(missing_ok=True)
            _partial_facts(partial).unlink(missing_ok=True)
            return _download(address, partial, allowance, notify, timeout)
        hint = "; this release has no such file" if error.code == 404 else ""
        raise ElLarqError(f"{_shown(address)}: the server answers {error.code} {error.reason}{hint}") from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        kept = partial.stat().st_size if partial.exists() else 0
        again = f"; {kept} bytes are kept and the next try continues" if kept else ""
        raise ElLarqError(f"{_shown(address)}: the download failed ({summarize(error)}){again}") from error
    except OSError as error:
        raise ElLarqError(f"cannot write {partial}: {error.strerror or error}") from error
    return None


def _resumable(partial: Path, address: str) -> tuple[int, str]:
    """How many bytes are there, and the entity tag that says of what file; 0 when they cannot be continued safely."""
    try:
        facts = json.loads(_partial_facts(partial).read_text("utf-8"))
        if facts["address"] == address and facts["etag"]:
            return partial.stat().st_size, str(facts["etag"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return 0, ""


def _receive(response: Any, partial: Path, address: str, have: int, notify: Callable[[int, int | None], None]) -> None:
    continued = response.status == 206 and str(response.headers.get("Content-Range", "")).startswith(f"bytes {have}-")
    if response.status == 206 and not continued:
        raise ElLarqError(f"{_shown(address)}: the server continues at the wrong place; try again")
    done = have if continued else 0
    length = response.headers.get("Content-Length")
    total = done + int(length) if length and length.isdecimal() else None
    if (total or 0) > MAX_BYTES:
        raise ElLarqError(f"{_shown(address)}: {total} bytes are no benchmark binary; nothing was fetched")
    if not continued:
        etag = response.headers.get("ETag", "")
        # A weak tag does not promise the same bytes.
        write_json(_partial_facts(partial), {"address": address, "etag": "" if etag.startswith("W/") else etag})
    with open(partial, "ab" if continued else "wb") as file:
        _copy(response, file, done, total, notify, address)


def _copy(
    response: Any, file: IO[bytes], done: int, total: int | None, notify: Callable[[int, int | None], None], address: str
) -> None:
    notify(done, total)
    while chunk := response.read(_CHUNK):
        done += len(chunk)
        if done > MAX_BYTES:
            raise ElLarqError(f"{_shown(address)}: more than {MAX_BYTES} bytes are no benchmark binary; stopped")
        file.write(chunk)
        notify(done, total)
    if total is not None and done != total:
        raise http.client.IncompleteRead(b"", total - done)


def _sum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _shown(address: str) -> str:
    """An address for people: without the long signature that the code host puts into its own."""
    return urllib.parse.urlsplit(address)._replace(query="", fragment="").geturl()[:200]
