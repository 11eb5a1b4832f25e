"""TFLite_Detection_PostProcess in a .tflite: the operator that selects a detector's boxes."""

from el_larq.errors import ElLarqError
from el_larq.tflite.reader import TfliteGraph

POSTPROCESS = "TFLite_Detection_PostProcess"

OUTPUTS = ("boxes", "classes", "scores", "count")
"""The operator's outputs, in its order: (1, M, 4) in corner form, as fractions of the image's sides; classes from 0 (1, M);
probabilities (1, M), in descending order; how many of the M are detections (1,). All are float32."""


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
        ElLarqError: it is not stated.
    """
    count = next((o.options.get("num_classes") for o in graph.operators if o.name == POSTPROCESS), None)
    if not isinstance(count, int) or count < 1:
        raise ElLarqError(f"{source}: its {POSTPROCESS} does not state its number of classes; the file is damaged")
    return count
