"""From an image file or array to a network's input, in the same way for training, prediction and verification."""

import functools
import io
import math
import os
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from el_larq.data.missing_rows import JPEG, lacks_rows
from el_larq.errors import ElLarqError, summarize

# Larger images are refused before they are decoded: a few kilobytes can declare gigabytes.
MAX_PIXELS = 100_000_000
MAX_SIDE = 8192

# Prevents division by zero for uniform images; in units of 8-bit grey levels.
MIN_STD = 1.0

# A large JPEG is decoded at a half, a quarter or an eighth of its size if the result is at least this many times the needed size.
SPARE = 2

Box = tuple[float, float, float, float]
"""A rectangular part of an image in pixels: left, top, right, bottom."""

_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF", "DIB", "ICO", "JPEG2000", "PCX", "QOI", "SGI", "TGA")

_ORIENTATION = 0x0112  # the EXIF tag with which cameras specify the rotation of a picture


@dataclass(frozen=True)
class Preprocessing:
    """How an 8-bit image becomes a float32 input of shape (height, width, channels).

    mean, std: the input is (x - mean) / std for x in the 8-bit range 0 to 255; one number each, or one per channel. If both are
        None, each image's own are used, so that brightness and contrast carry no information.
    crop: the fraction, in each direction, that is kept of the largest centred part with the input's aspect ratio; 0.875 is the
        usual "resize to 256, centre crop of 224".
    channel_order: "rgb" or "bgr", the order of the input's channels; a mean and std per channel are in this order.
    resampling: "bilinear" or "bicubic", both with antialiasing.
    stretch: the whole image is scaled to the input, whatever its aspect ratio, as detectors take it. ``crop`` is then 1.
    """

    height: int
    width: int
    channels: int
    mean: float | tuple[float, ...] | None = None
    std: float | tuple[float, ...] | None = None
    crop: float = 1.0
    channel_order: str = "rgb"
    resampling: str = "bilinear"
    stretch: bool = False

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            value = getattr(self, name)
            if not isinstance(value, int) or not 0 < value <= MAX_SIDE:
                raise ValueError(f"{name} must be an integer from 1 to {MAX_SIDE}; got {value!r}")
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3; got {self.channels!r}")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std must be given together")
        for value in (*self._each(self.mean), *self._each(self.std)):
            if not (isinstance(value, (int, float)) and math.isfinite(value)):
                raise ValueError(f"mean and std must be finite numbers; got {value!r}")
        if any(value <= 0 for value in self._each(self.std)):
            raise ValueError(f"std must be positive; got {self.std!r}")
        if not isinstance(self.crop, (int, float)) or not 0 < self.crop <= 1:
            raise ValueError(f"crop must be above 0 and at most 1; got {self.crop!r}")
        if self.channel_order not in ("rgb", "bgr"):
            raise ValueError(f"channel_order must be rgb or bgr; got {self.channel_order!r}")
        if self.channel_order == "bgr" and self.channels != 3:
            raise ValueError(f"channel_order bgr needs 3 channels; got {self.channels}")
        if not isinstance(self.stretch, bool) or (self.stretch and self.crop != 1):
            raise ValueError(f"stretch must be true or false, and true only without a crop; got {self.stretch!r}")
        if self.resampling not in _RESAMPLING:
            raise ValueError(f"resampling must be {' or '.join(_RESAMPLING)}; got {self.resampling!r}")

    def _each(self, value: float | tuple[float, ...] | None) -> tuple[float, ...]:
        if value is None:
            return ()
        if not isinstance(value, tuple):
            return (value,)
        if len(value) != self.channels:
            raise ValueError(f"mean and std must be one number, or one per channel ({self.channels}); got {value!r}")
        return value

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return self.height, self.width, self.channels

    def decodes_like(self, other: "Preprocessing") -> bool:
        """Whether `open` gives the same image for both."""
        return (self.channels, self._least_side) == (other.channels, other._least_side)

    @property
    def _least_side(self) -> int:
        """A JPEG may be decoded at a fraction of its size whose sides are at least this many pixels."""
        return math.ceil(SPARE * max(self.width, self.height) / self.crop)

    def scale(self, images: np.ndarray) -> np.ndarray:
        """Scale uint8 images (N, H, W, C), in RGB order if there are 3 channels, to float32 of the same shape."""
        x = self._ordered(images.astype(np.float32))
        if self.mean is None or self.std is None:
            mean = x.mean(axis=(1, 2, 3), keepdims=True)
            std = np.maximum(x.std(axis=(1, 2, 3), keepdims=True), MIN_STD)
            return (x - mean) / std
        return (x - _float32(self.mean)) / _float32(self.std)

    def _ordered(self, images: np.ndarray) -> np.ndarray:
        """Convert from RGB to the input's channel order."""
        return images[..., ::-1] if self.channel_order == "bgr" else images

    def load(self, path: str | os.PathLike[str]) -> np.ndarray:
        """Load an image file as float32 (height, width, channels): cropped to the input's aspect ratio, resized and scaled."""
        return self.scale(self.pixels(self.open(path))[None])[0]

    def open(self, path: str | os.PathLike[str], content: bytes | None = None) -> Image.Image:
        """Decode an image file, or ``content`` if given, with this preprocessing's channels and no larger than useful."""
        return open_image(path, content, self._least_side).convert("L" if self.channels == 1 else "RGB")

    def pixels(self, image: Image.Image) -> np.ndarray:
        """Crop and resize an image from `open` to uint8 (height, width, channels)."""
        return self.resize(image, self.centre(image.width, image.height, self.crop))

    def centre(self, width: int, height: int, share: float = 1.0) -> Box:
        """The largest centred part of an image of ``width`` x ``height`` that has this input's aspect ratio.

        share: the fraction of that part to keep in each direction. The result is always within the image; with ``stretch``, it is
            the image.
        """
        if self.stretch:
            return 0, 0, width, height
        scale = min(width / self.width, height / self.height) * share
        # Rounding may make a side 1e-14 longer than the image's, which Pillow refuses.
        part_width, part_height = min(self.width * scale, width), min(self.height * scale, height)
        left, top = (width - part_width) / 2, (height - part_height) / 2
        return left, top, left + part_width, top + part_height

    def resize(self, image: Image.Image, part: Box) -> np.ndarray:
        """Resize a part of an image to uint8 (height, width, channels), with antialiasing."""
        resized = image.resize((self.width, self.height), _RESAMPLING[self.resampling], box=part)
        return np.asarray(resized, np.uint8).reshape(self.input_shape)

    def to_dict(self) -> dict[str, Any]:
        """The fields for JSON; options at their defaults are left out, so that older versions can read them."""
        fields = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        if self.crop == 1:
            del fields["crop"]
        if self.channel_order == "rgb":
            del fields["channel_order"]
        if self.resampling == "bilinear":
            del fields["resampling"]
        if not self.stretch:
            del fields["stretch"]
        return fields

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Preprocessing":
        if not isinstance(fields, dict):
            raise TypeError(f"not an object: {fields!r}")
        known: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
        return cls(**known)


