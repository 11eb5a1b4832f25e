"""Downloads a file over https from an allowed host, and keeps it only if its SHA-256 is right.

Redirects are followed only to the code host's own asset domains. A partial download stays next to the destination if it can be
resumed. LCE publishes no checksums: the first download pins one, and later ones must match it.
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

from el_larq.devices.http_connection import AllowedHosts, Deadline, build_opener, without_query
from el_larq.errors import ElLarqError, UsageError, summarize
from el_larq.files import write_json
from el_larq.printable import printable

MAX_BYTES = 200_000_000
"""Maximum size of a download. A benchmark binary has a few megabytes."""

SECONDS = 600.0
"""Time limit of one download: enough for six megabytes, more than any of LCE's binaries, at ten kilobytes per second."""

_CHUNK = 1 << 16

Notify = Callable[[int, int | None], None]


@dataclass(frozen=True)
class _Source:
    """An address, the allowed hosts, how long the server may be silent, and the limit of the total time, both in seconds."""

    address: str
    allowed: AllowedHosts
    timeout: float
    seconds: float

    @property
    def name(self) -> str:
        return without_query(self.address)


def fetch(
    address: str,
    path: Path,
    *,
    sha256: str | None = None,
    allowed: AllowedHosts | None = None,
    notify: Notify = lambda done, total: None,
    timeout: float = 30.0,
    seconds: float = SECONDS,
) -> str:
    """Download a file to ``path``; returns its SHA-256, which is pinned next to it.

    Arguments:
        sha256: the expected SHA-256; by default the one pinned for this path. The first download accepts any.
        notify: called with the number of bytes received and the total, None if the server does not send it.
        timeout: seconds that the server may be silent.
        seconds: limit of the total time.

    Raises:
        ElLarqError: the address or a redirect is not allowed, the file is not as expected, or the network failed. A partial
            download is kept only if the next call can resume it.
    """
    allowed = allowed or AllowedHosts()
    allowed.check(address)
    wanted = (sha256 or pinned_sha256(path) or "").lower()
    if wanted and (len(wanted) != 64 or set(wanted) - set("0123456789abcdef")):
        raise UsageError(f"{wanted!r} is not a SHA-256; give 64 hexadecimal digits")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ElLarqError(f"cannot write {path.parent}: {error.strerror or error}") from error
    partial = _Partial(path.with_name(f"{path.name}.partial"), address)
    _download(_Source(address, allowed, timeout, seconds), partial, notify)
    found = _hash_file(partial.path)
    if wanted and found != wanted:
        partial.remove()
        origin = "--sha256" if sha256 else f"the pin in {_pin_path(path)}"
        raise ElLarqError(
            f"{path.name}: its SHA-256 is {found}, but {origin} says {wanted}; it was not kept. "
            "If the release was replaced on purpose, give the new SHA-256 with --sha256"
        )
    try:
        partial.path.chmod(0o755)
        os.replace(partial.path, path)
    except OSError as error:
        raise ElLarqError(f"cannot write {path}: {error.strerror or error}") from error
    partial.remove()
    write_json(_pin_path(path), {"sha256": found, "address": address, "given": bool(sha256)})
    return found


