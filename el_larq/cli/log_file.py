"""The file of `--log`."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from el_larq.errors import ElLarqError, UsageError
from el_larq.printable import printable, say
from el_larq.training.run_options import Notify, ignore


@contextmanager
def messages(log: Path | None, quiet: bool) -> Iterator[Notify]:
    """A function for messages: it prints them on stderr unless ``quiet``, and appends them with the time to ``log``, if given.

    An error that ends the command is appended too.

    Raises:
        UsageError: the file cannot be opened.
    """
    show = ignore if quiet else say
    if log is None:
        yield show
        return
    try:
        file = log.open("a", encoding="utf-8", buffering=1)
    except OSError as error:
        raise UsageError(f"--log: cannot write {log}: {error.strerror or error}; name another file") from error

    def both(line: object) -> None:
        show(str(line))
        file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {printable(line)}\n")

    with file:
        try:
            yield both
        except ElLarqError as error:
            file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} error: {printable(error)}\n")
            raise
