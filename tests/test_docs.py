"""Every `el-larq` command in docs/*.md, docs/methods and README.md: its arguments fit.

Where no device is needed, those of docs/*.md run and print what the page shows (`documented.py` says what is compared). A page's
own Python scripts run where its commands say `python NAME.py`; `stand_in.py` of a page takes the place of the network.
"""

import contextlib
import importlib
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from subprocess import CompletedProcess

import click
import pytest
from documented import Example, difference, read_page
from shortened import shorten

from el_larq.cli.main import COMMANDS, cli
from el_larq.training.recipe_file import find_recipe, is_file

ROOT = Path(__file__).parents[1]
PAGES = sorted(ROOT.glob("docs/*.md"))
ALL_PAGES = [*PAGES, ROOT / "README.md", *sorted(ROOT.glob("docs/methods/*.md"))]

_SOURCE = re.compile(r"^```(?:python|yaml) (\S+\.(?:py|yaml))\n(.*?)^```", re.MULTILINE | re.DOTALL)

# What a test can spend: one epoch for each stage, and the commands that do not state epochs train a tiny network.
_SHORT = ["--epochs", "1", "--width", "0.125", "--dataset", "digits", "--batch-size", "64"]

# Here they train networks of a few blocks, so only numbers of bits are compared.
_FEW_BLOCKS = ("own_data.md", "recipes.md", "training.md")

STAND_IN = "stand_in.py"

_TOOLS = ("mkdir", "cp", "truncate")

_NO_WEIGHTS = "weights that cannot be downloaded here; first_hour.md has the same commands with a network in their place"

NOT_COMPARED = {
    "README.md": {"mobilenet, width 0.25, on photos": "takes minutes; tests/cli/test_demo.py"},
    "docs/comparison.md": {"training resnet26 with method float": "takes minutes; tests/comparison/test_float_twin.py"},
    "docs/converting.md": {
        "warning: downloaded.h5: its file does not say": "a model of others; tests/evaluation/test_strangers.py"
    },
    "docs/devices.md": {
        "/root/.cache/el-larq/engine/": "a program for ARM; tests/cli/test_engine_command.py",
        "el-larq: /bin/ls is for x86_64": "depends on the processor; tests/cli/test_engine_command.py",
        "pictures/0.png": "a device",
    },
    "docs/distributed.md": {"strategy multi-worker: 2 replicas": "two machines; tests/training/test_multi_worker.py"},
    "docs/imagenet.md": {"JPEG of 92 kB": "a measurement"},
    "docs/recipes.md": {
        "el-larq: unknown field in my_recipe.yaml": "a message that the text quotes; tests/training/test_recipe.py"
    },
    "docs/training.md": {"training resnet26 with method el, link elastic, on photos": "Ctrl-C; tests/cli/test_train_command.py"},
    "docs/zoo.md": {"/tmp/cache/el-larq/zoo": _NO_WEIGHTS, "cat.jpg": _NO_WEIGHTS, "load": _NO_WEIGHTS, "file": _NO_WEIGHTS},
}
"""The beginnings of outputs that no test compares with what is printed, by page, each with the reason."""


def _scripts(page: Path) -> dict[str, str]:
    """The page's own files: Python for its commands to run, and recipes."""
    return dict(_SOURCE.findall(page.read_text("utf-8")))


def _runs_here(words: Sequence[str], scripts: Collection[str]) -> bool:
    """False for what needs a device, the network, a file of the reader's own, or hours of training."""
    if words[0] == "python":
        return words[1] in scripts
    if words[0] != "el-larq":
        return words[0] in _TOOLS
    text = " ".join(words)
    far = words[1:3] == ("zoo", "fetch") or ("--target" in words and words[words.index("--target") + 1] != "local")
    missing = [] if STAND_IN in scripts else ["zoo:"]
    missing += [] if "make_my_data.py" in scripts else ["my_data"]
    return not far and words[1] not in ("engine", "demo", "compare") and not any(word in text for word in ["/path/", "|", *missing])


ALL = [
    (page, command[1:])
    for page in ALL_PAGES
    for example in read_page(page).examples
    for command in example.commands
    if command[0] == "el-larq"
]


@pytest.mark.parametrize(("page", "arguments"), ALL, ids=[f"{page.name}: {' '.join(arguments)}" for page, arguments in ALL])
def test_arguments_of_documented_commands_fit(page: Path, arguments: tuple[str, ...]) -> None:
    name = arguments[0]
    assert name in COMMANDS, page
    command = importlib.import_module(f"el_larq.cli.{name.replace('-', '_')}").command
    alternatives = [word.split("|") for word in arguments if "|" in word]
    for index in range(max(map(len, alternatives), default=1)):
        given = [word.split("|")[min(index, word.count("|"))] for word in arguments[1:]]
        command.make_context(name, given, parent=click.Context(cli, info_name="el-larq"))


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_each_output_is_compared_or_there_is_a_reason(page: Path) -> None:
    content, scripts = read_page(page), _scripts(page)
    elsewhere = [one for one in content.examples if one.output and not all(_runs_here(words, scripts) for words in one.commands)]
    first = [lines[0] for lines in [*(one.output for one in elsewhere if one.output), *content.unknown]]
    reasons = NOT_COMPARED.get(page.relative_to(ROOT).as_posix(), {})
    assert [f"{page.name}, line {line.number}" for line in first if not line.text.startswith(tuple(reasons))] == []
    assert [start for start in reasons if not any(line.text.startswith(start) for line in first)] == []


