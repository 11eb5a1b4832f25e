"""The rules of ARCHITECTURE.md that a program can check."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

BASE = (
    "__init__",
    "_version",
    "by_name",
    "card",
    "conv",
    "errors",
    "figure_file",
    "files",
    "keras_internals",
    "missing_operators",
    "memory_limit",
    "model_files",
    "model_outputs",
    "native_output",
    "outputs",
    "own_folders",
    "printable",
    "published",
    "tables",
    "twins",
    "worker_process",
)
"""The top-level modules of el_larq: everything may import these."""

MAY_IMPORT = {
    "base": ("tflite",),
    "tflite": (),
    "compression": (),
    "quantizers": (),
    "layers": ("quantizers",),
    "links": ("layers", "quantizers"),
    "data": ("tflite", "layers", "quantizers"),
    "methods": ("links", "layers", "quantizers"),
    "detection": ("data",),
    "models": ("detection", "methods", "links", "data", "layers", "quantizers"),
    "loading": ("layers", "quantizers"),
    "counting": ("layers",),
    "downloads": (),
    "zoo": ("downloads", "models", "detection", "loading", "methods", "links", "data", "layers", "quantizers"),
}
"""Packages from the bottom up and what each may import in addition to itself and the base."""

_BELOW = (
    "zoo",
    "downloads",
    "models",
    "detection",
    "loading",
    "counting",
    "methods",
    "links",
    "data",
    "layers",
    "quantizers",
    "tflite",
    "compression",
)
_MIDDLE = ("devices", "training", "converters", "evaluation", "inspection", "doctor")
for _name in _MIDDLE:
    MAY_IMPORT[_name] = _BELOW  # and not each other
MAY_IMPORT["report"] = (*_MIDDLE, *_BELOW)
MAY_IMPORT["comparison"] = (*_MIDDLE, *_BELOW)
MAY_IMPORT["cli"] = ("report", "comparison", *_MIDDLE, *_BELOW)

EXCEPTIONS = {("el_larq.card", "el_larq.data.preprocessing")}
"""The card says how images are prepared."""

NO_REGISTRIES = ("pypi" + ".org", "pythonhosted" + ".org", "registry." + "npmjs.org", "conda" + ".anaconda.org")
"""Package indexes differ from place to place; their addresses are the installer's configuration."""

MAX_LINES = 500


@cache
def _tracked() -> list[Path]:
    """Files under version control, or that would be: what git does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in result.stdout.split("\0") if name and (ROOT / name).is_file()]


@cache
def _sources() -> dict[str, Path]:
    """Every module of the library by its installed name."""
    found = {}
    for folder, prefix in (("el_larq", "el_larq"), ("models", "el_larq.models"), ("converters", "el_larq.converters")):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = [prefix, *path.relative_to(ROOT / folder).with_suffix("").parts]
            found[".".join(part for part in parts if part != "__init__")] = path
    return found


@pytest.fixture(scope="module", autouse=True)
def _syntax_trees_are_forgotten() -> Iterator[None]:
    """They are a million objects, which each garbage collection of a later test would visit."""
    yield
    _tree.cache_clear()
    _nodes.cache_clear()


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@cache
def _nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(_tree(path)))


@cache
def _imports(path: Path) -> list[tuple[str, int]]:
    """Absolute names that a file imports anywhere, and the level of relative ones."""
    found = []
    for node in _nodes(path):
        if isinstance(node, ast.Import):
            found += [(alias.name, 0) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            found += [(name, node.level) for name in names]
    return found


def _layer(module: str) -> str | None:
    """The package of a module in MAY_IMPORT's words; None for what is not of this project."""
    parts = module.split(".")
    if parts[0] != "el_larq":
        return None
    if len(parts) == 1 or parts[1] not in MAY_IMPORT:
        return "base"
    return parts[1]


def _code() -> list[Path]:
    return [path for path in _tracked() if path.suffix == ".py"]


@pytest.mark.parametrize("module", sorted(_sources()))
def test_imports_point_one_way(module: str) -> None:
    own = _layer(module)
    assert own is not None
    for target, level in _imports(_sources()[module]):
        layer = _layer(target)
        if layer in (None, "base", own) or level:
            continue
        # `from el_larq.data import preprocessing` names the package first, then the module.
        if any(what.startswith(target) or target.startswith(what) for who, what in EXCEPTIONS if who == module):
            continue
        assert layer in MAY_IMPORT[own], f"{module} imports {target}, but {own} may not import {layer}; see MAY_IMPORT"


