"""What a user can state about a model whose file does not contain it: the preprocessing of images, and the names of the classes.

`Statements` describes each.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

from el_larq import card
from el_larq.data.preprocessing import Preprocessing
from el_larq.errors import UsageError
from el_larq.files import parse_json, read_bytes

ChannelValues = float | tuple[float, ...]

OPTIONS = "--range LOW,HIGH (inputs for black and white) or --mean and --std (of 0 to 255), and --channel-order if it is bgr"


class Statements(TypedDict, total=False):
    """Keyword arguments that state what a model's file does not say; None is the same as leaving one out.

    mean, std: inputs are (x - mean) / std for x from 0 to 255: one number, or one per channel. The default of mean is 0, that of
        std is 1.
    range: (LOW, HIGH): inputs go linearly from LOW for 0 to HIGH for 255; in place of mean and std.
    channel_order: "rgb" or "bgr": the order of the input channels, and of a mean and std per channel.
    labels: names of the classes in the order of the outputs, or a file of them: one per line, or a JSON list.
    """

    mean: ChannelValues | None
    std: ChannelValues | None
    range: tuple[float, float] | None
    channel_order: str | None
    labels: Sequence[str] | str | os.PathLike[str] | None


@dataclass(frozen=True)
class Stated:
    """Statements that were checked; None means not stated.

    scaling: mean and std.
    """

    scaling: tuple[ChannelValues, ChannelValues] | None = None
    channel_order: str | None = None
    labels: tuple[str, ...] | None = None

    def onto(
        self, model_card: card.Card, input_shape: tuple[int, ...], source: str, stretch: bool = False
    ) -> tuple[card.Card, tuple[str, ...]]:
        """A model's card with the statements added, which take precedence, and one line for each that contradicts the card.

        Arguments:
            input_shape: of one image.
            source: the model's name in messages.
            stretch: whether the model takes whole images, as detectors do, if its card does not say how they are prepared.

        Raises:
            UsageError: the statements do not fit the model, or are not sufficient.
            ElLarqError: the card is damaged.
        """
        result, notes = dict(model_card), []
        if self.scaling is not None or self.channel_order is not None:
            found = card.preprocessing(model_card, source)
            how = self._preprocessing(found, input_shape, source, stretch)
            result["preprocessing"] = how.to_dict()
            if found is not None and how != found:
                notes.append(f"{source}: inputs are {describe(how)}, as stated; its card says {describe(found)}")
        if self.labels is not None:
            result["labels"] = list(self.labels)
            if model_card.get("labels") not in (None, result["labels"]):
                notes.append(f"{source}: classes are named as stated; its card has other labels")
        return result, tuple(notes)

    def _preprocessing(self, found: Preprocessing | None, shape: tuple[int, ...], source: str, stretch: bool) -> Preprocessing:
        if found is None:
            if self.scaling is None:
                raise UsageError(f"{source}: its file does not say how inputs are scaled; give --range, or --mean and --std, too")
            if len(shape) != 3 or not all(shape):
                raise UsageError(f"{source}: takes inputs of shape {shape}, which are not images of one size")
        order = self.channel_order or (found.channel_order if found else "rgb")
        try:
            if self.scaling is not None:
                mean, std = self.scaling
                base = found or Preprocessing(height=shape[0], width=shape[1], channels=shape[2], stretch=stretch)
                return replace(base, mean=mean, std=std, channel_order=order)
            assert found is not None
            return found if order == found.channel_order else _reversed(found, order)
        except ValueError as error:
            raise UsageError(f"{source}: {error}") from error


def stated(
    *,
    mean: ChannelValues | None = None,
    std: ChannelValues | None = None,
    range: tuple[float, float] | None = None,
    channel_order: str | None = None,
    labels: Sequence[str] | str | os.PathLike[str] | None = None,
) -> Stated:
    """The statements, checked as far as possible without the model.

    Raises:
        UsageError: they contradict each other or are invalid.
        ElLarqError: the file of labels cannot be read.
    """
    if channel_order not in (None, "rgb", "bgr"):
        raise UsageError(f"the channel order must be rgb or bgr; got {channel_order!r}")
    if isinstance(labels, (str, os.PathLike)):
        labels = read_labels(labels)
    return Stated(_scaling(mean, std, range), channel_order, None if labels is None else tuple(labels))


def _scaling(
    mean: ChannelValues | None, std: ChannelValues | None, limits: tuple[float, float] | None
) -> tuple[ChannelValues, ChannelValues] | None:
    if limits is not None:
        if mean is not None or std is not None:
            raise UsageError("--range replaces --mean and --std; give either --range or those")
        low, high = limits
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise UsageError(f"--range takes two numbers, the lower one first; got {low:g},{high:g}")
        # (x - mean) / std is low for 0 and high for 255.
        return -low * 255 / (high - low) + 0.0, 255 / (high - low)
    if mean is None and std is None:
        return None
    scaling = 0.0 if mean is None else mean, 1.0 if std is None else std
    channels = max((len(value) for value in scaling if isinstance(value, tuple)), default=1)
    try:
        Preprocessing(1, 1, channels, *scaling)
    except ValueError as error:
        raise UsageError(f"--mean and --std: {error}") from error
    return scaling


def read_labels(path: str | os.PathLike[str]) -> list[str]:
    """Read class names from a file: one per line, or a JSON list.

    Raises:
        ElLarqError: the file cannot be read.
        UsageError: its content is neither.
    """
    try:
        text = read_bytes(path, card.MAX_BYTES).decode("utf-8-sig").strip()
        names = parse_json(text) if text.startswith("[") else [line.strip() for line in text.splitlines()]
    except ValueError as error:
        raise UsageError(f"{path}: not UTF-8 text with one label per line, nor a JSON list") from error
    if not names or not all(isinstance(name, str) and name for name in names):
        raise UsageError(f"{path}: each label must be a name; give one per line without empty lines, or a JSON list")
    return names


def _reversed(how: Preprocessing, order: str) -> Preprocessing:
    """The same preprocessing for the other channel order: each colour keeps its mean and std."""
    mean, std = (value[::-1] if isinstance(value, tuple) else value for value in (how.mean, how.std))
    return replace(how, mean=mean, std=std, channel_order=order)


def describe(how: Preprocessing) -> str:
    """How an image's values become inputs, as a formula in words."""
    order = ", channels in the order BGR" if how.channel_order == "bgr" else ""
    if how.mean is None or how.std is None:
        return f"standardized by each image's own mean and std{order}"
    return f"(x - {_numbers(how.mean)}) / {_numbers(how.std)} for x from 0 to 255{order}"


def _numbers(value: ChannelValues) -> str:
    return f"({', '.join(f'{number:g}' for number in value)})" if isinstance(value, tuple) else f"{value:g}"
