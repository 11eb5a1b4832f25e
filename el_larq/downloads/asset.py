"""Files that can be downloaded, and the note next to each one that is here. Does not import TensorFlow."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from el_larq.errors import ElLarqError, UsageError
from el_larq.files import atomic_path, write_json

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Asset:
    """A file that can be downloaded.

    address: its https address.
    kind: what it is, for messages: "a benchmark binary".
    max_bytes: no such file is larger.
    sha256: the published SHA-256; None if none is published: the first download then pins the one it finds.
    published_by: who publishes the SHA-256, for messages.
    missing: what to do if the server does not have it.
    executable: whether it is a program.
    offline: how to use a copy of the file on a machine without a network, for messages.
    """

    address: str
    kind: str
    max_bytes: int
    missing: str
    sha256: str | None = None
    published_by: str = ""
    executable: bool = False
    offline: str = "give a copy of the file with --from-file"


@dataclass(frozen=True)
class Expected:
    """A SHA-256 in lower case, and who states it, for messages. "" if any is accepted."""

    sha256: str
    stated_by: str

    def check(self, found: str, name: str) -> None:
        """Raise ElLarqError unless ``found`` is as expected. ``name``: of the file in the message."""
        if self.sha256 and found != self.sha256:
            raise ElLarqError(
                f"{name}: its SHA-256 is {found}, but {self.stated_by} says {self.sha256}; it was not kept. "
                "If the file was replaced on purpose, give the new SHA-256 with --sha256"
            )


def cache_folder(part: str) -> Path:
    """The folder for downloads of one kind, such as "engine"."""
    base = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("LOCALAPPDATA") if os.name == "nt" else None)
    return (Path(base) if base else Path.home() / ".cache") / "el-larq" / part


def expected(asset: Asset, path: Path, given: str | None) -> Expected:
    """The SHA-256 that a file must have to be kept at ``path``: the given, else the published, else the pinned one.

    Raises:
        UsageError: the given one is not a SHA-256.
        ElLarqError: the pin is damaged.
    """
    if given is not None:
        wanted = given.strip().lower()
        if len(wanted) != 64 or set(wanted) - set("0123456789abcdef"):
            raise UsageError(f"{given!r} is not a SHA-256; give 64 hexadecimal digits")
        return Expected(wanted, "--sha256")
    if asset.sha256 is not None:
        return Expected(asset.sha256, asset.published_by)
    return Expected(pinned_sha256(path) or "", f"the pin in {pin_path(path)}")


def take(asset: Asset, source: Path, path: Path, *, sha256: str | None = None) -> str:
    """Copy a file that was downloaded elsewhere to ``path``, as if it had been downloaded; returns its SHA-256.

    Raises:
        UsageError: ``sha256`` is not a SHA-256.
        ElLarqError: the file cannot be read, is too large, or does not have the expected SHA-256. Nothing is kept then.
    """
    wanted = expected(asset, path, sha256)
    make_folder(path.parent)
    try:
        with open(source, "rb") as file, atomic_path(path) as temporary:
            size = os.fstat(file.fileno()).st_size
            if size > asset.max_bytes:
                raise ElLarqError(f"{source}: {size} bytes are too many for {asset.kind}; nothing was kept")
            found = _copy(file, temporary, asset, str(source))
            wanted.check(found, str(source))
            if asset.executable:
                temporary.chmod(0o755)
    except OSError as error:
        raise ElLarqError(f"{error.filename or source}: {error.strerror or error}") from error
    pin(path, found, asset, given=sha256 is not None)
    return found


def _copy(file, temporary: Path, asset: Asset, name: str) -> str:
    done, digest = 0, hashlib.sha256()
    with open(temporary, "wb") as target:
        while chunk := file.read(_CHUNK):
            done += len(chunk)
            if done > asset.max_bytes:  # a device or a pipe has no size
                raise ElLarqError(f"{name}: more than {asset.max_bytes} bytes are too many for {asset.kind}; nothing was kept")
            digest.update(chunk)
            target.write(chunk)
    return digest.hexdigest()


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ElLarqError(f"cannot write {folder}: {error.strerror or error}") from error


def hash_file(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pin(path: Path, sha256: str, asset: Asset, *, given: bool) -> None:
    """Note the SHA-256 of the file that is now at ``path``. ``given``: it is the one that the user stated."""
    write_json(pin_path(path), {"sha256": sha256, "address": asset.address, "given": given})


def pinned_sha256(path: Path) -> str | None:
    """The SHA-256 noted for ``path``; None before the first download.

    Raises:
        ElLarqError: the note is damaged.
    """
    try:
        content = json.loads(pin_path(path).read_text("utf-8"))
        return str(content["sha256"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ElLarqError(f"the pin {pin_path(path)} is damaged; remove it to download the file again") from error


def pin_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.pin.json")