def test_classes_that_keras_stores_are_registered_by_importing_their_package() -> None:
    for module, path in _sources().items():
        registered = [
            node.name
            for node in _nodes(path)
            if isinstance(node, (ast.ClassDef, ast.FunctionDef))
            and any("register_keras_serializable" in ast.unparse(decorator) for decorator in node.decorator_list)
        ]
        package = module.rpartition(".")[0]
        if registered:
            assert package in ("el_larq.layers", "el_larq.quantizers"), (
                f"{registered} of {module} are in neither layers nor quantizers"
            )
            imported = {name for name, _level in _imports(_sources()[package])}
            missing = "otherwise, a new process cannot load saved models"
            assert module in imported, f"import {registered} in {path.with_name('__init__.py')}: {missing}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions and those for type checkers count too."""
    sources = _sources()
    imports = {module: {name for name, _ in _imports(path) if name in sources} - {module} for module, path in sources.items()}
    while free := {module for module, targets in imports.items() if not targets}:
        imports = {module: targets - free for module, targets in imports.items() if module not in free}
    assert imports == {}, "these modules import each other in a circle, or import one that does"


def test_models_from_files_are_loaded_through_one_module() -> None:
    for module, path in _sources().items():
        if _layer(module) != "loading":
            targets = {name for name, _ in _imports(path) if name.startswith("el_larq.loading")}
            allowed = ("el_larq.loading.load", "el_larq.loading.user_modules", "el_larq.loading.user_network")
            assert all(name.startswith(allowed) for name in targets), f"{module} imports {targets}"


def test_every_package_and_top_level_module_has_its_place() -> None:
    for module in _sources():
        parts = module.split(".")
        if len(parts) == 1 or parts[1] in MAY_IMPORT:
            continue
        assert len(parts) == 2, f"el_larq/{parts[1]} is a new package: say in MAY_IMPORT what it may import"
        assert parts[1] in BASE, f"el_larq/{parts[1]}.py is a new base module: list it in BASE"


def _repeated(names: list[str]) -> set[str]:
    return {name for name in names if names.count(name) > 1}


def test_modules_classes_and_aliases_have_names_of_their_own() -> None:
    """A command's module in el_larq/cli is named after the command, whatever else has that name."""
    sources = _sources()
    modules = [path.stem for module, path in sources.items() if _layer(module) != "cli"]
    assert _repeated([name for name in modules if name != "__init__"]) == set(), "two modules have this name: rename one"
    types = []
    for path in sources.values():
        types += [node.name for node in _nodes(path) if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
        types += [alias for node in _tree(path).body if isinstance(node, ast.Assign) for alias in _alias(node)]
    assert _repeated(types) == set(), "two classes or aliases have this name: rename one"


def _alias(node: ast.Assign) -> Iterator[str]:
    """The name that a line like ``ValidationRule = str | float`` gives to a type."""
    for target in node.targets:
        if isinstance(target, ast.Name) and re.fullmatch("[A-Z][A-Za-z]*[a-z][A-Za-z]*", target.id):
            yield target.id


def test_modules_of_this_project_that_are_named_exist() -> None:
    """In imports, and in strings as "module:function"."""
    sources = _sources()
    for path in _code():
        named = {node.module for node in _nodes(path) if isinstance(node, ast.ImportFrom)}
        named |= set(re.findall(r"[\"'](el_larq\.[a-z0-9_.]+):[a-z_]+[\"']", path.read_text("utf-8")))
        missing = {name for name in named if name is not None and name.startswith("el_larq.") and name not in sources}
        assert missing == set(), f"{path} names modules that do not exist"


KERAS_UNDOCUMENTED = {
    *("inbound_nodes", "outbound_nodes", "inbound_layers", "keras_inputs", "input_tensors"),
    *("compiled_loss", "compiled_metrics"),
}
"""Attributes of Keras' graphs and models that are private although no underscore says so."""

NOT_OF_KERAS = {
    *("_exit", "_replace", "_default_vspace", "_aggregate_grads", "_compute_var_opt_mapping", "_unique_id"),
    *("_FunctionConverterDataInEager", "_replace_variables_by_constants", "_construct_concrete_function"),
}
"""Private names of Python, TensorFlow and Larq."""


def _taken_attributes(nodes: list[ast.AST]) -> Iterator[str]:
    """Names of attributes that code takes from objects other than ``self`` and ``cls``, by a dot or by getattr and hasattr."""
    for node in nodes:
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) not in ("self", "cls"):
            yield node.attr
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr", "setattr"):
            yield from (str(argument.value) for argument in node.args[1:2] if isinstance(argument, ast.Constant))


