"""The limited process, and LCE's interpreter in it."""

import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from el_larq import memory_limit, worker_process
from el_larq.errors import ElLarqError
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.limited_interpreter import LimitedInterpreter
from el_larq.worker_process import Died, WorkerProcess

DATA = Path(__file__).parent / "data"


def test_calls_return_and_errors_pass() -> None:
    with WorkerProcess() as process:
        assert process.call(math.sqrt, 9.0) == 3.0
        with pytest.raises(ElLarqError, match="unexpected ValueError: math domain error"):
            process.call(math.sqrt, -1.0)
        with pytest.raises(Died, match=r"gave no answer for 0\.3 seconds and was stopped"):
            process.call(time.sleep, 60, seconds=0.3)
        with pytest.raises(Died):
            process.call(math.sqrt, 9.0)
    assert not process.process.is_alive()


def test_the_error_of_a_killed_process_names_the_signal() -> None:
    with WorkerProcess() as process, pytest.raises(Died, match="died by SIGABRT"):
        process.call(os.abort)
    with WorkerProcess() as process, pytest.raises(Died, match="ended with status 3"):
        process.call(os._exit, 3)


def test_a_script_needs_no_main_guard_and_runs_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import math\n"
        "from el_larq.worker_process import WorkerProcess\n"
        "print('once')\n"
        "with WorkerProcess() as process:\n"
        "    print(process.call(math.sqrt, 9.0))\n"
    )
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=100, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "once\n3.0\n", "")


def test_memory_is_limited_from_then_on() -> None:
    with WorkerProcess() as process:
        assert len(process.call(bytes, 10**8)) == 10**8
        process.call(memory_limit.limit_memory, 10**7)
        with pytest.raises(ElLarqError, match="needs more memory than the limit"):
            process.call(bytes, 10**8)
        assert process.call(math.sqrt, 4.0) == 2.0


def test_notices_arrive_before_the_result() -> None:
    heard: list[tuple[object, ...]] = []
    with WorkerProcess() as process:
        process.send(worker_process.notify, "half", 2)
        assert process.receive(30, lambda *content: heard.append(content)) is None
    assert heard == [("half", 2)]


def test_a_file_that_crashes_lce_is_one_line_and_the_sound_one_computes_the_same(one_line: object) -> None:
    content = (DATA / "t1.tflite").read_bytes()
    image = np.random.default_rng(0).standard_normal((1, 32, 32, 3)).astype(np.float32)
    with LimitedInterpreter(content, source="t1.tflite") as interpreter:
        assert interpreter.input_shape == (32, 32, 3)
        np.testing.assert_array_equal(interpreter.run(image)[0], Interpreter(content).run(image)[0])
    hostile = content[:3992] + bytes([127]) + content[3993:]
    with LimitedInterpreter(hostile, source="hostile.tflite") as interpreter, pytest.raises(ElLarqError) as caught:
        interpreter.run(image)
    assert str(caught.value).startswith("hostile.tflite: the process that ran it died by SIGSEGV: the file is damaged or malicious")
    assert "--trust to run it without limits" in str(caught.value)
    assert callable(one_line)
    one_line(caught.value)


def test_a_process_ends_when_its_parent_is_killed_during_a_call(tmp_path: Path) -> None:
    (tmp_path / "slow_calls.py").write_text(
        "import pathlib, time\n"
        "def finish(path):\n"
        "    print('started', flush=True)\n"
        "    time.sleep(20)\n"
        "    pathlib.Path(path).touch()\n"
    )
    script, finished = tmp_path / "parent.py", tmp_path / "finished"
    script.write_text(
        "import sys\n"
        "from slow_calls import finish\n"
        "from el_larq.worker_process import WorkerProcess\n"
        "WorkerProcess().call(finish, sys.argv[1])\n"
    )
    with subprocess.Popen([sys.executable, script, finished], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "started\n"
        parent.kill()
        parent.stdout.read()  # which ends with the last process that has it open
    assert not finished.exists()
