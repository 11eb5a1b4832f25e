"""Adds TFLite_Detection_PostProcess to the flatbuffer of a detector: boxes in place of predictions for all anchors.

    classes (1, A, C + 1) -> SOFTMAX ┐
    boxes (1, A, 4) ─────────────────┴-> TFLite_Detection_PostProcess -> boxes, classes, scores, count

The operator is part of TensorFlow Lite and of LCE. It decodes the boxes with the anchors, and selects them class by class
("regular" non-maximum suppression), as average precision needs; its faster kind allows one class for each anchor. It computes with
float32.
"""

from typing import Any

import numpy as np
from flatbuffers import flexbuffers

from el_larq.converters.rewrite import add_buffer, add_operator_code, drop_unused_buffers, pack, unpack
from el_larq.detection.box_coding import SCALES
from el_larq.detection.non_maximum_suppression import Selection
from el_larq.errors import ElLarqError
from el_larq.tflite.postprocess import OUTPUTS, POSTPROCESS
from el_larq.tflite.reader import Operator, parse


def with_postprocess(content: bytes, anchors: np.ndarray, selection: Selection) -> bytes:
    """The flatbuffer of a detector with the operator at its end.

    Arguments:
        content: with one output (1, A, C + 5), the concatenation of classes, background first, and boxes.
        anchors: (A, 4) in centre form.

    Raises:
        ElLarqError: it has another output.
    """
    joined = joining_operator(content)
    classes, boxes = (tensor for tensor in joined.inputs if tensor is not None)
    from larq_compute_engine.mlir.python import tflite_schema as schema

    model = unpack(content)
    graph = model.subgraphs[0]
    scores = _add_tensor(graph, "probabilities", classes.shape)
    code = add_operator_code(model, schema.BuiltinOperator.SOFTMAX, 1)
    softmax = _operator(code, [classes.index], [scores])
    softmax.builtinOptionsType, softmax.builtinOptions = schema.BuiltinOptions.SoftmaxOptions, schema.SoftmaxOptionsT()
    softmax.builtinOptions.beta = 1.0
    table = _add_tensor(graph, "anchors", anchors.shape, add_buffer(model, anchors.astype("<f4").tobytes()))
    count = selection.most
    shapes = ((1, count, 4), (1, count), (1, count), (1,))
    outputs = [_add_tensor(graph, name, shape) for name, shape in zip(OUTPUTS, shapes, strict=True)]
    custom = add_operator_code(model, schema.BuiltinOperator.CUSTOM, 1)
    model.operatorCodes[custom].customCode = POSTPROCESS
    chosen = _operator(custom, [boxes.index, scores, table], outputs)
    chosen.customOptions = np.frombuffer(_options(selection, classes.shape[-1] - 1), np.uint8)
    graph.operators = [o for number, o in enumerate(graph.operators) if number != joined.index] + [softmax, chosen]
    graph.outputs = np.array(outputs, np.int32)
    for signature in model.signatureDefs or []:
        signature.outputs = [_entry(name, tensor) for name, tensor in zip(OUTPUTS, outputs, strict=True)]
    drop_unused_buffers(model)
    return pack(model)


def joining_operator(content: bytes) -> Operator:
    """The operator at a detector's end that puts classes and boxes side by side.

    Raises:
        ElLarqError: the flatbuffer ends in something else.
    """
    graph = parse(content)
    last = graph.producers.get(graph.outputs[0].index) if len(graph.outputs) == 1 else None
    if last is not None and last.name == "CONCATENATION" and len(last.inputs) == 2:
        tensors = [tensor for tensor in last.inputs if tensor is not None and not tensor.dynamic and len(tensor.shape) == 3]
        if len(tensors) == 2 and tensors[1].shape[-1] == 4:
            return last
    raise ElLarqError("select: the .tflite does not end in classes and boxes side by side; report this as an error in el-larq")


def _options(selection: Selection, classes: int) -> bytes:
    builder: Any = flexbuffers.Builder()  # its annotations are wrong
    y, x, height, width = SCALES
    with builder.Map():
        builder.Int("max_detections", selection.most)
        builder.Int("max_classes_per_detection", 1)
        builder.Int("detections_per_class", selection.most)
        builder.Bool("use_regular_nms", True)
        builder.Float("nms_score_threshold", selection.score)
        builder.Float("nms_iou_threshold", selection.iou)
        builder.Int("num_classes", classes)
        for name, scale in (("y_scale", y), ("x_scale", x), ("h_scale", height), ("w_scale", width)):
            builder.Float(name, scale)
    return bytes(builder.Finish())


def _add_tensor(graph: Any, name: str, shape: tuple[int, ...], buffer: int = 0) -> int:
    from larq_compute_engine.mlir.python import tflite_schema as schema

    tensor: Any = schema.TensorT()
    tensor.shape, tensor.hasRank, tensor.type = np.array(shape, np.int32), True, schema.TensorType.FLOAT32
    tensor.buffer, tensor.name = buffer, name
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _operator(code: int, inputs: list[int], outputs: list[int]) -> Any:
    from larq_compute_engine.mlir.python import tflite_schema as schema

    operator: Any = schema.OperatorT()
    operator.opcodeIndex = code
    operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
    return operator


def _entry(name: str, tensor: int) -> Any:
    from larq_compute_engine.mlir.python import tflite_schema as schema

    entry: Any = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, tensor
    return entry
