"""Edits a flatbuffer without changing what it computes: order and names of outputs, additional outputs, metadata."""

from typing import Any

import flatbuffers
import numpy as np

from el_larq.errors import ElLarqError
from el_larq.tflite.reader import IDENTIFIER


def unpack(content: bytes) -> Any:  # the schema's classes are untyped
    from larq_compute_engine.mlir.python import tflite_schema

    return tflite_schema.ModelT.InitFromObj(tflite_schema.Model.GetRootAsModel(content, 0))


def pack(model: Any) -> bytes:
    size = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    # The builder doubles its memory when it is full, and copies what it has.
    builder = flatbuffers.Builder(size + size // 16 + 2**16)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(memoryview(builder.Bytes)[builder.Head() :])


def operator_codes(model: Any) -> list[int]:
    """The built-in operator of each entry of the file's list of operators."""
    return [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]


def add_operator_code(model: Any, builtin: int, version: int) -> int:
    """The number of a new entry of the file's list of operators."""
    from larq_compute_engine.mlir.python import tflite_schema as schema

    code: Any = schema.OperatorCodeT()
    code.builtinCode, code.version = builtin, version
    code.deprecatedBuiltinCode = min(builtin, 127)  # a byte, for old readers; the schema's value for every newer operator
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def unary_operator(code: int, source: int, output: int, options: str) -> Any:
    """An operator with one input and one output, given by tensor index; ``options``: the name of its options, which stay empty."""
    from larq_compute_engine.mlir.python import tflite_schema as schema

    operator: Any = schema.OperatorT()
    operator.opcodeIndex = code
    operator.inputs, operator.outputs = np.array([source], np.int32), np.array([output], np.int32)
    operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
    operator.builtinOptions = getattr(schema, f"{options}T")()
    return operator


def add_buffer(model: Any, content: bytes) -> int:
    """The number of a new buffer."""
    from larq_compute_engine.mlir.python import tflite_schema as schema

    buffer: Any = schema.BufferT()
    buffer.data = np.frombuffer(content, np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def add_constant(model: Any, values: np.ndarray, like: int) -> int:
    """The number of a new tensor of float32 with these values, named as tensor number ``like``."""
    from larq_compute_engine.mlir.python import tflite_schema as schema

    graph = model.subgraphs[0]
    tensor: Any = schema.TensorT()
    tensor.shape, tensor.hasRank, tensor.type = np.array(values.shape, np.int32), True, schema.TensorType.FLOAT32
    tensor.buffer, tensor.name = add_buffer(model, values.astype("<f4").tobytes()), graph.tensors[like].name
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def drop_unused_buffers(model: Any) -> None:
    """Empty the buffers that nothing refers to, and the tensors that no operator reads or computes. Their numbers stay."""
    for graph in model.subgraphs:
        read = {int(i) for o in graph.operators for i in (*o.inputs, *o.outputs)} | {
            int(i) for i in (*graph.inputs, *graph.outputs)
        }
        for number, tensor in enumerate(graph.tensors):
            if number not in read:
                tensor.buffer, tensor.name, tensor.quantization = 0, "", None
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    used |= {entry.buffer for entry in model.metadata or []}
    for number, buffer in enumerate(model.buffers):
        if number not in used:
            buffer.data = None


def constant_values(model: Any, tensor: Any) -> np.ndarray:
    """The values of a constant tensor of float32, float16 or int8, in its shape."""
    kinds = {0: "<f4", 1: "<f2", 9: "i1"}
    data = np.asarray(model.buffers[tensor.buffer].data, np.uint8).tobytes()
    return np.frombuffer(data, kinds[tensor.type]).reshape(tensor.shape)


def with_outputs(content: bytes, tensors: list[int]) -> bytes:
    """The flatbuffer with additional outputs, given by tensor index, after its own."""
    model = unpack(content)
    graph = model.subgraphs[0]
    graph.outputs = np.concatenate([np.asarray(graph.outputs, np.int32), np.asarray(tensors, np.int32)])
    model.signatureDefs = None  # they list the outputs too, and are not needed here
    return pack(model)


def with_named_outputs(content: bytes, names: dict[str, str], inputs: dict[str, str]) -> bytes:
    """The flatbuffer with its outputs in the order of ``names``, which maps the signature's names to new ones.

    ``inputs`` does the same for its inputs; if it is empty, they stay as they are.

    Only the signature identifies outputs: in the graph their order is arbitrary, and a tensor may occur twice. The signature gets
    the new names, and each tensor the first of its new names; an input that is also an output keeps its name.

    Raises:
        ElLarqError: the signature does not list exactly these outputs and inputs.
    """
    model = unpack(content)
    graph = model.subgraphs[0]
    found = {entry.name.decode(): entry for signature in model.signatureDefs or [] for entry in signature.outputs}
    if set(found) != set(names):
        raise ElLarqError(
            f"LCE's converter made {len(found)} outputs of the model's {len(names)}; report this as an error in el-larq"
        )
    entries = [found[old] for old in names]
    if inputs:
        _name_inputs(model, inputs)
    named = set(graph.inputs)
    for entry, new in zip(entries, names.values(), strict=True):
        entry.name = new
        if entry.tensorIndex not in named:
            graph.tensors[entry.tensorIndex].name = new
            named.add(entry.tensorIndex)
    model.signatureDefs[0].outputs = entries
    graph.outputs = np.array([entry.tensorIndex for entry in entries], np.int32)
    return pack(model)


def _name_inputs(model: Any, names: dict[str, str]) -> None:
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    found = {entry.name.decode(): entry for entry in signature.inputs}
    if set(found) != set(names):
        raise ElLarqError(
            f"LCE's converter made {len(found)} inputs of the model's {len(names)}; report this as an error in el-larq"
        )
    signature.inputs = [found[old] for old in names]
    for entry, new in zip(signature.inputs, names.values(), strict=True):
        entry.name = new
        graph.tensors[entry.tensorIndex].name = new
    graph.inputs = np.array([entry.tensorIndex for entry in signature.inputs], np.int32)


def with_metadata(content: bytes, name: str, value: bytes) -> bytes:
    """The flatbuffer with a named metadata buffer, which replaces any existing one of that name."""
    from larq_compute_engine.mlir.python import tflite_schema

    model = unpack(content)
    entry: Any = tflite_schema.MetadataT()
    entry.name = name
    entry.buffer = add_buffer(model, value)
    model.metadata = [m for m in model.metadata or [] if m.name not in (name, name.encode())] + [entry]
    return pack(model)
