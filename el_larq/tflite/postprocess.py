"""TFLite_Detection_PostProcess in a .tflite: the operator that selects a detector's boxes."""

from el_larq.errors import ElLarqError
from el_larq.tflite.reader import TfliteGraph

POSTPROCESS = "TFLite_Detection_PostProcess"

OUTPUTS = ("boxes", "classes", "scores", "count")
"""The operator's outputs, in its order: (1, M, 4) in corner form, as fractions of the image's sides; classes from 0 (1, M);
probabilities (1, M), in descending order; how many of the M are detections (1,). All are float32."""


MAX_CLASSES = 10_000
"""More classes than this are refused, as in data sets."""


def output_positions(graph: TfliteGraph, source: str) -> tuple[int, ...] | None:
    """The positions of `OUTPUTS` among the outputs of a graph; None if it has no such operator.

    Raises:
        ElLarqError: an output of the operator is not one of the graph.
    """
    last = next((operator for operator in graph.operators if operator.name == POSTPROCESS), None)
    if last is None:
        return None
    given = [tensor.index for tensor in graph.outputs]
    made = [tensor.index for tensor in last.outputs]
    if len(made) != len(OUTPUTS) or not set(made) <= set(given):
        raise ElLarqError(f"{source}: the outputs of its {POSTPROCESS} are not outputs of the model")
    return tuple(given.index(index) for index in made)


def class_count(graph: TfliteGraph, source: str) -> int:
    """The number of classes that the operator of a graph tells apart.

    Raises:
        ElLarqError: it is not stated, is not that of the scores, or is above `MAX_CLASSES`.
    """
    operator = next((operator for operator in graph.operators if operator.name == POSTPROCESS), None)
    count = None if operator is None else operator.options.get("num_classes")
    if operator is None or not isinstance(count, int) or count < 1:
        raise ElLarqError(f"{source}: its {POSTPROCESS} does not state its number of classes; the file is damaged")
    scores = operator.inputs[1] if len(operator.inputs) > 1 else None
    size = scores.shape[-1] if scores is not None and scores.shape else 0
    if size not in (count, count + 1):  # with the background
        raise ElLarqError(f"{source}: its {POSTPROCESS} states {count} classes for {size} scores; the file is damaged")
    if count > MAX_CLASSES:
        raise ElLarqError(f"{source}: its {POSTPROCESS} has {count:,} classes; at most {MAX_CLASSES:,} are read")
    return count
