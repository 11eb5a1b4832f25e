import os
import sys

import pytest

from el_larq.native_output import captured_stderr, cause


def test_what_any_language_prints_is_kept_aside(capfd: pytest.CaptureFixture[str]) -> None:
    with captured_stderr() as printed:
        os.write(2, b"from C\n")
        os.system("echo from a child >&2")
        assert printed() == "from C\nfrom a child\n"
    assert capfd.readouterr().err == ""
    os.write(2, b"again\n")
    assert capfd.readouterr().err == "again\n"


def test_the_stream_comes_back_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="inside"), captured_stderr():
        raise ValueError("inside")
    print("visible", file=sys.stderr, flush=True)
    assert capfd.readouterr().err == "visible\n"


def test_what_was_printed_can_be_read_while_the_error_is_handled() -> None:
    with captured_stderr() as printed:
        os.write(2, "reason: \xe9".encode("latin-1"))
        assert printed() == "reason: \ufffd"


def test_no_descriptor_is_left_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with captured_stderr():
            pass
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_cause_is_the_last_line_that_is_not_a_notice() -> None:
    text = "INFO: Created delegate\nerror: first\n  node 7 failed to prepare\n\nWARNING: old flag\n"
    assert cause(text) == ": node 7 failed to prepare"
    assert cause("INFO: nothing\n") == ""
    assert cause("") == ""
    assert len(cause("x" * 1000)) == 302
