"""Downloads a file over https from an allowed host, and keeps it only if its SHA-256 is right.

Redirects are followed only to the code host's own asset domains. A partial download stays next to the destination if it can be
resumed. Where no SHA-256 is published, the first download pins one, and later ones must match it.
"""

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

from el_larq.downloads.asset import Asset, expected, hash_file, make_folder, pin
from el_larq.downloads.http_connection import AllowedHosts, Deadline, build_opener, without_query
from el_larq.errors import ElLarqError, summarize
from el_larq.files import write_json
from el_larq.printable import printable

SECONDS = 600.0
"""Time limit of one download: enough for six megabytes, more than any of LCE's binaries, at ten kilobytes per second."""

_CHUNK = 1 << 16

ReportBytes = Callable[[int, int | None], None]


@dataclass(frozen=True)
class _Source:
    """A file's address, the allowed hosts, how long the server may be silent, and the limit of the total time, both in seconds."""

    asset: Asset
    allowed: AllowedHosts
    timeout: float
    seconds: float

    @property
    def name(self) -> str:
        return without_query(self.asset.address)


def fetch(
    asset: Asset,
    path: Path,
    *,
    sha256: str | None = None,
    allowed: AllowedHosts | None = None,
    notify: ReportBytes = lambda done, total: None,
    timeout: float = 30.0,
    seconds: float = SECONDS,
) -> str:
    """Download a file to ``path``; returns its SHA-256, which is noted next to it.

    Arguments:
        sha256: the expected SHA-256, in place of the published one or the one pinned for this path.
        notify: called with the number of bytes received and the total, None if the server does not send it.
        timeout: seconds that the server may be silent.
        seconds: limit of the total time.

    Raises:
        UsageError: ``sha256`` is not a SHA-256.
        ElLarqError: the address or a redirect is not allowed, the file is not as expected, or the network failed. A partial
            download is kept only if the next call can resume it.
    """
    allowed = allowed or AllowedHosts()
    allowed.check(asset.address)
    wanted = expected(asset, path, sha256)
    make_folder(path.parent)
    partial = _Partial(path.with_name(f"{path.name}.partial"), asset.address)
    _download(_Source(asset, allowed, timeout, seconds), partial, notify)
    found = hash_file(partial.path)
    try:
        wanted.check(found, path.name)
    except ElLarqError:
        partial.remove()
        raise
    try:
        if asset.executable:
            partial.path.chmod(0o755)
        os.replace(partial.path, path)
    except OSError as error:
        raise ElLarqError(f"cannot write {path}: {error.strerror or error}") from error
    partial.remove()
    pin(path, found, asset, given=sha256 is not None)
    return found


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


def _download(source: _Source, partial: _Partial, notify: ReportBytes) -> None:
    have, etag = partial.resumable()
    request = urllib.request.Request(source.asset.address, headers={"User-Agent": "el-larq", "Accept-Encoding": "identity"})
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
                why = printable(_describe(error, source.asset))
                raise ElLarqError(f"{source.name}: the download failed ({why}){_finish_partial(partial)}") from error
            if error.code != 416 or not have:
                hint = f"; {source.asset.missing}" if error.code == 404 else ""
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


def _receive(response: Any, partial: _Partial, source: _Source, have: int, notify: ReportBytes) -> None:
    done, total = _check_response(response, source, have)
    if not done:
        partial.begin(response.headers.get("ETag", ""))
    try:
        file = open(partial.path, "ab" if done else "wb")  # noqa: SIM115  (it is closed below)
    except OSError as error:
        raise ElLarqError(f"cannot write {partial.path}: {error.strerror or error}") from error
    with file:
        done = _copy(response, file, done, total, notify, source)
    if not done:
        raise _RefusedError(f"{source.name}: the server sent an empty file; try again later")
    if total is not None and done != total:
        raise http.client.IncompleteRead(b"", total - done)


def _check_response(response: Any, source: _Source, have: int) -> tuple[int, int | None]:
    """The offset at which the response starts, and the total number of bytes, None if unknown until the end."""
    name = source.name
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
    if (total or 0) > source.asset.max_bytes:
        raise _RefusedError(f"{name}: {total} bytes are too many for {source.asset.kind}; nothing was downloaded")
    return have, total


def _copy(response: Any, file: IO[bytes], done: int, total: int | None, notify: ReportBytes, source: _Source) -> int:
    notify(done, total)
    while chunk := response.read1(_CHUNK):
        done += len(chunk)
        if done > (most := source.asset.max_bytes):
            raise _RefusedError(f"{source.name}: more than {most} bytes are too many for {source.asset.kind}; nothing was kept")
        try:
            file.write(chunk)
            file.flush()
        except OSError as error:
            raise ElLarqError(f"cannot write {file.name}: {error.strerror or error}") from error
        notify(done, total)
    return done


def _describe(error: Exception, asset: Asset) -> str:
    """Why a download failed, and the remedy if the host cannot be reached at all."""
    if isinstance(error, http.client.IncompleteRead):
        return "the connection ended too early"
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, OSError):
        # Among them: no such name, no route, connection refused, and the proxy's errors.
        reason = error.reason.strerror or str(error.reason) or type(error.reason).__name__
        return f"the host cannot be reached: {reason}; without a network, {asset.offline}"
    return summarize(error)
