from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from el_larq.tflite.arena import ALIGNMENT, plan_arena, scratch_bytes
from el_larq.tflite.reader import Operator, Tensor, TfliteGraph, parse

DATA = Path(__file__).parents[1] / "data"

# What LCE's interpreter asked the allocator for, without the 64 bytes it adds for alignment: benchmarks/peak_ram.py.
ALLOCATED = {"bin4": 3211264, "binpool": 606208, "float": 733184, "int8": 183296, "t1": 1069056}


@pytest.mark.parametrize("name", ALLOCATED)
def test_the_plan_is_the_interpreters(name: str) -> None:
    assert plan_arena(parse((DATA / f"{name}.tflite").read_bytes())).size == ALLOCATED[name]


def tensor(index: int, *shape: int, kind: str = "float32", data: bytes = b"") -> Tensor:
    return Tensor(index, f"t{index}", kind, shape, data)


def graph(
    tensors: list[Tensor], operators: list[tuple[str, list[int], list[int]]], inputs: list[int], outputs: list[int]
) -> TfliteGraph:
    made = tuple(
        Operator(i, name, tuple(tensors[j] for j in sources), tuple(tensors[j] for j in results), {})
        for i, (name, sources, results) in enumerate(operators)
    )
    return TfliteGraph(tuple(tensors), made, tuple(tensors[i] for i in inputs), tuple(tensors[i] for i in outputs), {}, 0)


def test_a_chain_needs_its_input_and_the_greatest_pair() -> None:
    tensors = [tensor(i, 1, size) for i, size in enumerate((16, 64, 32, 16))]
    chain = graph(tensors, [("RELU", [0], [1]), ("RELU", [1], [2]), ("RELU", [2], [3])], [0], [3])
    planned = plan_arena(chain)
    assert planned.live == {0: 4 * (16 + 64), 1: 4 * (16 + 64 + 32), 2: 4 * (16 + 32 + 16)}
    assert planned.size == planned.lower_bound == 448


def test_an_addition_takes_the_place_of_an_input_that_nothing_else_reads() -> None:
    tensors = [tensor(i, 1, 64) for i in range(5)]
    nodes = [("RELU", [0], [1]), ("RELU", [1], [2]), ("ADD", [2, 1], [3]), ("RELU", [3], [4])]
    assert plan_arena(graph(tensors, nodes, [0], [4])).live[2] == 3 * 256
    # An input that is read again later keeps its memory; the other operand is taken then.
    nodes = [("RELU", [0], [1]), ("RELU", [1], [2]), ("ADD", [1, 2], [3]), ("ADD", [3, 1], [4])]
    assert plan_arena(graph(tensors, nodes, [0], [4])).live[2] == 3 * 256


def test_a_reshaped_tensor_is_the_same_memory() -> None:
    tensors = [tensor(0, 1, 64), tensor(1, 1, 64), tensor(2, 1, 8, 8), tensor(3, 1, 64)]
    nodes = [("RELU", [0], [1]), ("RESHAPE", [1], [2]), ("RELU", [2], [3])]
    assert plan_arena(graph(tensors, nodes, [0], [3])).size == 3 * 256


def convolution(name: str, kernel: tuple[int, ...], output: tuple[int, ...], kind: str = "float32", **options: Any) -> Operator:
    source = tensor(0, 1, 8, 8, kernel[-1], kind=kind)
    return Operator(0, name, (source, tensor(1, *kernel, data=b"k")), (tensor(2, *output),), options)


@pytest.mark.parametrize(
    ("operator", "size"),
    [
        (convolution("CONV_2D", (16, 3, 3, 4), (1, 8, 8, 16), strides=(1, 1)), 8 * 8 * 9 * 4 * 4),
        (convolution("CONV_2D", (16, 3, 3, 4), (1, 8, 8, 16), "int8", strides=(1, 1)), 8 * 8 * 9 * 4),
        (convolution("CONV_2D", (16, 1, 1, 4), (1, 8, 8, 16), strides=(1, 1)), 0),
        (convolution("CONV_2D", (16, 1, 1, 4), (1, 4, 4, 16), strides=(2, 2)), 4 * 4 * 4 * 4),
        (convolution("DEPTHWISE_CONV_2D", (1, 3, 3, 4), (1, 8, 8, 4), strides=(1, 1)), 0),
        (convolution("LceBconv2d", (16, 3, 3, 2), (1, 8, 8, 16), "int32", channels_in=40, stride_height=1), 8 * 8 * 9 * 2 * 4),
        (convolution("LceBconv2d", (16, 1, 1, 2), (1, 8, 8, 16), "int32", channels_in=64, stride_height=1), 0),
        (convolution("LceBconv2d", (16, 1, 1, 2), (1, 4, 4, 16), "int32", channels_in=64, stride_height=2), 4 * 4 * 2 * 4),
        (Operator(0, "ADD_N", (tensor(0, 1, 8), tensor(1, 1, 8)), (tensor(2, 1, 8),), {}), 32),
    ],
)
def test_scratch(operator: Operator, size: int) -> None:
    assert scratch_bytes(operator) == size


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 200), min_size=2, max_size=12), st.data())
def test_no_plan_is_smaller_than_what_is_alive_nor_larger_than_everything(sizes: list[int], data: st.DataObject) -> None:
    tensors = [tensor(i, 1, size) for i, size in enumerate(sizes)]
    nodes = [("CONCATENATION", [data.draw(st.integers(0, i - 1)), i - 1], [i]) for i in range(1, len(sizes))]
    planned = plan_arena(graph(tensors, nodes, [0], [len(sizes) - 1]))
    everything = sum(-(-4 * size // ALIGNMENT) * ALIGNMENT for size in sizes)
    assert planned.lower_bound <= planned.size <= everything


def test_nothing_needs_nothing() -> None:
    assert plan_arena(graph([tensor(0, 1, 4)], [], [0], [0])).size == 16


def test_selecting_boxes_needs_decoded_boxes_scores_and_a_byte_for_each_anchor() -> None:
    inputs = (tensor(0, 1, 320, 4), tensor(1, 1, 320, 8), tensor(2, 320, 4, data=bytes(5120)))
    selecting = Operator(0, "TFLite_Detection_PostProcess", inputs, (tensor(3, 1, 10, 4),), {})
    assert scratch_bytes(selecting) == 320 * (16 + 32 + 1)
