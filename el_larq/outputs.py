"""Where results may be written: never over a file that a command reads, nor over a file of another kind.

Every command and function that writes to a path given by the user calls `check_output` or `check_folder` before any work. Whether
an existing file may be replaced is checked again right before it is.
"""

import os
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from el_larq.errors import ElLarqError, UsageError
from el_larq.files import check_writable

_HEAD = 4096
"""Number of bytes at the start of a file that are read to find out what kind it is."""


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    name: with its article, for messages. suffixes: in lower case. matches: whether an open file is of this kind.
    exact: the suffix must be in lower case, because commands recognize such files by it.
    """

    name: str
    suffixes: tuple[str, ...]
    matches: Callable[[IO[bytes]], bool]
    exact: bool = False

    def names(self, path: Path) -> bool:
        return (path.suffix if self.exact else path.suffix.lower()) in self.suffixes

    def check_replaceable(self, path: Path) -> None:
        """Raise UsageError if ``path`` is a file of another kind. An empty file may be replaced."""
        try:
            with open(path, "rb", opener=_without_waiting) as file:
                if os.fstat(file.fileno()).st_size and not self.matches(file):
                    raise UsageError(f"cannot write {path}: the file there is not {self.name}; remove it or choose another name")
        except FileNotFoundError:
            return
        except OSError as error:
            raise ElLarqError(f"cannot write {path}: the file there cannot be read ({error.strerror or error})") from error


def _without_waiting(path: str, flags: int) -> int:
    """Open without blocking, even if there is a pipe at ``path``."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _starts_with(*starts: bytes, at: int = 0) -> Callable[[IO[bytes]], bool]:
    return lambda file: file.read(_HEAD)[at:].startswith(starts)


def _root_is(*roots: bytes) -> Callable[[IO[bytes]], bool]:
    """Whether a markup language's first element or document type is one of ``roots``."""

    def matches(file: IO[bytes]) -> bool:
        text = file.read(_HEAD).removeprefix(b"\xef\xbb\xbf").lstrip().lower()
        while text.startswith((b"<?", b"<!--")):
            text = text.partition(b"?>" if text.startswith(b"<?") else b"-->")[2].lstrip()
        return text.startswith(roots)

    return matches


def _holds_weights(file: IO[bytes]) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return "meta.npy" in archive.namelist()
    except Exception:  # zipfile raises several kinds of errors for damaged files
        return False


TFLITE = Kind("a TFLite model", (".tflite",), _starts_with(b"TFL3", at=4), exact=True)
WEIGHTS = Kind("a file of exported weights", (".npz",), _holds_weights, exact=True)
HTML = Kind("an HTML page", (".html", ".htm"), _root_is(b"<!doctype html", b"<html"))
SVG = Kind("an SVG picture", (".svg",), _root_is(b"<!doctype svg", b"<svg"))
PNG = Kind("a PNG picture", (".png",), _starts_with(b"\x89PNG\r\n\x1a\n"))
JPEG = Kind("a JPEG picture", (".jpg", ".jpeg"), _starts_with(b"\xff\xd8\xff"))
PDF = Kind("a PDF document", (".pdf",), _starts_with(b"%PDF-"))
EVALUATION = Kind("the report of an evaluation", (".json",), lambda file: b'"el_larq"' in file.read(_HEAD))

Inputs = Iterable[str | os.PathLike[str]]


def check_output(path: str | os.PathLike[str], *kinds: Kind, inputs: Inputs = ()) -> Kind:
    """Raise if a file of one of ``kinds`` must not or cannot be written at ``path``; returns the kind that its suffix says.

    Arguments:
        inputs: files and folders that are read. The output must not be one of them, not even under another name or through a
            link, and must not be inside one of the folders.

    Raises:
        UsageError: the output is an input, has the extension of another kind, or would replace a file of another kind.
        ElLarqError: nothing can be written there.
    """
    path = Path(path)
    _check_apart(path, inputs)
    check_writable(path)
    kind = next((kind for kind in kinds if kind.names(path)), None)
    if kind is None:
        *most, last = (suffix for kind in kinds for suffix in kind.suffixes)
        raise UsageError(f"cannot write to {path}: its name must end in {', '.join(most)}{' or ' if most else ''}{last}")
    kind.check_replaceable(path)
    return kind


def check_folder(path: str | os.PathLike[str], inputs: Inputs = ()) -> None:
    """Raise UsageError if ``path`` cannot be a folder for results: it is not a folder, is an input, or is inside one."""
    path = Path(path)
    _check_apart(path, inputs)
    if path.exists() and not path.is_dir():
        raise UsageError(f"cannot write to {path}: it is not a folder; choose another name")


def _check_apart(path: Path, inputs: Inputs) -> None:
    # A link's target, for a folder, and the link's own place, for a file that replaces it.
    places = (Path(os.path.realpath(path)), Path(os.path.realpath(path.parent)) / path.name)
    folders = {folder for place in places for folder in (place, *place.parents)}
    for entry in map(Path, inputs):
        if _same(path, entry):
            raise UsageError(f"cannot write to {path}: it is the input {entry}; choose another name")
        if entry.is_dir() and any(_same(folder, entry) for folder in folders):
            raise UsageError(f"cannot write to {path}: it lies in {entry}, which is read; choose a place outside it")


def _same(one: Path, other: Path) -> bool:
    """Ask the system, since hard links, mounts and case-insensitive file systems give one file several names."""
    try:
        return one.samefile(other)
    except OSError:
        return False
