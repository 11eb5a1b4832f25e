"""Requests to stop, in a process by itself and in one with a parent."""

import signal

import pytest

from el_larq import worker_process
from el_larq.training.stopping import stoppable


def test_a_second_signal_interrupts_at_once() -> None:
    with stoppable() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_one_signal_to_a_process_and_its_parent_is_one_request(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process gets it twice: from the system, and as SIGTERM from its parent."""
    monkeypatch.setattr(worker_process, "_channel", object())
    with stoppable() as stop:
        signal.raise_signal(number)
        signal.raise_signal(signal.SIGTERM)
        assert stop.asked
