"""Makes docs/api.md from the docstrings of the public names: python docs/api.py. Reads sources; imports none of them.

The public names are those of el_larq/__init__.pyi. The page has their signatures and docstrings as they are in the sources, and
those of this project's classes that the signatures name.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "api.md"

WIDTH = 100

_PLACES = {"el_larq.models": "models", "el_larq.converters": "converters"}
_SECTION = re.compile(r"(Arguments|Returns|Raises):")
_TERM = re.compile(r"([\w*][\w*, ]*): (.*)")

_ABOUT = """\
<!-- Made by `make docs` from docstrings: change those. -->

# Python API

`import el_larq` before TensorFlow: it selects Keras 2, which Larq needs. TensorFlow itself is imported when a name that needs it
is first used. The names on this page are the public ones; everything else may change without notice.

Errors that a user can fix are `el_larq.errors.ElLarqError`, with one line that says what is wrong and what to do; `UsageError`
is the kind for invalid arguments. Results have a `repr` of one line, and in a notebook a small table."""


@dataclass(frozen=True)
class Definition:
    """A function or class in the sources, with the names that its module imports: name -> module."""

    module: str
    node: ast.FunctionDef | ast.ClassDef
    imports: dict[str, str]

    @property
    def name(self) -> str:
        return self.node.name


def page() -> str:
    """The page, in Markdown."""
    public = [_find(module, name) for name, module in sorted(_imports(ROOT / "el_larq" / "__init__.pyi").items(), key=_order)]
    functions = [found for found in public if isinstance(found.node, ast.FunctionDef)]
    classes = [found for found in public if isinstance(found.node, ast.ClassDef)]
    others = [found for found in _mentioned(functions) if found.name not in {each.name for each in classes}]
    parts = [_ABOUT, "## Functions"]
    parts += [f"- [`{found.name}`](#{found.name.lower()}): {_summary(found)}" for found in functions]
    parts = [parts[0], parts[1], "\n".join(parts[2:])]
    for found in functions:
        parts += [f"### {found.name}", *_entry(found)]
    parts += ["## Classes"]
    for found in classes:
        parts += [f"### {found.name}", *_entry(found)]
    parts += [
        "## Arguments and results",
        "Classes that the functions above take or return. Their modules are given for type annotations.",
    ]
    for found in others:
        parts += [f"### {found.name}", f"`{found.module}.{found.name}`", *_entry(found)]
    return "\n\n".join(parts) + "\n"


def _order(item: tuple[str, str]) -> str:
    return item[0].lower()


def _file(module: str) -> Path:
    for prefix, folder in _PLACES.items():
        if module.startswith(prefix):
            module = folder + module.removeprefix(prefix)
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _imports(path: Path) -> dict[str, str]:
    tree = ast.parse(path.read_text("utf-8"))
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module)
    return {alias.asname or alias.name: str(node.module) for node in nodes for alias in node.names}


def _find(module: str, name: str) -> Definition:
    """A definition by name; of an overloaded function, the last one, which is the implementation."""
    path = _file(module)
    nodes = [
        node
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name
    ]
    if not nodes:
        raise LookupError(f"{path} does not define {name}")
    return Definition(module, nodes[-1], _imports(path))


def _mentioned(functions: list[Definition]) -> list[Definition]:
    """Classes of this project that the functions' signatures name, in the order of names."""
    found: dict[str, Definition] = {}
    for function in functions:
        assert isinstance(function.node, ast.FunctionDef)
        arguments = function.node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *filter(None, (arguments.vararg, arguments.kwarg))]
        for annotation in filter(None, (*(argument.annotation for argument in every), function.node.returns)):
            for name in _names(annotation):
                module = function.imports.get(name, function.module)
                if module.startswith("el_larq") and name in _classes(_file(module)):
                    found[name] = _find(module, name)
    return [found[name] for name in sorted(found, key=str.lower)]


def _names(annotation: ast.expr) -> Iterator[str]:
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"\w+", node.value)


def _classes(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.ClassDef)}


