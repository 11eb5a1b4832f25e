"""The XML files of Pascal VOC, one per image. Does not import TensorFlow.

    <annotation>
      <filename>000005.jpg</filename>
      <size><width>500</width><height>375</height></size>
      <object>
        <name>chair</name><difficult>0</difficult>
        <bndbox><xmin>263</xmin><ymin>211</ymin><xmax>324</xmax><ymax>339</ymax></bndbox>
      </object>
    </annotation>

Coordinates count pixels from 1, and a box includes its last pixel, so that xmin 1 and xmax 10 are 0 to 10 in the words of `boxes`.

A file may be hostile: document types are refused, and with them entities, which could grow without limit or read other files.
"""

import math
from dataclasses import dataclass, field
from xml.parsers import expat

from el_larq.detection.annotations import MAX_OBJECTS, StatedObject

MAX_BYTES = 1 << 22
_MAX_DEPTH = 32
_MAX_TEXT = 1000
_SIDES = ("ymin", "xmin", "ymax", "xmax")


@dataclass
class VocAnnotation:
    """filename: as stated, or empty. size: height and width in pixels, or None. objects: their boxes are in pixels from 0."""

    filename: str = ""
    size: tuple[float, float] | None = None
    objects: list[StatedObject] = field(default_factory=list)


def parse_voc(content: bytes) -> VocAnnotation:
    """Raises ValueError with a short reason if it is not an annotation of this kind."""
    if len(content) > MAX_BYTES:
        raise ValueError(f"{len(content):,} bytes are more than the {MAX_BYTES:,} of an annotation")
    reading = _Reading()
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = reading.start, reading.end
    parser.CharacterDataHandler = reading.text
    parser.StartDoctypeDeclHandler = _refuse
    parser.buffer_text = True
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise ValueError(f"not XML: {error}") from None
    except LookupError:  # an encoding that Python does not know
        raise ValueError("its encoding is unknown") from None
    return reading.result


def _refuse(*_: object) -> None:
    raise ValueError("it has a document type (<!DOCTYPE ...>), which annotations do not need")


class _Reading:
    """expat's handlers. Elements that annotations may contain in addition, such as VOC's parts of persons, are passed over."""

    def __init__(self) -> None:
        self.result = VocAnnotation()
        self._path: list[str] = []
        self._values: dict[str, str] = {}
        self._seen: set[str] = set()

    def start(self, tag: str, _: dict[str, str]) -> None:
        if not self._path and tag != "annotation":
            raise ValueError(f"its first element is <{tag[:40]}>, not <annotation>")
        if len(self._path) == _MAX_DEPTH:
            raise ValueError("its elements are nested too deep")
        if "/".join(self._path[1:]) in _WANTED:
            raise ValueError(f"its <{self._path[-1]}> contains elements")
        self._path.append(tag)
        name = "/".join(self._path[1:])
        if name in self._seen:
            raise ValueError(f"its <{tag}> occurs twice{' in an object' if name.startswith('object/') else ''}")
        if name in _WANTED or name in ("size", "object/bndbox"):
            self._seen.add(name)
        if name == "object":
            self._values = {name: text for name, text in self._values.items() if not name.startswith("object/")}
            self._seen = {name for name in self._seen if not name.startswith("object/")}

    def text(self, text: str) -> None:
        name = "/".join(self._path[1:])
        value = self._values.get(name, "") + text
        if name in _WANTED:
            if len(value) > _MAX_TEXT:
                raise ValueError(f"its <{self._path[-1]}> is too long")
            self._values[name] = value

    def end(self, _: str) -> None:
        if self._path == ["annotation", "object"]:
            self._add()
        elif self._path == ["annotation"]:
            self.result.filename = self._values.get("filename", "").strip()
            height, width = (_number(self._values.get(f"size/{side}", "0"), side) for side in ("height", "width"))
            self.result.size = (height, width) if min(height, width) > 0 else None
        self._path.pop()

    def _add(self) -> None:
        if len(self.result.objects) == MAX_OBJECTS:
            raise ValueError(f"it has more than {MAX_OBJECTS:,} objects")
        values = {name: self._values.get(f"object/bndbox/{name}") for name in _SIDES}
        label = self._values.get("object/name", "").strip()
        if not label:
            raise ValueError("an object has no <name>")
        if missing := [name for name, value in values.items() if value is None]:
            raise ValueError(f"the box of an object {label!r} has no <{missing[0]}>")
        top, left, bottom, right = (_number(value or "", name) for name, value in values.items())
        ignored = self._values.get("object/difficult", "0").strip() == "1"
        self.result.objects.append(StatedObject(label, (top - 1, left - 1, bottom, right), ignored))


_WANTED = {
    *("filename", "size/width", "size/height", "object/name", "object/difficult"),
    *(f"object/bndbox/{name}" for name in _SIDES),
}


def _number(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"<{name}> is not a number: {text.strip()[:40]!r}")
    return value