def _number_of_stages(arguments: Sequence[str]) -> int:
    recipe = arguments[arguments.index("--recipe") + 1] if "--recipe" in arguments else "standard"
    return len(find_recipe(Path(recipe) if is_file(recipe) else recipe).stages)


def _shortened(arguments: list[str]) -> list[str]:
    if arguments[0] == "convert":
        fewer = ["--calibration-images", "32"] if "--calibrate" in arguments else []
        return [*arguments, *fewer] if "--verify-images" in arguments else [*arguments, *fewer, "--verify-images", "32"]
    if arguments[0] == "quantize":
        return [*arguments, "--calibration-images", "32"]
    if arguments[0] != "train" or "--resume" in arguments:
        return arguments
    if stages := _number_of_stages(arguments):
        return [*arguments, "--epochs", str(stages)]
    as_stated = {"--epochs", "--config", "--init-from"} & {*arguments} or arguments[1].startswith("zoo:")
    return [*arguments, *(_SHORT[:2] if as_stated else _SHORT)]


_DIGITS = ("train", "resnet26", "--dataset", "digits", "--width", "0.25", "--epochs", "3", "-o", "digits-el")
"""The training that several pages start from, some without showing it."""


@pytest.fixture(scope="session")
def digits_el(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first page that needs it leaves that run, and `printed`, what was printed."""
    return tmp_path_factory.mktemp("docs")


@dataclass
class _Reader:
    """Runs a page's commands in the current folder, those of el-larq in this process, which saves their import of TensorFlow."""

    page: Path
    el_larq_here: Callable[..., CompletedProcess[str]]
    digits_el: Path
    printed: dict[tuple[str, ...], str] = field(default_factory=dict)

    def follow(self, example: Example) -> str:
        """What the commands of ``example`` print. A command that the page has twice, to show more of its output, runs once."""
        for words in example.commands:
            if words not in self.printed:
                self.printed[words] = self._run(words, _is_error(example))
        return "".join(self.printed[words] for words in example.commands)

    def _run(self, words: tuple[str, ...], fails: bool) -> str:
        program, *arguments = words
        if program == "python":
            runpy.run_path(arguments[0])
            return ""
        if program != "el-larq":
            subprocess.run(words, check=True)
            return ""
        if words[1:] == _DIGITS and self.page.name not in _FEW_BLOCKS:
            return self._train_digits(Path("digits-el"))
        model = next((Path(word) for word in arguments if word.endswith((".h5", ".keras"))), None)
        if model is not None and not model.exists() and not fails:
            self._train_digits(model.parent)
        return self._el_larq(_shortened(arguments), fails)

    def _train_digits(self, folder: Path) -> str:
        kept = self.digits_el / "printed"
        if not kept.exists():
            text = self._el_larq(_shortened([*_DIGITS[:-1], str(self.digits_el / "digits-el")]), fails=False)
            kept.write_text(text)
        shutil.copytree(self.digits_el / "digits-el", folder)
        return kept.read_text()

    def _el_larq(self, arguments: list[str], fails: bool) -> str:
        import tf_keras as keras

        keras.backend.clear_session()  # a process of its own would number its layers from 1
        os.dup2(1, 2)  # results and messages in one stream, in the order in which a terminal shows them
        with contextlib.redirect_stderr(sys.stdout):
            result = self.el_larq_here(*arguments)
        assert (result.returncode != 0) == fails, f"{self.page.name}: el-larq {' '.join(arguments)}: {result.stdout}"
        return result.stdout


def _is_error(example: Example) -> bool:
    return bool(example.output) and example.output[-1].text.startswith(("el-larq: ", '{"error"'))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_documented_commands_print_what_the_page_says(
    page: Path,
    el_larq_here: Callable[..., CompletedProcess[str]],
    digits_el: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if page.name in _FEW_BLOCKS:
        for network in ("resnet18", "resnet26"):
            shorten(monkeypatch, network)
    scripts = _scripts(page)
    for name, source in scripts.items():
        Path(name).write_text(source)
    reader = _Reader(page, el_larq_here, digits_el)
    problems = []
    for example in read_page(page).examples:
        there = [words for words in example.commands if _runs_here(words, scripts)]
        printed = reader.follow(replace(example, commands=tuple(there)))
        if example.output and len(there) == len(example.commands):
            problem = difference(example.output, printed, numbers=page.name not in _FEW_BLOCKS)
            problems += [f"{page.name}, {problem}"] if problem else []
    assert not problems, "\n".join(problems)
