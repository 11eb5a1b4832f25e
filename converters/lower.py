"""Step `lower`: converts the model to a flatbuffer with LCE's converter.

LCE's own `convert_keras_model` suppresses errors and falls back to another path that can return a float model, so the
SavedModel is written here and `convert_saved_model` is called on it.
"""

import tempfile
from math import prod

from el_larq.converters.dilations import with_dilations
from el_larq.converters.factors import with_views
from el_larq.converters.frozen import FrozenModel, output_key
from el_larq.converters.job import Job
from el_larq.converters.memory import return_memory
from el_larq.converters.paddings import respell
from el_larq.converters.rewrite import with_named_outputs
from el_larq.converters.signs import without_mistaken_signs
from el_larq.converters.unsupported import check_supported
from el_larq.errors import ElLarqError, summarize
from el_larq.native_output import captured_stderr, cause
from el_larq.tflite.reader import parse


def lower(job: Job) -> Job:
    content = lower_model(job.need_model())
    graph = parse(content)
    summary = f"{len(graph.operators)} operators, {len(content):,} bytes"
    return job.done(summary, {"operators": len(graph.operators), "bytes": len(content)}, tflite=content)


def lower_model(model: FrozenModel) -> bytes:
    """The flatbuffer, with the model's output order and names, which LCE's converter does not keep."""
    names = {output_key(number): name for number, name in enumerate(model.output_names)}
    inputs = {tensor.op.name: name for tensor, name in zip(model.inputs, model.input_names, strict=True)}
    check_supported(model)
    graph = without_mistaken_signs(with_views(respell(with_dilations(model, depthwise=True))))
    content = run_converter(graph)
    return_memory(graph.weight_bytes)
    content = with_named_outputs(content, names, inputs if len(inputs) > 1 else {})
    for output, tensor in zip(model.outputs, parse(content).outputs, strict=True):
        sizes = tuple(output.shape[1:])
        # LCE omits the shapes of some operators. `verify` compares the values.
        if tensor.shape and not tensor.dynamic and None not in sizes and tensor.elements != prod(sizes):
            raise ElLarqError(
                f"lower: LCE's converter makes {tensor.shape} of the output {tensor.name!r} of shape {sizes}; "
                "report this as an error in el-larq"
            )
    return content


def run_converter(model: FrozenModel) -> bytes:
    """What LCE's converter makes of a graph as it is."""
    from larq_compute_engine import convert_saved_model

    with tempfile.TemporaryDirectory(prefix="el-larq-") as folder, captured_stderr() as printed:
        try:
            model.save(folder)
            return_memory(model.weight_bytes)
            return convert_saved_model(folder)
        except Exception as error:  # MLIR's errors arrive as plain Exception
            reason = f"{summarize(error)}{cause(printed())}"
            raise ElLarqError(f"LCE's converter refuses model {model.name!r}: {reason}") from error