@pytest.mark.parametrize("module", sorted(set(_sources()) - {"el_larq.keras_internals"}))
def test_private_interfaces_of_keras_are_touched_in_one_file(module: str) -> None:
    nodes = _nodes(_sources()[module])
    imported = {name for name, _ in _imports(_sources()[module])}
    assert not {name for name in imported if name.startswith(("tf_keras.src", "tf_keras.protobuf"))}
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    own |= {node.attr for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self"}
    taken = set(_taken_attributes(nodes)) - own
    private = {name for name in taken if name.startswith("_") and not name.startswith("__")} - NOT_OF_KERAS
    assert private | taken & KERAS_UNDOCUMENTED == set(), f"{module}: belongs to el_larq/keras_internals.py"


def test_imports_are_absolute_and_come_from_the_installed_namespace() -> None:
    for path in _code():
        for target, level in _imports(path):
            assert level == 0, f"{path} imports relatively"
            assert target.split(".")[0] not in ("models", "converters"), f"{path} imports {target}: it would load twice"


def test_pyproject_lists_exactly_the_packages_there_are() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {module for module, path in _sources().items() if path.name == "__init__.py"}
    assert set(tools["packages"]) == found, "list each package in pyproject.toml, under tool.setuptools"
    folders = {path.parent for path in _sources().values()}
    assert {folder for folder in folders if not (folder / "__init__.py").is_file()} == set(), "a package needs an __init__.py"


def test_no_file_contains_the_address_of_a_package_registry() -> None:
    for path in _tracked():
        content = path.read_bytes()
        if b"\0" in content:
            continue
        text = content.decode("utf-8", errors="replace").lower()
        for address in NO_REGISTRIES:
            assert address not in text, f"{path} contains {address}"


def test_no_python_file_is_too_long() -> None:
    long = {str(path): count for path in _code() if (count := len(path.read_text("utf-8").splitlines())) > MAX_LINES}
    assert long == {}, f"split files of more than {MAX_LINES} lines"


PRINTERS = {
    "el_larq.cli.common",
    "el_larq.cli.main",
    "el_larq.printable",
    "el_larq.converters.rules.rule_pages",
    "el_larq.methods.method_pages",
    "el_larq.devices.supervisor",
}
"""Modules that print, the last one to el-larq itself; others use `el_larq.cli.common`, which cleans what files say."""


def test_nothing_is_printed_past_the_functions_that_clean_it() -> None:
    found = set()
    for module, path in _sources().items():
        for node in _nodes(path):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "print",
                "click.echo",
                "click.secho",
                "sys.stdout.write",
                "sys.stderr.write",
            ):
                found.add(module)
    assert found <= PRINTERS, "print with show, say or print_table of el_larq/cli/common.py"


def _modules_after(code: str) -> set[str]:
    """Names of top-level modules that a fresh interpreter has imported when it exits, whatever ``code`` does."""
    report = "import atexit, sys; atexit.register(lambda: print('\\nMODULES', *{n.split('.')[0] for n in sys.modules}))\n"
    command = [sys.executable, "-c", report + code]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.rpartition("MODULES")[2].split())


HEAVY = {"tensorflow", "tensorflow_datasets", "tf_keras", "keras", "larq", "larq_compute_engine", "sklearn", "skimage"}


def test_importing_the_package_imports_no_tensorflow() -> None:
    assert not _modules_after("import el_larq") & HEAVY


def test_a_tflite_runs_without_tensorflow() -> None:
    """Of LCE, only the compiled interpreter is imported, without its package."""
    code = (
        "import sys; from pathlib import Path; import numpy as np; from el_larq.tflite.interpreter import Interpreter\n"
        f"interpreter = Interpreter(Path({str(ROOT / 'tests' / 'data' / 't1.tflite')!r}).read_bytes())\n"
        "interpreter.run(interpreter.random_inputs(np.random.default_rng(0)))\n"
        "assert 'larq_compute_engine' not in sys.modules"
    )
    assert not _modules_after(code) & (HEAVY - {"larq_compute_engine"})


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["train", "--help"],
        ["compare", "--help"],
        ["convert", "--help"],
        ["predict", "--help"],
        ["data", "show", "--help"],
        ["inspect", "--help"],
        ["inspect", str(ROOT / "tests" / "data" / "t1.tflite")],
        ["evaluate", "--help"],
        ["export-weights", "--help"],
        ["doctor", "--help"],
        ["benchmark", "--help"],
        ["engine", "fetch", "--help"],
        ["zoo", "--help"],
        ["zoo", "fetch", "--help"],
        ["zoo", "list"],
        ["report", "--help"],
        ["demo", "--help"],
        *(["list", kind] for kind in ("networks", "zoo", "methods", "links", "recipes", "datasets", "targets")),
    ],
    ids=" ".join,
)
def test_questions_are_answered_without_tensorflow(arguments: list[str]) -> None:
    assert not _modules_after(f"from el_larq.cli.main import main; main({arguments!r})") & HEAVY
