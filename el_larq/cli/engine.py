"""`el-larq engine`."""

import sys
from pathlib import Path

import click

from el_larq.cli.common import common_options, download_progress, print_json, say, show
from el_larq.cli.interruption import interruptible


@click.group()
def command() -> None:
    """Download, install and test the benchmark binary of Larq Compute Engine. All take --json and -v, --verbose."""


@command.command()
@click.argument("kinds", nargs=-1)
@click.option("--tag", help="LCE release, such as v0.16.0. [default: the release of the converter]")
@click.option("--sha256", help="Expected SHA-256 of the file. [default: pinned at the first download]")
@click.option("--timeout", type=click.FloatRange(1), default=600, show_default=True, help="Time limit of one download, in seconds.")
@common_options
def fetch(kinds: tuple[str, ...], tag: str | None, sha256: str | None, timeout: float, as_json: bool) -> None:
    """Download LCE's released benchmark binaries: aarch64, aarch32, android_arm64. Without KINDS, download all."""
    from el_larq.devices import engine
    from el_larq.downloads import download
    from el_larq.downloads.asset import pinned_sha256
    from el_larq.errors import UsageError, unknown_name

    for kind in kinds:
        if kind not in engine.ASSETS:
            raise unknown_name("benchmark binary", kind, engine.ASSETS)
    wanted = kinds or tuple(engine.ASSETS)
    if sha256 is not None and len(wanted) != 1:
        raise UsageError("--sha256 applies to one file; name its kind")
    tag = engine.check_tag(tag or engine.TAG)
    fetched = []
    for kind in wanted:
        path, asset = engine.cached_path(kind, tag), engine.release_asset(kind, tag)
        known = pinned_sha256(path)
        with interruptible():
            found = download.fetch(asset, path, sha256=sha256, notify=download_progress(kind), seconds=timeout)
        how = "as given with --sha256" if sha256 else "as pinned" if known else "pinned now, on first use"
        fetched.append({"kind": kind, "tag": tag, "path": str(path), "sha256": found, "checked": how})
        if not as_json:
            show(path)
            show(f"  sha256 {found} ({how})")
    if as_json:
        print_json(fetched)


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--kind", help="aarch64, aarch32 or android_arm64. [default: by the file's header]")
@click.option("--tag", help="LCE release that the file is from. [default: the release of the converter]")
@click.option("--sha256", help="Expected SHA-256 of the file. [default: that of an earlier download, if any]")
@common_options
def install(file: Path, kind: str | None, tag: str | None, sha256: str | None, as_json: bool) -> None:
    """Install a benchmark binary from FILE, downloaded on another machine.

    Checks that it is LCE's benchmark tool, for which devices it is, and its SHA-256.
    """
    from dataclasses import asdict

    from el_larq.devices import engine, engine_install

    installed = engine_install.install(file, kind=kind, tag=tag or engine.TAG, sha256=sha256)
    if as_json:
        print_json({**asdict(installed), "path": str(installed.path)})
        return
    show(f"{installed.path}: {installed.kind}, {engine.ASSETS[installed.kind]}, LCE {installed.tag}")
    show(f"  sha256 {installed.sha256} ({installed.checked})")


@command.command()
@click.argument("target")
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="A .tflite with binary convolutions. [default: a small one, built with TensorFlow]",
)
@click.option("--binary", type=click.Path(path_type=Path), help="Benchmark binary to use instead of the downloaded one.")
@click.option("--repeat", type=click.IntRange(1), default=3, show_default=True, help="Number of runs with each kernel.")
@click.option("--folder", help="Directory on the device for temporary files. [default: chosen automatically]")
@click.option("--ssh-config", type=click.Path(path_type=Path), help="ssh configuration file. [default: ~/.ssh/config]")
@common_options
def check(
    target: str, model: Path | None, binary: Path | None, repeat: int, folder: str | None, ssh_config: Path | None, as_json: bool
) -> None:
    """Test whether the benchmark binary on TARGET silently runs LCE's slow reference kernel, and whether it contains BITCAST."""
    import tempfile

    from el_larq.devices import engine_check
    from el_larq.devices.targets import open_target

    device_target = open_target(target, ssh_config=ssh_config)
    with interruptible(), tempfile.TemporaryDirectory() as temporary:
        if model is None:
            from el_larq.cli.common import start_tensorflow

            start_tensorflow()
            model = engine_check.build_model(Path(temporary) / "binary_convolutions.tflite")
        verdict = engine_check.check(device_target, model, binary=binary, repeat=repeat, folder=folder, notify=say)
    if as_json:
        print_json(verdict.to_dict())
    else:
        show(verdict.sentence)
        show(verdict.about_views)
    if verdict.kernel == "reference":
        sys.exit(1)
