"""Ends and mishaps of a training at a given moment, caused from outside: by its data, by signals, by the file system."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from el_larq.data.in_memory import InMemory

Event = Callable[[int], Any]


@dataclass(frozen=True, repr=False, kw_only=True)
class Watched(InMemory):
    """A data set that calls ``at_step`` with a step's number when that step of the training takes its batch, and ``at_validation``
    or ``at_test`` when an evaluation begins to read. If ``at_step`` returns images, the step gets these in place of its own.

    streams: the first steps of the training streams read so far. That number ``stream``, from 1, is the training's; others are a
        search's or a calibration's.
    """

    at_step: Event
    at_validation: Callable[[], Any]
    at_test: Callable[[], Any]
    streams: list[int]
    stream: int = 1

    def training_batches(self, batch_size: int, epochs: int, seed: int, start: int = 0, **options: Any) -> Any:
        stream = super().training_batches(batch_size, epochs, seed, start, **options)

        def watched() -> Iterator[Any]:
            self.streams.append(start)
            is_training = len(self.streams) == self.stream
            for step, (images, labels) in enumerate(stream, start + 1):
                other = self.at_step(step) if is_training else None
                yield images if other is None else other, labels

        return tf.data.Dataset.from_generator(watched, output_signature=stream.element_spec)

    def validation_batches(self, batch_size: int) -> Any:
        return _calling(self.at_validation, super().validation_batches(batch_size))

    def test_batches(self, batch_size: int) -> Any:
        return _calling(self.at_test, super().test_batches(batch_size))


def _calling(event: Callable[[], Any], stream: Any) -> Any:
    """The same batches; ``event`` is called before the first."""

    def watched() -> Iterator[Any]:
        event()
        yield from stream

    return stream and tf.data.Dataset.from_generator(watched, output_signature=stream.element_spec)


def _nothing(*_arguments: Any) -> None:
    pass


def watch(
    data: InMemory, at_step: Event = _nothing, at_validation: Callable[[], Any] = _nothing, at_test: Callable[[], Any] = _nothing
) -> Watched:
    """The same data, with these functions called while a training reads them."""
    given = {entry.name: getattr(data, entry.name) for entry in fields(InMemory)}
    return Watched(**given, at_step=at_step, at_validation=at_validation, at_test=at_test, streams=[])


def kill_at(data: InMemory, step: int, stream: int = 1) -> Watched:
    """The same data; the process ends in that step of a training stream, which raises KeyboardInterrupt.

    Of two signals, the second ends a training at once, and nothing more is written. Both are pending until the step is computed,
    so they are two different ones.
    """

    def die(at: int) -> None:
        if at == step:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)

    return replace(watch(data, die), stream=stream)


def when_renamed(patch: pytest.MonkeyPatch, name: str, call: int, action: Callable[[], None], after: bool) -> None:
    """Call ``action`` before or after a file gets its name ``name`` for that time: every file is written, then renamed."""
    real, calls = os.replace, [0]

    def renamed(source: Any, target: Any) -> None:
        calls[0] += Path(target).name == name
        here = Path(target).name == name and calls[0] == call
        if here and not after:
            action()
        real(source, target)
        if here and after:
            action()

    patch.setattr(os, "replace", renamed)
