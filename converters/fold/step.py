"""Step `fold`: exact rewrites to a cheaper graph. The import is checked against the model, the result against the import."""

from dataclasses import asdict, dataclass
from typing import Any

from el_larq.converters.fold.bit_planes import bit_planes
from el_larq.converters.fold.dense import dense
from el_larq.converters.fold.depthwise_links import depthwise_links
from el_larq.converters.fold.left import Left, left_over
from el_larq.converters.fold.links import expands, gains, squeezes, together
from el_larq.converters.fold.normal_form import merge_affines
from el_larq.converters.fold.norms import norms
from el_larq.converters.fold.notes import Notes, Rewrite
from el_larq.converters.fold.placement import placement
from el_larq.converters.fold.pooling import averages, max_pools, pooled_sums, pooling
from el_larq.converters.fold.proof import TOLERANCE, compare, imported
from el_larq.converters.fold.scales import scales
from el_larq.converters.fold.shifts import shifts
from el_larq.converters.fold.slices import slices
from el_larq.converters.fold.stem import stem
from el_larq.converters.fold.threshold import threshold
from el_larq.converters.freezing import LARGE
from el_larq.converters.frozen import FrozenModel, captured
from el_larq.converters.job import Job
from el_larq.errors import ElLarqError

# In order of application: rewrites that create scales and shifts come before those that move them.
REWRITES: dict[str, Rewrite] = {
    "slices": slices,
    "placement": placement,
    "norms": norms,
    "gains": gains,
    "depthwise_links": depthwise_links,
    "threshold": threshold,
    "scales": scales,
    "shifts": shifts,
    "together": together,
    "max_pools": max_pools,
    "pooling": pooling,
    "pooled_sums": pooled_sums,
    "bit_planes": bit_planes,
    "squeezes": squeezes,
    "expands": expands,
    "averages": averages,
    "stem": stem,
    "dense": dense,
}


NOT_FOR_INT8 = ("bit_planes",)
"""Rewrites whose largest values are so far above the smallest that matter that int8 operators would round these away."""


def fold(job: Job) -> Job:
    folded = fold_model(job.need_model(), NOT_FOR_INT8 if job.options.quantizes else ())
    applied = sum(bool(note.applied) for note in folded.notes.values())
    places = sum(left.places for left in folded.left)
    summary = (
        f"{applied} of {len(REWRITES)} rewrites applied, {places} places left alone; "
        f"differs by {folded.difference:.0e} in double precision"
    )
    details = {
        "difference": folded.difference,
        "left_out": folded.left_out,
        "left": [asdict(left) for left in folded.left],
        "rewrites": {name: asdict(note) for name, note in folded.notes.items()},
    }
    return job.done(f"left out: {folded.left_out}" if folded.left_out else summary, details, model=folded.model)


@dataclass(frozen=True)
class Folded:
    """The rewritten model, the notes of each rewrite, and the difference of the outputs in double precision.

    left: the multiplications that remain, by kind.
    left_out: why the model was left as it is; empty if it was rewritten.
    """

    model: FrozenModel
    notes: dict[str, Notes]
    difference: float
    left_out: str = ""
    left: tuple[Left, ...] = ()


def fold_model(model: FrozenModel, without: tuple[str, ...] = ()) -> Folded:
    """Apply every rewrite and check the result. A graph that cannot be imported exactly is left as it is.

    without: names of rewrites that are not applied.

    Raises:
        ElLarqError: a rewrite changed what the graph computes, which would be a bug in this project.
    """
    original = imported(model)
    notes = {name: Notes() for name in REWRITES}
    if isinstance(original, str):
        return Folded(model, notes, 0.0, original)
    graph = original.copy()
    merge_affines(graph)
    for name, rewrite in REWRITES.items():
        if name not in without:
            rewrite(graph, notes[name])
    difference = compare(original, graph, model)
    if not difference <= TOLERANCE:
        raise ElLarqError(
            f"fold: the rewritten graph differs from the model by {difference:.1e} in double precision; "
            "this is an error in el-larq, please report it and convert with --skip fold"
        )
    weights = {node: model.as_tensor(node.value) for node in graph.nodes() if node.value is not None and node.value.size >= LARGE}

    def run(*images: Any) -> Any:
        return graph.run(images, given={node: captured(value, node.name) for node, value in weights.items()})[0]

    rewritten = FrozenModel.from_function(run, model)
    return Folded(rewritten, notes, difference, left=left_over(graph))
