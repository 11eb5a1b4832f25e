"""Checks of the versions of Python and the installed packages against those that the tests ran with."""

import importlib.metadata
import platform
import sys
from collections.abc import Callable

from el_larq._version import VERSION
from el_larq.doctor.check import NOTE, OK, PROBLEM, Check

PYTHONS = ((3, 11), (3, 12))

TESTED = {
    "tensorflow": "2.21.0",
    "tf-keras": "2.21.0",
    "larq": "0.14.0",
    "larq-compute-engine": "0.16.0",
    "numpy": "1.26.4",
    "h5py": "3.14.0",
    "flatbuffers": "25.12.19",
    "click": "8.5.1",
    "rich": "15.0.0",
    "pillow": "13.0.0",
    "matplotlib": "3.11.2",
    "scikit-learn": "1.9.1",
    "scikit-image": "0.26.0",
    "jinja2": "3.1.6",
    "pyyaml": "6.0.4",
    "tensorboard": "2.21.0",
    "tensorflow-datasets": "4.9.10",
    "importlib-resources": "7.1.0",
}
"""The dependencies in pyproject.toml, in the versions of requirements/lock.txt; tests compare them."""

HEAVY = (
    "tensorflow",
    "tf-keras",
    "larq",
    "larq-compute-engine",
    "h5py",
    "tensorboard",
    "tensorflow-datasets",
    "importlib-resources",
)
"""Packages that training and conversion need, for which there are no compatible wheels on Linux for ARM."""

_LIMITS = {"numpy": ((1, 26), (2,)), "tensorflow": ((2, 16), (2, 22)), "tf-keras": ((2, 16), (2, 22)), "larq": ((0, 14), (0, 15))}
"""The lowest supported version and the first unsupported one; NumPy's are due to Larq."""


def installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def checks(find: Callable[[str], str | None] = installed) -> list[Check]:
    """Checks of Python and each package; ``find`` returns the version of a package, or None if it is missing."""
    found = [Check("versions", "el-larq", OK, VERSION), _python()]
    found += [_package(name, find(name), tested) for name, tested in TESTED.items()]
    tensorflow, keras = find("tensorflow"), find("tf-keras")
    if tensorflow and keras and _numbers(tensorflow)[:2] != _numbers(keras)[:2]:
        remedy = f"pip install tf-keras=={'.'.join(map(str, _numbers(tensorflow)[:2]))}.*"
        found.append(
            Check(
                "versions",
                "tensorflow with tf-keras",
                PROBLEM,
                f"{tensorflow} with {keras}; their minor versions must match",
                remedy,
            )
        )
    return found


def _python() -> Check:
    version = platform.python_version()
    if sys.version_info[:2] in PYTHONS:
        return Check("versions", "python", OK, version)
    return Check("versions", "python", PROBLEM, f"{version}; LCE has wheels for 3.11 and 3.12", "make install PYTHON=python3.11")


def _package(name: str, version: str | None, tested: str) -> Check:
    if version is None:
        if name in HEAVY and platform.system() == "Linux" and platform.machine() != "x86_64":
            return Check(
                "versions",
                name,
                NOTE,
                f"not installed; it has no wheels for Linux on {platform.machine()}",
                "train and convert on x86-64, macOS or Windows; benchmark, inspect and report work here",
            )
        needed_by = "train, convert and evaluate need it" if name in HEAVY else "some commands need it"
        return Check("versions", name, PROBLEM, f"not installed; {needed_by}", f"pip install '{name}=={tested}'")
    low, high = _LIMITS.get(name, ((0,), (10**6,)))
    if not low <= _numbers(version) < high:
        wanted = f">={'.'.join(map(str, low))},<{'.'.join(map(str, high))}"
        return Check("versions", name, PROBLEM, f"{version}; el-larq needs {wanted}", f"pip install '{name}{wanted}'")
    if version == tested:
        return Check("versions", name, OK, version)
    return Check("versions", name, NOTE, f"{version}; tested with {tested}", f"pip install '{name}=={tested}' if something fails")


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: 2.21.0rc1 gives (2, 21)."""
    numbers = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)