def pinned_sha256(path: Path) -> str | None:
    """The SHA-256 pinned for ``path``; None before the first download."""
    try:
        content = json.loads(_pin_path(path).read_text("utf-8"))
        return str(content["sha256"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ElLarqError(f"the pin {_pin_path(path)} is damaged; remove it to download the file again") from error


def _pin_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.pin.json")


class _Partial:
    """A partial download, with a note next to it that identifies the file."""

    def __init__(self, path: Path, address: str):
        self.path, self.address = path, address
        self._note = path.with_name(f"{path.name}.json")

    def resumable(self) -> tuple[int, str]:
        """The number of bytes received and the entity tag of the file; 0 if the download cannot be resumed safely."""
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
    """Whether the tag guarantees identical bytes, which a weak one does not, and can be sent back in a header."""
    return isinstance(etag, str) and re.fullmatch(r'"[\x21\x23-\x7e]{1,200}"', etag) is not None


class _RefusedError(ElLarqError):
    """The response is unusable, and so is a partial download."""


def _download(source: _Source, partial: _Partial, notify: Notify) -> None:
    have, etag = partial.resumable()
    request = urllib.request.Request(source.address, headers={"User-Agent": "el-larq", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        # The server sends the whole file if it has changed.
        request.add_header("If-Range", etag)
    with Deadline(source.seconds) as deadline:
        try:
            with build_opener(source.allowed, deadline).open(request, timeout=source.timeout) as response:
                _receive(response, partial, source, have, notify)
            return
        except (OSError, http.client.HTTPException, ValueError, _RefusedError) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            if deadline.expired:  # check this first: truncated headers look complete
                why = f"it took more than {source.seconds:g} seconds; --timeout allows more"
                raise ElLarqError(f"{source.name}: the download failed ({why}){_finish_partial(partial)}") from error
            if isinstance(error, _RefusedError):
                partial.remove()
                raise
            if not isinstance(error, urllib.error.HTTPError):
                ended = isinstance(error, http.client.IncompleteRead)
                why = "the connection ended too early" if ended else printable(summarize(error))
                raise ElLarqError(f"{source.name}: the download failed ({why}){_finish_partial(partial)}") from error
            if error.code != 416 or not have:
                hint = "; this release does not contain the file; choose another with --tag" if error.code == 404 else ""
                reason = printable(" ".join(str(error.reason).split()))[:200]
                raise ElLarqError(f"{source.name}: the server answers {error.code} {reason}{hint}") from error
            partial.remove()
        except KeyboardInterrupt:
            _finish_partial(partial)
            raise
    _download(source, partial, notify)  # from the start: the partial download was not of this file


def _finish_partial(partial: _Partial) -> str:
    have, _ = partial.resumable()
    if have:
        return f"; {have} bytes are kept, and the next attempt resumes there"
    partial.remove()
    return ""


def _receive(response: Any, partial: _Partial, source: _Source, have: int, notify: Notify) -> None:
    done, total = _check_response(response, source.name, have)
    if not done:
        partial.begin(response.headers.get("ETag", ""))
    try:
        file = open(partial.path, "ab" if done else "wb")  # noqa: SIM115  (it is closed below)
    except OSError as error:
        raise ElLarqError(f"cannot write {partial.path}: {error.strerror or error}") from error
    with file:
        done = _copy(response, file, done, total, notify, source.name)
    if not done:
        raise _RefusedError(f"{source.name}: the server sent an empty file; try again later")
    if total is not None and done != total:
        raise http.client.IncompleteRead(b"", total - done)


def _check_response(response: Any, name: str, have: int) -> tuple[int, int | None]:
    """The offset at which the response starts, and the total number of bytes, None if unknown until the end."""
    lengths = set(response.headers.get_all("Content-Length", ()))
    chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
    if len(lengths) > 1 or (lengths and chunked) or any(not re.fullmatch(r"[0-9]{1,18}", length) for length in lengths):
        raise _RefusedError(f"{name}: the server states an invalid length; try again later")
    length = int(lengths.pop()) if lengths else None
    if response.status == 206 and have:
        place = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", response.headers.get("Content-Range", ""))
        start, last, total = map(int, place.groups()) if place else (-1, -1, -1)
        if start != have or last != total - 1 or length not in (None, total - have):
            raise _RefusedError(f"{name}: the server resumes at the wrong offset; try again")
    elif response.status != 200:
        raise _RefusedError(f"{name}: the server answers {response.status} instead of 200; try again later")
    elif length is None and not chunked:
        raise _RefusedError(
            f"{name}: the server does not state the length, so a truncated file would look complete; try again later"
        )
    else:
        have, total = 0, length
    if (total or 0) > MAX_BYTES:
        raise _RefusedError(f"{name}: {total} bytes are too many for a benchmark binary; nothing was downloaded")
    return have, total


def _copy(response: Any, file: IO[bytes], done: int, total: int | None, notify: Notify, name: str) -> int:
    notify(done, total)
    while chunk := response.read1(_CHUNK):
        done += len(chunk)
        if done > MAX_BYTES:
            raise _RefusedError(f"{name}: more than {MAX_BYTES} bytes are too many for a benchmark binary; nothing was kept")
        try:
            file.write(chunk)
            file.flush()
        except OSError as error:
            raise ElLarqError(f"cannot write {file.name}: {error.strerror or error}") from error
        notify(done, total)
    return done


def _hash_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
