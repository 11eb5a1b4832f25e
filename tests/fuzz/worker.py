"""A process that runs commands of el-larq one after another, under a limit of memory.

Starting TensorFlow for each of a thousand commands would take hours. Commands come as JSON lines on standard input (a list of
arguments each); an answer is a JSON line on the standard output that the process began with.
"""

import json
import logging
import os
import resource
import sys
import time
import warnings
from pathlib import Path

from alarm import Alarm


def read_status(field: str) -> int:
    """A field of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1])
    return 0


def run(arguments: list[str], store: Path, alarm: Alarm) -> dict[str, object]:
    from el_larq.cli.main import main

    alarm.take_alarms()  # those of the start
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    out, err = os.dup(1), os.dup(2)
    files = [os.open(store / name, os.O_RDWR | os.O_CREAT | os.O_TRUNC) for name in ("stdout", "stderr")]
    os.dup2(files[0], 1)
    os.dup2(files[1], 2)
    start = time.monotonic()
    try:
        main(arguments)
        code = None
    except SystemExit as end:
        code = end.code
    except BaseException as error:
        code = f"{type(error).__name__}: {error}"
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        seconds = time.monotonic() - start
        os.dup2(out, 1)
        os.dup2(err, 2)
        for file in (out, err, *files):
            os.close(file)
    texts = {name: (store / name).read_text(errors="replace")[-4000:] for name in ("stdout", "stderr")}
    children = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    size = {"peak": max(read_status("VmHWM"), children), "size": read_status("VmSize")}
    return {"status": code, "seconds": seconds, "alarms": alarm.take_alarms(), **size, **texts}


def serve(store: Path, limit: int, watched: Path) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    sys.path.insert(0, os.getcwd())  # a module here can be imported by name
    import el_larq.loading.load  # noqa: F401  (whose imports start programs)

    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of many functions in one process
    alarm = Alarm(watched)
    for line in sys.stdin:
        answers.write(json.dumps(run(json.loads(line), store, alarm)) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
