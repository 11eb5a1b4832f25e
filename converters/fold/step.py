"""Step `fold`: the cheapest exact graph. Every rewrite is proved on the spot: original and result agree in double precision."""

from dataclasses import asdict, dataclass

import numpy as np
import tensorflow as tf

from el_larq.converters.fold.dense import dense
from el_larq.converters.fold.ir import Graph
from el_larq.converters.fold.links import expands, gains, squeezes
from el_larq.converters.fold.normal_form import import_graph
from el_larq.converters.fold.placement import placement
from el_larq.converters.fold.pooling import pooling
from el_larq.converters.fold.rewrite import Notes, Rewrite
from el_larq.converters.fold.scales import scales
from el_larq.converters.fold.shifts import shifts
from el_larq.converters.fold.threshold import threshold
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.job import Job
from el_larq.errors import ElLarqError
from el_larq.native_output import captured_stderr

# In the order in which they are applied: what makes scales and shifts comes before what carries them off.
REWRITES: dict[str, Rewrite] = {
    "placement": placement,
    "gains": gains,
    "threshold": threshold,
    "shifts": shifts,
    "scales": scales,
    "squeezes": squeezes,
    "expands": expands,
    "pooling": pooling,
    "dense": dense,
}

TOLERANCE = 1e-9
_PROOF_IMAGES = 1


def fold(job: Job) -> Job:
    folded = fold_model(job.need_model())
    applied = sum(bool(note.applied) for note in folded.notes.values())
    refused = sum(len(note.refused) for note in folded.notes.values())
    summary = (
        f"{applied} of {len(REWRITES)} rewrites applied, {refused} places left alone; "
        f"differs by {folded.difference:.0e} in double precision"
    )
    details = {"difference": folded.difference, "rewrites": {name: asdict(note) for name, note in folded.notes.items()}}
    return job.done(summary, details, model=folded.model)


@dataclass(frozen=True)
class Folded:
    """The rewritten model, what each rewrite did, and by how much the outputs differ in double precision."""

    model: FrozenModel
    notes: dict[str, Notes]
    difference: float


def fold_model(model: FrozenModel) -> Folded:
    """Apply every rewrite and prove the result.

    Raises:
        ElLarqError: a rewrite changed what the graph computes, which would be a fault of this project.
    """
    original = import_graph(model)
    graph = original.copy()
    notes = {name: Notes() for name in REWRITES}
    for name, rewrite in REWRITES.items():
        rewrite(graph, notes[name])
    difference = compare(original, graph, model.input_shape)
    if not difference <= TOLERANCE:
        raise ElLarqError(
            f"fold: the rewritten graph departs from the model by {difference:.1e} in double precision; "
            "this is a fault of el-larq, please report it and convert with --skip fold"
        )
    return Folded(FrozenModel.from_function(lambda image: graph.run(image)[0], model), notes, difference)


def compare(original: Graph, rewritten: Graph, shape: tuple[int, ...]) -> float:
    """The largest difference of any output in double precision, as a share of that output's largest value, on random images."""
    images = tf.constant(np.random.default_rng(0).standard_normal((_PROOF_IMAGES, *shape)))
    with captured_stderr():  # oneDNN reports that it has nothing for double precision
        outputs = tf.function(lambda x: (original.run(x)[0], rewritten.run(x)[0]))(images)
    return max(float(tf.reduce_max(tf.abs(a - b)) / (tf.reduce_max(tf.abs(a)) + 1e-300)) for a, b in zip(*outputs, strict=True))
