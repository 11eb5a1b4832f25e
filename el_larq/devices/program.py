"""The programs that run on a device, as messages name them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    """running: it while it runs; binary: its file; kind: what the file is one of; source: where to get one, as a clause.

    released: whether `el-larq engine fetch` downloads it.
    """

    running: str
    binary: str
    kind: str
    source: str
    released: bool


BENCHMARK = Program(
    "the benchmark", "the benchmark binary", "a benchmark binary", "el-larq engine fetch downloads LCE's", released=True
)
CLASSIFIER = Program(
    "the program", "the program", "the program classify", "docs/embed says how to build it for a device", released=False
)
