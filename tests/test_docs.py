"""Every `el-larq` command in docs/*.md and README.md: its arguments fit, and where no device is needed, it runs.

A page's own Python scripts run where its commands say `python NAME.py`; `stand_in.py` of a page takes the place of the network.
"""

import importlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import click
import pytest

from el_larq.cli.main import COMMANDS, cli
from el_larq.training.recipe_file import find_recipe, is_file

ROOT = Path(__file__).parents[1]
PAGES = sorted(ROOT.glob("docs/*.md"))

_SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SOURCE = re.compile(r"^```(?:python|yaml) (\S+\.(?:py|yaml))\n(.*?)^```", re.MULTILINE | re.DOTALL)

# What a test can spend: one epoch for each stage, and the commands that do not state epochs train a tiny network.
_SHORT = ["--epochs", "1", "--width", "0.125", "--dataset", "digits", "--batch-size", "64"]


STAND_IN = "stand_in.py"


def _lines(page: Path) -> list[list[str]]:
    """The words of each command in a page's shell blocks, lines that go on joined."""
    lines = [line for block in _SHELL.findall(page.read_text("utf-8")) for line in block.replace("\\\n", " ").splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def _commands(page: Path) -> list[list[str]]:
    """Arguments of each el-larq command in a page's shell blocks."""
    return [words[1:] for words in _lines(page) if words[0] == "el-larq"]


def _needs_more_than_this_machine(arguments: list[str], scripts: list[str]) -> bool:
    """A device, the network, a file of the reader's own, or hours of training."""
    text = " ".join(arguments)
    far = "--target" in arguments and arguments[arguments.index("--target") + 1] != "local"
    missing = ("my_data", "/path/", "|", *(() if STAND_IN in scripts else ("zoo:",)))
    return far or arguments[0] in ("engine", "demo", "compare") or any(word in text for word in missing)


ALL = [(page, arguments) for page in [*PAGES, ROOT / "README.md"] for arguments in _commands(page)]


@pytest.mark.parametrize(("page", "arguments"), ALL, ids=[f"{page.name}: {' '.join(arguments)}" for page, arguments in ALL])
def test_arguments_of_documented_commands_fit(page: Path, arguments: list[str]) -> None:
    name = arguments[0]
    assert name in COMMANDS, page
    command = importlib.import_module(f"el_larq.cli.{name.replace('-', '_')}").command
    alternatives = [word.split("|") for word in arguments if "|" in word]
    for index in range(max(map(len, alternatives), default=1)):
        given = [word.split("|")[min(index, word.count("|"))] for word in arguments[1:]]
        command.make_context(name, given, parent=click.Context(cli, info_name="el-larq"))


@pytest.fixture(scope="session")
def any_run(el_larq_command: Callable[..., CompletedProcess[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder for commands that take a model which the page has not trained."""
    folder = tmp_path_factory.mktemp("docs") / "run"
    made = el_larq_command("train", "resnet26", *_SHORT, "-o", folder, timeout=600)
    assert made.returncode == 0, made.stderr
    return folder


def _number_of_stages(arguments: list[str], folder: Path) -> int:
    recipe = arguments[arguments.index("--recipe") + 1] if "--recipe" in arguments else "standard"
    return len(find_recipe(folder / recipe if is_file(recipe) else recipe).stages)


def _shortened(arguments: list[str], folder: Path) -> list[str]:
    if arguments[0] != "train" or "--resume" in arguments:
        return arguments
    if stages := _number_of_stages(arguments, folder):
        return [*arguments, "--epochs", str(stages)]
    return [*arguments, *(_SHORT[:2] if "--epochs" in arguments else _SHORT)]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_documented_commands_run(
    page: Path,
    el_larq_command: Callable[..., CompletedProcess[str]],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scripts = []
    for name, source in _SOURCE.findall(page.read_text("utf-8")):
        (tmp_path / name).write_text(source)
        scripts.append(name)
    if STAND_IN in scripts:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for program, *arguments in _lines(page):
        if program == "python" and arguments[:1] and arguments[0] in scripts:
            subprocess.run([sys.executable, *arguments], cwd=tmp_path, check=True, timeout=300)
        if program != "el-larq" or _needs_more_than_this_machine(arguments, scripts):
            continue
        model = next((word for word in arguments[1:] if word.endswith((".h5", ".keras"))), None)
        if model is not None and not (tmp_path / model).exists():
            shutil.copytree(request.getfixturevalue("any_run"), tmp_path / Path(model).parent)
        result = el_larq_command(*_shortened(arguments, tmp_path), cwd=tmp_path, timeout=600)
        assert result.returncode == 0, f"{page.name}: el-larq {' '.join(arguments)}: {result.stderr}"
