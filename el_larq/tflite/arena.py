"""The memory that TFLite's interpreter plans for one inference: tensors are placed in one block, the arena, largest first.

This is the plan of the default interpreter without delegates, on one thread, with LCE's default kernel. Constants stay in the
file's buffer and are not part of it; neither are constants that a DEQUANTIZE restores, which are kept for all inferences. XNNPACK
and the indirect kernel use separate buffers instead.

Source: TensorFlow 2.16, arena_planner.cc, simple_memory_arena.cc, kernels conv.cc and add_n.cc; LCE 0.16, bconv2d.cc.
"""

from dataclasses import dataclass
from math import prod

from el_larq.errors import ElLarqError
from el_larq.tflite.operators import BINARY, input_channels, words
from el_larq.tflite.postprocess import POSTPROCESS
from el_larq.tflite.reader import Operator, Tensor, TfliteGraph
from el_larq.tflite.types import tensor_bytes

ALIGNMENT = 64

# Placement takes quadratic time: some seconds for this many blocks.
MAX_BLOCKS = 10_000

# The result may overwrite an input of the same size that nothing else reads.
_IN_PLACE = ("ADD", "MUL", "SUB", "DIV")
# The result has the same bytes as the first input.
_SAME_BYTES = ("RESHAPE", "EXPAND_DIMS", "SQUEEZE", "BITCAST")


@dataclass(frozen=True)
class ArenaPlan:
    """A planned arena.

    size: bytes of the whole block.
    live: bytes of the tensors and buffers alive while each operator runs, by operator index; the maximum is a lower bound for any
        plan.
    scratch: bytes of the temporary buffer of each operator that needs one while it runs, by operator index.
    """

    size: int
    live: dict[int, int]
    scratch: dict[int, int]

    @property
    def lower_bound(self) -> int:
        return max(self.live.values(), default=0)


@dataclass
class _Block:
    size: int
    first: int
    last: int
    offset: int = -1


def plan_arena(graph: TfliteGraph) -> ArenaPlan:
    """The arena of a graph, planned as in TFLite: largest tensors first, each in the smallest gap that fits it.

    Raises:
        ElLarqError: more than `MAX_BLOCKS` tensors and buffers.
    """
    scratch = {operator.index: size for operator in graph.operators if (size := scratch_bytes(operator))}
    blocks = _lifetimes(graph) + [_Block(size, index, index) for index, size in scratch.items()]
    if len(blocks) > MAX_BLOCKS:
        raise ElLarqError(f"{len(blocks):,} tensors and buffers are more than the {MAX_BLOCKS:,} whose memory can be planned")
    return ArenaPlan(_place(blocks, len(graph.operators)), _live(blocks, graph), scratch)


def _live(blocks: list[_Block], graph: TfliteGraph) -> dict[int, int]:
    """Bytes alive while each operator runs: a running sum over the first and last uses of the blocks."""
    change = [0] * (len(graph.operators) + 2)
    for block in blocks:
        if block.first <= block.last:
            change[block.first] += block.size
            change[block.last + 1] -= block.size
    now, live = 0, {}
    for operator in graph.operators:
        now += change[operator.index]
        live[operator.index] = now
    return live


def _lifetimes(graph: TfliteGraph) -> list[_Block]:
    """The blocks of inputs and computed tensors. Inputs and outputs of the graph stay alive until its end."""
    end = len(graph.operators)
    uses = dict.fromkeys((tensor.index for tensor in graph.tensors), 0)
    for operator in graph.operators:
        for tensor in operator.inputs:
            if tensor is not None:
                uses[tensor.index] += 1
    kept = {tensor.index for tensor in (*graph.inputs, *graph.outputs)}
    owner = _shared(graph, uses, kept)
    blocks: dict[int, _Block] = {}
    for tensor in graph.inputs:
        blocks[tensor.index] = _Block(tensor_bytes(tensor), 0, end)
    for operator in graph.operators:
        for tensor in operator.outputs:
            if tensor.stored is not None:
                continue
            block = owner.get(tensor.index, tensor.index)
            blocks.setdefault(block, _Block(tensor_bytes(tensor), operator.index, operator.index))
        for tensor in (*operator.inputs, *operator.outputs):
            if tensor is None or tensor.constant:
                continue
            block = owner.get(tensor.index, tensor.index)
            if block in blocks:
                blocks[block].last = max(blocks[block].last, end if tensor.index in kept else operator.index)
    return list(blocks.values())


