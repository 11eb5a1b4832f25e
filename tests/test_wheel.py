"""What `pip install` of a wheel leaves on a machine: everything that the commands need, and nothing of the checkout."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

NEEDED = (
    "el_larq/py.typed",
    "el_larq/__init__.pyi",
    "el_larq/report/page.html",
    "el_larq/zoo/imagenet_classes.txt",
    "el_larq/models/network_registry.py",
    "el_larq/converters/pipeline.py",
    *(f"el_larq/devices/scripts/{path.name}" for path in sorted((ROOT / "el_larq" / "devices" / "scripts").glob("*.*"))),
)


def run(*command: object, cwd: Path, timeout: float = 300) -> str:
    """The output of a command whose Python sees neither the checkout nor this environment's variables."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_", "COVERAGE"))}
    words = list(map(str, command))
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network from the files that git tracks or would track."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, found.stdout.split("\0")):
        if (
            name.startswith(("el_larq/", "models/", "converters/", "pyproject.toml", "README.md", "LICENSE"))
            and (ROOT / name).is_file()
        ):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", out, source, cwd=out)
    (built,) = out.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_has_every_module_and_every_file_that_is_read(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert set(NEEDED) <= names
    for folder, prefix in (("el_larq", "el_larq"), ("models", "el_larq/models"), ("converters", "el_larq/converters")):
        for path in (ROOT / folder).rglob("*.py"):
            assert f"{prefix}/{path.relative_to(ROOT / folder).as_posix()}" in names
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"el_larq"}


@pytest.mark.slow
def test_the_installed_wheel_trains_and_converts_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    environment, work = tmp_path / "venv", tmp_path / "work"
    work.mkdir()
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=tmp_path)
    program = environment / "bin"
    python = program / "python"
    libraries = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])", cwd=work).strip())
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=work)
    # Dependencies are those of this environment. A folder named in a .pth file is only appended to the path: .pth files inside it
    # are not executed, so the editable installation is not seen.
    (libraries / "dependencies.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n")

    where = run(
        python, "-c", "import el_larq, el_larq.models, el_larq.converters as c; print(el_larq.__file__, c.__file__)", cwd=work
    )
    assert all(Path(file).is_relative_to(libraries) for file in where.split())
    version = run(program / "el-larq", "--version", cwd=work)
    assert wheel.name.split("-")[1] in version
    assert "resnet26" in run(program / "el-larq", "list", "networks", cwd=work)
    tiny = ("--dataset", "digits", "--width", "0.125", "--epochs", "1", "--batch-size", "64", "--out", "run")
    run(program / "el-larq", "train", "resnet18", *tiny, cwd=work)
    run(program / "el-larq", "convert", "run/model.h5", "-o", "model.tflite", cwd=work)
    predicted = run(program / "el-larq", "inspect", "model.tflite", cwd=work)
    assert "MACs" in predicted
    assert (work / "model.tflite").stat().st_size > 10_000
