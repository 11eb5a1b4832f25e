"""Larq Zoo's weights files on this machine: where they are, and how they get there.

A file that Larq Zoo publishes is recognized by its SHA-256. Any other file is accepted only with its own SHA-256, and only if its
layers are those of the network; this check imports TensorFlow, and nothing else here does.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from el_larq.downloads import download
from el_larq.downloads.asset import cache_folder, expected, hash_file, pin, pin_path, pinned_sha256, take
from el_larq.downloads.http_connection import AllowedHosts
from el_larq.errors import ElLarqError, UsageError
from el_larq.models.zoo.zoo_registry import PREFIX
from el_larq.zoo.published_files import WeightsFile, published_as, weights_file

SECONDS = 3600.0
"""Time limit of one download: enough for the largest file, 250 MB, at a hundred kilobytes per second."""


@dataclass(frozen=True)
class Weights:
    """A weights file in the cache.

    file: which one it is, or is used as.
    path: where it is.
    sha256: of its content.
    fresh: whether it has just been fetched.
    """

    file: WeightsFile
    path: Path
    sha256: str
    fresh: bool = False

    @property
    def published(self) -> bool:
        """Whether it is the file that Larq Zoo publishes."""
        return self.sha256 == self.file.sha256


def fetch_weights(
    network: str,
    *,
    top: bool = True,
    from_file: str | Path | None = None,
    sha256: str | None = None,
    allowed: AllowedHosts | None = None,
    notify: download.ReportBytes = lambda done, total: None,
    seconds: float = SECONDS,
) -> Weights:
    """Put the weights file of a network into the cache, unless it is there already.

    Arguments:
        network: its name, with or without "zoo:" in front.
        top: False fetches the file without the classifier.
        from_file: a copy of the file, instead of a download.
        sha256: the SHA-256 of a file that Larq Zoo does not publish, such as one of weights trained further. Its layers must be
            those of the network.
        notify: called with the number of bytes received and the total, None if the server does not send it.
        seconds: limit of the download's total time.

    Raises:
        UsageError: an unknown network, or ``sha256`` is not a SHA-256.
        ElLarqError: the file cannot be had or is not the expected one; nothing of it is kept, except a partial download that can be
            resumed.
    """
    file = weights_file(network, top=top)
    path = cached_path(file)
    wanted = expected(file.asset, path, sha256)
    found = _intact(file)
    if found is not None and found.sha256 == wanted.sha256:
        return found
    if from_file is not None and sha256 is None:
        _check_published(file, Path(from_file))
    ours = wanted.sha256 == file.sha256
    target = path if ours else path.with_name(f"given-{wanted.sha256[:16]}-{path.name}")
    if from_file is not None:
        found = take(file.asset, Path(from_file), target, sha256=sha256)
    else:
        found = download.fetch(file.asset, target, sha256=sha256, allowed=allowed, notify=notify, seconds=seconds)
    if not ours:
        _check_layers(file, target, str(from_file or file.asset.address))
        try:
            os.replace(target, path)
        except OSError as error:
            raise ElLarqError(f"cannot write {path}: {error.strerror or error}") from error
        pin(path, found, file.asset, given=True)
        pin_path(target).unlink(missing_ok=True)
    return Weights(file, path, found, fresh=True)


def cached_path(file: WeightsFile) -> Path:
    return cache_folder("zoo") / file.release / file.name


def find_weights(network: str, *, top: bool = True) -> Weights | None:
    """The weights file of a network if it is in the cache. Its content is not read.

    Raises:
        UsageError: there is no such network.
        ElLarqError: the note next to the file is damaged.
    """
    file = weights_file(network, top=top)
    path = cached_path(file)
    sha256 = pinned_sha256(path) if path.is_file() else None
    return None if sha256 is None else Weights(file, path, sha256)


def need_weights(network: str, *, top: bool = True) -> Weights:
    """The weights file of a network in the cache.

    Raises:
        UsageError: there is no such network.
        ElLarqError: the file is not there.
    """
    found = find_weights(network, top=top)
    if found is None:
        file = weights_file(network, top=top)
        name, option = file.network, "" if top else " --no-top"
        raise ElLarqError(
            f"{PREFIX}{name}: its weights are not on this machine; el-larq zoo fetch {name}{option} downloads them "
            f"(about {file.megabytes} MB)"
        )
    return found


def check_unchanged(weights: Weights) -> None:
    """Raise ElLarqError if the content of the file is not what was fetched."""
    if hash_file(weights.path) != weights.sha256:
        raise ElLarqError(
            f"{weights.path}: was changed after it was fetched; el-larq zoo fetch {weights.file.network} fetches it again"
        )


def _intact(file: WeightsFile) -> Weights | None:
    """The file in the cache, if it has the SHA-256 in the note next to it."""
    try:
        found = find_weights(file.network, top=file.top)
        if found is not None:
            check_unchanged(found)
        return found
    except ElLarqError:  # changed, or the note is damaged: fetching replaces both
        return None


def _check_published(file: WeightsFile, source: Path) -> None:
    """Raise an error that names a published file if ``source`` is another one than ``file``."""
    try:
        other = published_as(hash_file(source)) if source.is_file() else None
    except OSError as error:
        raise ElLarqError(f"{source}: {error.strerror or error}") from error
    if other is not None and other != file:
        without = "" if other.top else ", without the classifier"
        needed = file.name if other.release == file.release else f"{file.release}/{file.name}"
        raise UsageError(f"{source}: is Larq Zoo's {other.name} ({other.network}{without}); {PREFIX}{file.network} needs {needed}")


def _check_layers(file: WeightsFile, path: Path, source: str) -> None:
    """Remove the file at ``path``, and raise ElLarqError, if its layers are not those of the network."""
    from el_larq.loading.load import load_weights
    from el_larq.models.zoo.zoo_build import build_zoo

    try:
        load_weights(build_zoo(file.network, top=file.top), path)
    except ElLarqError as error:
        path.unlink(missing_ok=True)
        pin_path(path).unlink(missing_ok=True)
        raise ElLarqError(f"{str(error).replace(str(path), source)}; nothing was kept") from error
