"""Fetching a file over https from a host that is named here, and keeping it only when its SHA-256 is the right one.

A redirect may lead to the code host's own asset domains and nowhere else. What arrived of an interrupted download stays beside the
destination where it can be continued. LCE publishes no checksums: the first download pins one, and later ones must agree with it.
"""

import hashlib
import http.client
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from el_larq.devices.connection import Allowance, Deadline, opener, shown
from el_larq.errors import ElLarqError, UsageError, summarize
from el_larq.files import write_json
from el_larq.printable import printable

MAX_BYTES = 200_000_000
"""A benchmark binary has some megabytes; more than this is no benchmark binary."""

SECONDS = 600.0
"""For one download: six megabytes, more than any of LCE's binaries has, at ten kilobytes a second."""

_CHUNK = 1 << 16

Notify = Callable[[int, int | None], None]


@dataclass(frozen=True)
class _Source:
    """An address, whether it may lead elsewhere, how long it may be silent and how long it may take, in seconds."""

    address: str
    allowance: Allowance
    timeout: float
    seconds: float

    @property
    def name(self) -> str:
        return shown(self.address)


def fetch(
    address: str,
    path: Path,
    *,
    sha256: str | None = None,
    allowance: Allowance | None = None,
    notify: Notify = lambda done, total: None,
    timeout: float = 30.0,
    seconds: float = SECONDS,
) -> str:
    """Download a file to ``path``; returns its SHA-256, which is pinned there.

    Arguments:
        sha256: what it must be; without it, what was pinned for this path before, and at first whatever it is.
        notify: called with the bytes that are there and their total, None where the server does not tell.
        timeout: seconds that the server may be silent.
        seconds: how long all of it may take.

    Raises:
        ElLarqError: the address, a redirect or the file is not what it must be, or the network failed. What has arrived by then
            is kept only where the next call can continue it.
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
    partial = _Partial(path.with_name(f"{path.name}.partial"), address)
    _download(_Source(address, allowance, timeout, seconds), partial, notify)
    found = _sum(partial.path)
    if wanted and found != wanted:
        partial.remove()
        origin = "--sha256" if sha256 else f"the pin in {_pins(path)}"
        raise ElLarqError(
            f"{path.name}: its SHA-256 is {found}, but {origin} says {wanted}; it was not kept. "
            "If the release was replaced on purpose, give the new sum with --sha256"
        )
    try:
        partial.path.chmod(0o755)
        os.replace(partial.path, path)
    except OSError as error:
        raise ElLarqError(f"cannot write {path}: {error.strerror or error}") from error
    partial.remove()
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


class _Partial:
    """What has arrived, with a note beside it of what file it is the beginning of."""

    def __init__(self, path: Path, address: str):
        self.path, self.address = path, address
        self._note = path.with_name(f"{path.name}.json")

    def resumable(self) -> tuple[int, str]:
        """How many bytes are there, and the entity tag that says of what file; 0 when they cannot be continued safely."""
        try:
            facts = json.loads(self._note.read_text("utf-8"))
            if facts["address"] == self.address and _is_strong(facts["etag"]):
                return self.path.stat().st_size, facts["etag"]
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return 0, ""

    def begin(self, etag: str) -> None:
        write_json(self._note, {"address": self.address, "etag": etag if _is_strong(etag) else ""})

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


def _is_strong(etag: Any) -> bool:
    """A weak tag does not promise the same bytes, and one with other characters cannot be sent back."""
    return isinstance(etag, str) and re.fullmatch(r'"[\x21\x23-\x7e]{1,200}"', etag) is not None


class _RefusedError(ElLarqError):
    """What the server sends is not a file to keep, nor the beginning of one."""


def _download(source: _Source, partial: _Partial, notify: Notify) -> None:
    have, etag = partial.resumable()
    request = urllib.request.Request(source.address, headers={"User-Agent": "el-larq", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        # The server sends all of it again if the file is another one by now.
        request.add_header("If-Range", etag)
    with Deadline(source.seconds) as deadline:
        try:
            with opener(source.allowance, deadline).open(request, timeout=source.timeout) as response:
                _receive(response, partial, source, have, notify)
            return
        except (OSError, http.client.HTTPException, ValueError, _RefusedError) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            if deadline.expired:  # whatever came of it: headers that end early look whole
                why = f"it took more than {source.seconds:g} seconds; --timeout allows more"
                raise ElLarqError(f"{source.name}: the download failed ({why}){_kept(partial)}") from error
            if isinstance(error, _RefusedError):
                partial.remove()
                raise
            if not isinstance(error, urllib.error.HTTPError):
                raise ElLarqError(f"{source.name}: the download failed ({printable(summarize(error))}){_kept(partial)}") from error
            if error.code != 416 or not have:
                hint = "; this release has no such file" if error.code == 404 else ""
                reason = printable(" ".join(str(error.reason).split()))[:200]
                raise ElLarqError(f"{source.name}: the server answers {error.code} {reason}{hint}") from error
            partial.remove()
        except KeyboardInterrupt:
            _kept(partial)
            raise
    _download(source, partial, notify)  # from the start: what was there was not the beginning of this file


def _kept(partial: _Partial) -> str:
    have, _ = partial.resumable()
    if have:
        return f"; {have} bytes are kept and the next try continues"
    partial.remove()
    return ""


def _receive(response: Any, partial: _Partial, source: _Source, have: int, notify: Notify) -> None:
    done, total = _expected(response, source.name, have)
    if not done:
        partial.begin(response.headers.get("ETag", ""))
    try:
        file = open(partial.path, "ab" if done else "wb")  # noqa: SIM115  (it is closed below)
    except OSError as error:
        raise ElLarqError(f"cannot write {partial.path}: {error.strerror or error}") from error
    with file:
        done = _copy(response, file, done, total, notify, source.name)
    if not done:
        raise _RefusedError(f"{source.name}: the server sent an empty file; nothing was kept")
    if total is not None and done != total:
        raise http.client.IncompleteRead(b"", total - done)


def _expected(response: Any, name: str, have: int) -> tuple[int, int | None]:
    """From which byte on the server sends, and how many there are then; None where it will say only at the end."""
    told = set(response.headers.get_all("Content-Length", ()))
    chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
    if len(told) > 1 or (told and chunked) or any(not re.fullmatch(r"[0-9]{1,18}", length) for length in told):
        raise _RefusedError(f"{name}: the server contradicts itself about the file's length; try again later")
    length = int(told.pop()) if told else None
    if response.status == 206 and have:
        place = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", response.headers.get("Content-Range", ""))
        start, last, total = map(int, place.groups()) if place else (-1, -1, -1)
        if start != have or last != total - 1 or length not in (None, total - have):
            raise _RefusedError(f"{name}: the server continues at the wrong place; try again")
    elif response.status != 200:
        raise _RefusedError(f"{name}: the server answers {response.status} to a request for the whole file; try again later")
    elif length is None and not chunked:
        raise _RefusedError(f"{name}: the server does not say where the file ends, so a cut one would look whole")
    else:
        have, total = 0, length
    if (total or 0) > MAX_BYTES:
        raise _RefusedError(f"{name}: {total} bytes are no benchmark binary; nothing was fetched")
    return have, total


def _copy(response: Any, file: IO[bytes], done: int, total: int | None, notify: Notify, name: str) -> int:
    notify(done, total)
    while chunk := response.read1(_CHUNK):
        done += len(chunk)
        if done > MAX_BYTES:
            raise _RefusedError(f"{name}: more than {MAX_BYTES} bytes are no benchmark binary; nothing was kept")
        try:
            file.write(chunk)
            file.flush()
        except OSError as error:
            raise ElLarqError(f"cannot write {file.name}: {error.strerror or error}") from error
        notify(done, total)
    return done


def _sum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