def _shared(graph: TfliteGraph, uses: dict[int, int], kept: set[int]) -> dict[int, int]:
    """The tensor whose memory each result reuses, for results that are computed in place."""
    owner: dict[int, int] = {}
    uses = dict(uses)
    for operator in graph.operators:
        if operator.name not in (*_IN_PLACE, *_SAME_BYTES) or not operator.outputs:
            continue
        output = operator.outputs[0]
        candidates = operator.inputs[:1] if operator.name in _SAME_BYTES else operator.inputs
        for source in candidates:
            if source is None or not _can_share(source, output, kept):
                continue
            root = owner.get(source.index, source.index)
            if operator.name in _IN_PLACE and uses[root] > 1:
                continue
            owner[output.index] = root
            uses[root] += uses[output.index] - 1
            break
    return owner


def _can_share(source: Tensor, output: Tensor, kept: set[int]) -> bool:
    same = tensor_bytes(source) == tensor_bytes(output)
    return same and not source.constant and source.stored is None and source.index not in kept and output.index not in kept


def _place(blocks: list[_Block], end: int) -> int:
    """Assign an offset to each block; returns the total size."""
    placed: list[_Block] = []
    # Blocks that live throughout come first; the others follow by decreasing size, those of equal size by first use.
    order = sorted(blocks, key=lambda b: (not (b.first == 0 and b.last == end), -b.size if b.last < end or b.first else 0, b.first))
    for block in order:
        if not block.size:
            continue
        best, best_fit, offset = -1, -1, 0
        for other in placed:
            if other.last < block.first or other.first > block.last:
                continue
            start = _aligned(offset)
            if start + block.size <= other.offset and (best < 0 or other.offset - start < best_fit):
                best, best_fit = start, other.offset - offset
            offset = max(offset, other.offset + other.size)
        block.offset = best if best >= 0 else _aligned(offset)
        placed.append(block)
        placed.sort(key=lambda b: b.offset)
    return max((block.offset + block.size for block in placed), default=0)


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT


def scratch_bytes(operator: Operator) -> int:
    """Bytes of a convolution's im2col buffer, which contains its input's patches, of ADD_N's sum, or of decoded boxes; else 0."""
    if not operator.outputs:
        return 0
    output = operator.outputs[0]
    if operator.name == "ADD_N":
        return tensor_bytes(output)
    source, kernel = (*operator.inputs, None, None)[:2]
    if operator.name == POSTPROCESS and source is not None and kernel is not None:
        # Decoded boxes, a copy of the scores, and a byte for each anchor.
        return 4 * (source.elements + kernel.elements) + source.elements // 4
    if operator.name not in ("CONV_2D", BINARY) or source is None or kernel is None or len(kernel.shape) != 4:
        return 0
    height, width = kernel.shape[1:3]
    if (height, width) == (1, 1) and _strides(operator) == (1, 1):
        return 0
    patches = prod(output.shape[:3])
    if operator.name == BINARY:
        return patches * height * width * words(input_channels(operator)) * 4
    return patches * height * width * kernel.shape[3] * tensor_bytes(source) // max(1, source.elements)


def _strides(operator: Operator) -> tuple[int, int]:
    if "strides" in operator.options:
        return operator.options["strides"]
    return int(operator.options.get("stride_height", 1)), int(operator.options.get("stride_width", 1))
