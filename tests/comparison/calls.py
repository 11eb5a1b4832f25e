"""Functions that the tests' worker processes run."""

import os
import signal
import time

from el_larq.errors import ElLarqError


def double(value: int) -> int:
    return 2 * value


def process(_argument: object) -> int:
    return os.getpid()


def refuse(reason: str) -> None:
    raise ElLarqError(reason)


def stumble(_argument: object) -> None:
    raise ValueError("two\nlines")


def crash(_argument: object) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def sleep(_argument: object) -> None:
    time.sleep(600)
