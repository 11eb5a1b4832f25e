"""Changing a flatbuffer without changing what it computes: more outputs, more metadata."""

from typing import Any

import flatbuffers
import numpy as np

from el_larq.tflite import IDENTIFIER


def _unpack(content: bytes) -> Any:  # the schema's classes have no types
    from larq_compute_engine.mlir.python import tflite_schema

    return tflite_schema.ModelT.InitFromObj(tflite_schema.Model.GetRootAsModel(content, 0))


def _pack(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def with_outputs(content: bytes, tensors: list[int]) -> bytes:
    """The flatbuffer with tensors, by index, as further outputs behind its own."""
    model = _unpack(content)
    graph = model.subgraphs[0]
    graph.outputs = np.concatenate([np.asarray(graph.outputs, np.int32), np.asarray(tensors, np.int32)])
    model.signatureDefs = None  # they list the outputs too, and nothing here needs them
    return _pack(model)


def with_metadata(content: bytes, name: str, value: bytes) -> bytes:
    """The flatbuffer with a named metadata buffer; one of that name is replaced."""
    from larq_compute_engine.mlir.python import tflite_schema

    model = _unpack(content)
    buffer: Any = tflite_schema.BufferT()
    buffer.data = np.frombuffer(value, np.uint8)
    model.buffers.append(buffer)
    entry: Any = tflite_schema.MetadataT()
    entry.name = name
    entry.buffer = len(model.buffers) - 1
    model.metadata = [m for m in model.metadata or [] if m.name not in (name, name.encode())] + [entry]
    return _pack(model)