def _entry(found: Definition) -> Iterator[str]:
    """The parts of a definition's section below its heading."""
    if isinstance(found.node, ast.FunctionDef):
        yield _code(_signature(found.name, found.node.args, found.node.returns))
        yield _markdown(_docstring(found.node))
        return
    yield _code(_class_signature(found.node))
    yield _markdown(_docstring(found.node))
    for node in found.node.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and ast.get_docstring(node):
            yield f"**`{found.name}.{node.name}`**"
            if not any(ast.unparse(decorator) == "property" for decorator in node.decorator_list):
                yield _code(_signature(node.name, node.args, node.returns))
            yield _markdown(_docstring(node))


def _summary(found: Definition) -> str:
    """The first sentence of a docstring."""
    first = _docstring(found.node).partition("\n\n")[0].replace("\n", " ")
    return re.split(r"(?<=\.) ", first)[0]


def _docstring(node: ast.FunctionDef | ast.ClassDef) -> str:
    text = ast.get_docstring(node)
    if not text:
        raise LookupError(f"{node.name} has no docstring")
    return inspect.cleandoc(text)


def _signature(name: str, given: ast.arguments, returns: ast.expr | None) -> str:
    """A signature as in the sources, on one line or with one argument per line."""
    arguments = list(_arguments(given))
    end = ")" + (f" -> {ast.unparse(returns)}" if returns else "")
    line = f"{name}({', '.join(arguments)}{end}"
    if len(line) > WIDTH:
        line = "\n".join((f"{name}(", *(f"    {argument}," for argument in arguments), end))
    return line.replace("'", '"')


def _arguments(given: ast.arguments) -> Iterator[str]:
    """The arguments of a function except for self, with defaults, each as text."""
    plain = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(plain) - len(given.defaults)) + list(given.defaults)
    for argument, default in zip(plain, defaults, strict=True):
        if argument.arg not in ("self", "cls"):
            yield _argument(argument, default)
    if given.vararg:
        yield f"*{_argument(given.vararg, None)}"
    elif given.kwonlyargs:
        yield "*"
    for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield _argument(argument, default)
    if given.kwarg:
        yield f"**{_argument(given.kwarg, None)}"


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    return ast.unparse(argument) + (f" = {ast.unparse(default)}" if default is not None else "")


def _class_signature(node: ast.ClassDef) -> str:
    """A class with its constructor's arguments, or with its fields."""
    bases = f"({', '.join(map(ast.unparse, node.bases))})" if node.bases else ""
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            return _signature(node.name, member.args, None)
    fields = [ast.unparse(member) for member in node.body if isinstance(member, ast.AnnAssign)]
    fields = [field for field in fields if not field.startswith("_") and "ClassVar" not in field]
    return "\n".join((f"class {node.name}{bases}:", *(f"    {field}" for field in fields))).replace("'", '"')


def _code(text: str) -> str:
    return f"```python\n{text}\n```"


def _markdown(docstring: str) -> str:
    """A docstring in Markdown: its sections and its lines of "name: what it is" become lists; indented formulas remain code."""
    lines, listed = [], False
    for line in docstring.splitlines():
        text, indent = line.strip(), len(line) - len(line.lstrip())
        if _SECTION.fullmatch(line):
            lines += ["", f"**{text[:-1]}**", ""]
            listed = True
        elif (term := _TERM.fullmatch(text)) and (
            (indent == 4 and listed) or (indent == 0 and not listed and _starts(lines) and _is_name(term[1]))
        ):
            lines.append(f"- `{term[1]}`: {term[2]}")
        elif lines and lines[-1].startswith(("- ", "  ")) and text and indent:
            lines.append(f"  {text}")
        else:
            listed = listed and (indent > 0 or not text)
            lines.append(f"{text}" if listed else line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _starts(lines: list[str]) -> bool:
    """Whether a list may start or continue after these lines: not in the middle of a paragraph."""
    return not lines or not lines[-1] or lines[-1].startswith(("- ", "  "))


def _is_name(words: str) -> bool:
    """Whether a line's beginning names fields, rather than being a sentence with a colon."""
    return all(re.fullmatch(r"[a-z_][a-z_0-9]*", word) for word in words.split(", "))


if __name__ == "__main__":
    OUT.write_text(page(), "utf-8")
