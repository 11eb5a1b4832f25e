"""Installs a benchmark binary from a file, for machines without a network. Does not import TensorFlow."""

from dataclasses import dataclass
from pathlib import Path

from el_larq.devices import engine
from el_larq.downloads.asset import pinned_sha256, take
from el_larq.errors import ElLarqError, UsageError, unknown_name

_SIGNS = {
    b"use_reference_bconv": "LCE's option --use_reference_bconv",
    b"LceBconv2d": "LCE's operator LceBconv2d",
    b"num_runs": "the benchmark tool's option --num_runs",
}
"""Texts that LCE's benchmark tool contains: the names of its options and of its operators."""


@dataclass(frozen=True)
class Installed:
    """A benchmark binary in the cache. checked: what its SHA-256 was compared with."""

    kind: str
    tag: str
    path: Path
    sha256: str
    checked: str


def install(source: Path, *, kind: str | None = None, tag: str = engine.TAG, sha256: str | None = None) -> Installed:
    """Check a file and copy it to where `engine fetch` would have put it.

    Arguments:
        kind: one of `engine.ASSETS`; None infers it from the file's header and name.
        sha256: the expected sum; None compares with that of an earlier download, if there was one.

    Raises:
        UsageError: an unknown kind, not a release, or not a file.
        ElLarqError: it is not LCE's benchmark tool, is for another architecture, or has another SHA-256. Nothing is changed then.
    """
    tag = engine.check_tag(tag)
    if kind is not None and kind not in engine.ASSETS:
        raise unknown_name("benchmark binary", kind, engine.ASSETS)
    if not source.is_file():
        raise UsageError(f"{source}: {'not a file' if source.exists() else 'no such file'}; give a benchmark binary of LCE")
    found = _find_kind(source)
    if kind is None:
        kind = _choose(source, found)
    elif kind not in found:
        raise ElLarqError(f"{source} is {_describe(found)}, not {engine.ASSETS[kind]}; omit --kind, or give another file")
    _check_contents(source)
    path, asset = engine.cached_path(kind, tag), engine.release_asset(kind, tag)
    known = pinned_sha256(path) is not None
    taken = take(asset, source, path, sha256=sha256)
    checked = "as given with --sha256" if sha256 else "as pinned at an earlier download" if known else ""
    return Installed(kind, tag, path, taken, checked or "unknown: LCE publishes no checksums; pinned now")


def _find_kind(source: Path) -> tuple[str, ...]:
    """The kinds of which a file may be, by its header."""
    elf = engine.read_elf(source)
    if elf is None:
        raise ElLarqError(f"{source} is not a program (no ELF header); give a benchmark binary of LCE for ARM")
    android = "/system/" in elf.loader or "/apex/" in elf.loader
    kinds = {
        ("aarch64", 64): ("android_arm64",) if android else ("aarch64",) if elf.loader else ("aarch64", "android_arm64"),
        ("arm", 32): () if android else ("aarch32",),
    }.get((elf.machine, elf.bits), ())
    if not kinds:
        where = f"{elf.machine} ({elf.bits} bits{', Android' if android else ''})"
        raise ElLarqError(
            f"{source} is for {where}; LCE releases binaries for {', '.join(engine.ASSETS.values())}; use it with --binary PATH"
        )
    return kinds


def _choose(source: Path, kinds: tuple[str, ...]) -> str:
    """The only kind, or that in the file's name: a program without a loader may be for Linux or for Android."""
    named = [kind for kind in kinds if source.name == engine.asset_name(kind)]
    if len(kinds) > 1 and not named:
        raise UsageError(f"{source} may be for Linux or for Android; name it with --kind {' or --kind '.join(kinds)}")
    return (named or list(kinds))[0]


def _describe(kinds: tuple[str, ...]) -> str:
    return " or ".join(f"for {engine.ASSETS[kind]}" for kind in kinds)


def _check_contents(source: Path) -> None:
    """Raise ElLarqError unless the file contains what LCE's benchmark tool contains."""
    if source.stat().st_size > engine.MAX_BYTES:
        raise ElLarqError(f"{source}: {source.stat().st_size} bytes are too many for a benchmark binary")
    content = source.read_bytes()
    if lacking := [name for sign, name in _SIGNS.items() if sign not in content]:
        raise ElLarqError(f"{source} is not LCE's benchmark tool: it does not contain {lacking[0]}; nothing was installed")
