"""Explains why a run on a device failed, from the log, the exit status and the messages of the device's shell."""

import signal

from el_larq.devices.benchmark_log import BenchmarkLog
from el_larq.devices.process import Completed
from el_larq.devices.program import BENCHMARK, Program
from el_larq.devices.target import last_line

_FORMAT = ("Exec format error", "cannot execute binary file", "not executable: ", "syntax error")


def explain(log: BenchmarkLog, done: Completed) -> str:
    """Cause and remedy in one clause."""
    if log.errors:
        return log.reason
    return explain_end(done, BENCHMARK) or f"{log.reason} (status {done.status}); the run is not recorded; try again"


def explain_end(done: Completed, program: Program) -> str:
    """Cause and remedy in one clause, from how a program ended; "" if that says nothing."""
    output = done.stderr + done.stdout
    if "No space left on device" in output:
        return f"no space left on the device while {program.running} ran; free some, or choose another directory with --folder"
    if any(sign in output for sign in _FORMAT):
        return f"the device cannot execute {program.binary}: it is for another architecture; give one that fits with --binary"
    if done.status == 127 or "required file not found" in output:
        return (
            f"{program.binary} does not start ({last_line(output) or 'no reason given'}): it is for another system, or its "
            "loader or a library is missing on the device; give one that fits with --binary"
        )
    if done.status == 126:
        return f"the device may not execute {program.binary} ({last_line(output)}); choose another directory with --folder"
    if done.status == 97:
        return "another program removed the private folder on the device; try again"
    number = done.status - 128 if 128 < done.status < 192 else -done.status if done.status < 0 else 0
    if number:
        return _signal(number, program)
    return ""


def _signal(number: int, program: Program) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    meanings = {
        "SIGKILL": f"{program.running} was killed; if the device ran out of memory, end other programs on it",
        "SIGILL": f"the processor does not support an instruction of {program.binary}; give one that fits with --binary",
        "SIGSEGV": f"{program.binary} crashed; the model may be damaged or converted for another version of LCE",
        "SIGBUS": f"{program.binary} crashed on a truncated file; check that the device's disk is not full",
        "SIGABRT": f"{program.binary} aborted; the model may be damaged or converted for another version of LCE",
    }
    return f"{meanings.get(name, f'{program.running} was stopped; try again')} ({name})"