def _float32(value: float | tuple[float, ...]) -> Any:
    return np.asarray(value, np.float32) if isinstance(value, tuple) else value


@functools.cache
def image_formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read. Others are refused: on an EPS file, for example, Pillow runs Ghostscript."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def open_image(path: str | os.PathLike[str], content: bytes | None = None, least: int | None = None) -> Image.Image:
    """Decode an image and rotate it upright. Raises ElLarqError of one line if it cannot be read.

    content: the encoded image, if it is not a file; ``path`` is then its name in messages.
    least: a JPEG may be decoded at a fraction of its size whose sides are at least this many pixels.
    """
    try:
        with (
            open(path, "rb") if content is None else io.BytesIO(content) as file,
            Image.open(file, formats=image_formats()) as image,
        ):
            if image.width * image.height > MAX_PIXELS:
                raise ElLarqError(f"{path}: {image.width}x{image.height} pixels is more than {MAX_PIXELS}; scale it down first")
            draft = (least, least) if least is not None and image.format in JPEG else None
            if draft is not None:
                image.draft(image.mode, draft)
            image.load()
            if lacks_rows(image, file, draft):
                raise ElLarqError(f"{path}: cannot be read as an image: it contains fewer rows than it declares")
            if image.mode == "I" or image.mode.startswith("I;16"):
                # Pillow clips 16-bit grey values at 255 instead of scaling them.
                return Image.fromarray((np.asarray(image, np.uint32) >> 8).clip(0, 255).astype(np.uint8))
            return _upright(image)
    except ElLarqError:
        raise
    except UnidentifiedImageError:
        raise ElLarqError(f"{path}: not an image that can be read; give a PNG, JPEG or another common format") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ElLarqError(f"{path}: cannot be read as an image: {reason}") from None
    except Exception as error:  # Pillow's decoders raise nearly every kind of error for damaged files
        raise ElLarqError(f"{path}: cannot be read as an image: {summarize(error)}") from None


def _upright(image: Image.Image) -> Image.Image:
    """A loaded image, rotated according to its EXIF orientation."""
    if orientation(image) != 1:
        try:
            return ImageOps.exif_transpose(image)
        except Exception:  # damaged EXIF data do not make the picture unreadable
            return image.copy()
    return image.copy()


def orientation(image: Image.Image) -> int:
    """The EXIF orientation by which `open_image` turns an image, 1 to 8; height and width are exchanged from 5 on. 1 for no turn.

    A TIFF is turned by Pillow itself, and the size that Pillow states is that of the turned image.
    """
    if image.format not in (*JPEG, "WEBP"):
        return 1
    try:
        stated = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF data do not make the picture unreadable
        return 1
    return stated if stated in range(1, 9) else 1
