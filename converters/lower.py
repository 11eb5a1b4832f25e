"""Step `lower`: the Keras model through LCE's converter to a flatbuffer.

LCE's own `convert_keras_model` swallows its errors and falls back to another path that can return a float model, so the
SavedModel is written here and `convert_saved_model` is called on it.
"""

import tempfile

import tensorflow as tf
import tf_keras as keras

from el_larq import tflite
from el_larq.converters.job import Job
from el_larq.errors import ElLarqError, summarize
from el_larq.native_output import captured_stderr, cause


def lower(job: Job) -> Job:
    content = lower_model(job.need_model())
    graph = tflite.parse(content)
    summary = f"{len(graph.operators)} operators, {len(content):,} bytes"
    return job.done(summary, {"operators": len(graph.operators), "bytes": len(content)}, tflite=content)


def lower_model(model: keras.Model) -> bytes:
    from larq_compute_engine import convert_saved_model

    with tempfile.TemporaryDirectory(prefix="el-larq-") as folder:
        module = _Served(model)
        with captured_stderr() as printed:
            try:
                tf.saved_model.save(module, folder, signatures=module.serve)
                return convert_saved_model(folder)
            except Exception as error:  # MLIR's errors arrive as plain Exception
                reason = f"{summarize(error)}{cause(printed())}"
                raise ElLarqError(f"LCE's converter refuses model {model.name!r}: {reason}") from error


class _Served(tf.Module):
    """What a SavedModel needs: the function and its variables.

    Holding the Keras model itself would trace every layer of it anew, which takes ten times as long as all the rest.
    """

    def __init__(self, model: keras.Model):
        super().__init__()
        self.weights = model.variables
        self.serve = inference(model, batch_size=1)


def inference(model: keras.Model, batch_size: int | None) -> tf.types.experimental.PolymorphicFunction:
    """The model's forward pass in inference mode, with a static input shape."""
    shape = [batch_size, *model.inputs[0].shape[1:]]
    return tf.function(
        lambda image: model(image, training=False),
        input_signature=[tf.TensorSpec(shape, model.inputs[0].dtype, name="image")],
    )
