"""Hostile flatbuffers: small files whose tables, read one by one, exceed any memory."""

from collections.abc import Iterator
from pathlib import Path

import flatbuffers

CRASHES = {
    "binpool": ((1491, 30), (1987, 188), (191, 171), (849, 168)),
    "t1": ((395, 19), (350, 241), (410, 78)),
}
"""Bytes of tests/data/*.tflite that crash LCE's interpreter, although every offset in the file is valid: position and value."""


INT4, KERNEL_TYPES = 17, (60699, 66115)
"""TensorFlow Lite's number of the type, and where tests/data/int8.tflite has the types of two kernels."""


def with_int4_types(data: Path) -> bytes:
    """A .tflite whose kernels say that they are int4, and have a byte for each value."""
    content = bytearray((data / "int8.tflite").read_bytes())
    for position in KERNEL_TYPES:
        assert content[position] == 9
        content[position] = INT4
    return bytes(content)


def flatbuffer_files(_seeds: Path, data: Path, folder: Path) -> Iterator[tuple[str, str, Path]]:
    for stem, changes in CRASHES.items():
        content = (data / f"{stem}.tflite").read_bytes()
        for position, value in changes:
            path = folder / f"tflite-crash-{stem}-{position}.tflite"
            path.write_bytes(content[:position] + bytes([value]) + content[position + 1 :])
            yield "tflite", path.stem, path
    made = {
        "shared-buffers": flatbuffer(buffers=50_000, buffer=bytes(1 << 20)),
        "shared-tensors": flatbuffer(tensors=50_000, shape=[1] * 12),
        "long-shape": flatbuffer(shape=[2**31 - 1] * 100_000),
        "huge-shape": flatbuffer(shape=[2**31 - 1] * 6),
        "many-operators": flatbuffer(operators=200_000),
        "options-that-double": flatbuffer(options=doubling_options()),
        "options-of-itself": flatbuffer(options=bytes([1, 0, 0x28, 0, 0x28, 1])),
        "many-outputs": flatbuffer(tensors=9_000, operators=9_000),
        "int4-kernels-too-long": with_int4_types(data),
        "identifier-only": b"\x08\0\0\0TFL3",
        "negative-root": b"\xff\xff\xff\xffTFL3" + bytes(64),
    }
    for name, content in made.items():
        path = folder / f"tflite-{name}.tflite"
        path.write_bytes(content)
        yield "tflite", path.stem, path


def doubling_options() -> bytes:
    """A FlexBuffers vector whose two items are the same vector, nested forty times: 2^40 items when unpacked."""
    content, vector = bytearray([2, 1, 1, 0x04, 0x04]), 10 << 2
    for _ in range(40):
        # Size, two offsets back to where the items of the vector before begin, two types.
        start = len(content)
        content += bytes([2, start + 1 - (start - 4), start + 2 - (start - 4), vector, vector])
    end = len(content)
    return bytes(content + bytes([end - (end - 4), vector, 1]))


def flatbuffer(
    *,
    tensors: int = 2,
    operators: int = 1,
    buffers: int = 1,
    buffer: bytes = b"",
    shape: list[int] | None = None,
    options: bytes = b"",
) -> bytes:
    """A .tflite whose vectors of tables refer to the same table many times."""
    builder = flatbuffers.Builder(1 << 16)

    def numbers(values: list[int]) -> int:
        builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            builder.PrependInt32(value)
        return builder.EndVector()

    def offsets(offset: int, count: int) -> int:
        builder.StartVector(4, count, 4)
        for _ in range(count):
            builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()

    def table(fields: int, *values: tuple[int, int]) -> int:
        builder.StartObject(fields)
        for slot, offset in values:
            builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        return builder.EndObject()

    content = builder.CreateByteVector(buffer or b"\0")
    held = offsets(table(1, (0, content)), buffers)
    name = builder.CreateString("Custom")
    code = offsets(table(4, (1, name)), 1)
    tensor = offsets(table(8, (0, numbers(shape or [1, 4])), (3, builder.CreateString("tensor"))), tensors)
    custom = builder.CreateByteVector(options) if options else 0
    operator = table(9, (1, numbers([0])), (2, numbers([min(1, tensors - 1)])), *(((5, custom),) if custom else ()))
    graph = table(5, (0, tensor), (1, numbers([0])), (2, numbers([tensors - 1])), (3, offsets(operator, operators)))
    root = table(8, (1, code), (2, offsets(graph, 1)), (4, held))
    builder.Finish(root, file_identifier=b"TFL3")
    return bytes(builder.Output())
