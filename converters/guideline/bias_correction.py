"""Step `bias`: biases take away the mean error that rounding makes in each channel.

A layer is linear in front of its activation, so the mean of its output is what it makes of the mean of its input, borders
included. With W' the rounded kernel, x' the input that the int8 file has there, and E the mean over images and positions, the
mean error of a channel is

    e = E[W' x'] - E[W x]        b <- b - e

    empirical    x' is measured, layer by layer, with the biases of all layers in front of it corrected already
    analytic     x' = x: only what rounding the kernel does, e = E[(W' - W) x]

Source: Nagel, van Baalen, Blankevoort, Welling: Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019.
There, the analytic form takes E[x] from batch normalization; here, it is measured.
"""

from collections.abc import Mapping

import numpy as np

from el_larq.compression.symmetric import dequantize
from el_larq.converters.guideline.one_operator import one_operator
from el_larq.converters.int8.calibrate import run_tensors
from el_larq.converters.int8.int8_file import Shifts
from el_larq.converters.int8.int8_operators import KERNEL_AXES
from el_larq.converters.rewrite import unpack
from el_larq.tflite.reader import Operator, TfliteGraph, parse


class _Linear:
    """The layers of a float file in front of their activations, without biases, on a single map."""

    def __init__(self, content: bytes, layers: Mapping[int, Operator]):
        self.model, self.layers = unpack(content), layers

    def mean(self, index: int, kernel: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The mean of each channel (C,) over positions, for an input (1, ...)."""
        operator = self.layers[index]
        source, stored = operator.inputs[0], operator.inputs[1]
        assert source is not None
        assert stored is not None
        constants = {stored.index: kernel.astype("<f4")}
        bias = operator.inputs[2] if len(operator.inputs) > 2 else None
        if bias is not None:
            constants[bias.index] = np.zeros(bias.shape, "<f4")
        (y,) = one_operator(self.model, index, [source.index], constants, linear=True).run(x.astype(np.float32))
        return y.reshape(-1, y.shape[-1]).mean(axis=0, dtype=np.float64)


def _rounded_kernels(quantized: bytes, layers: Mapping[int, Operator]) -> dict[int, np.ndarray]:
    """The kernels of the int8 file, as the real numbers that they stand for, by the numbers of the float file's layers."""
    tensors = unpack(quantized).subgraphs[0].tensors
    stored = {operator.outputs[0].index: operator for operator in parse(quantized).operators}
    found = {}
    for index, layer in layers.items():
        kernel = stored[layer.outputs[0].index].inputs[1]
        assert kernel is not None
        steps = np.asarray(tensors[kernel.index].quantization.scale, np.float32)
        found[index] = dequantize(kernel.array(), steps, KERNEL_AXES[layer.name])
    return found


def corrections(content: bytes, quantized: bytes, operators: frozenset[int], images: np.ndarray, kind: str) -> Shifts:
    """What is added to the biases of int8 layers, by the number of the operator: one value for each channel.

    Arguments:
        content: the float file. quantized: the int8 file made of it, without corrections.
        operators: the numbers of those that compute with int8 (`Scales.operators`).
        images: (N, ...). kind: "empirical" or "analytic".
    """
    graph = parse(content)
    layers = {o.index: o for o in graph.operators if o.index in operators and o.name in KERNEL_AXES}
    sources = {index: _source(operator) for index, operator in layers.items()}
    means: dict[int, np.ndarray] = {}
    for part in run_tensors(content, sorted(set(sources.values())), [images]):
        for tensor, values in part.items():
            means[tensor] = means.get(tensor, 0.0) + values.sum(axis=0, keepdims=True, dtype=np.float64) / len(images)
    linear = _Linear(content, layers)
    kernels = {index: _kernel(operator) for index, operator in layers.items()}
    exact = {index: linear.mean(index, kernels[index], means[sources[index]]) for index in layers}
    rounded = _rounded_kernels(quantized, layers)
    if kind == "analytic":
        return {index: exact[index] - linear.mean(index, rounded[index], means[sources[index]]) for index in layers}
    return _Walk(graph, quantized, linear, exact, rounded).run(images)


def _source(operator: Operator) -> int:
    assert operator.inputs[0] is not None
    return operator.inputs[0].index


def _kernel(operator: Operator) -> np.ndarray:
    assert operator.inputs[1] is not None
    return operator.inputs[1].array()


class _Walk:
    """Runs the int8 file operator by operator on all images, and corrects each layer before what follows it is run."""

    def __init__(
        self,
        floats: TfliteGraph,
        quantized: bytes,
        linear: _Linear,
        exact: Mapping[int, np.ndarray],
        rounded: Mapping[int, np.ndarray],
    ):
        self.layers = {floats.operators[index].outputs[0].index: index for index in linear.layers}
        self.graph, self.model, self.linear, self.exact, self.rounded = parse(quantized), unpack(quantized), linear, exact, rounded
        self.last: dict[int, int] = {}
        for operator in self.graph.operators:
            self.last |= {tensor.index: operator.index for tensor in operator.inputs if tensor is not None}

    def run(self, images: np.ndarray) -> Shifts:
        values = {self.graph.inputs[0].index: images}
        shifts: Shifts = {}
        for operator in self.graph.operators:
            read = list(dict.fromkeys(t.index for t in operator.inputs if t is not None and not t.constant))
            constants: dict[int, np.ndarray] = {}
            layer = self.layers.get(operator.outputs[0].index)
            if layer is not None:
                shifts[layer], constants = self._correct(operator, layer, values[read[0]])
            if any(tensor.index in self.last for tensor in operator.outputs):
                outputs = one_operator(self.model, operator.index, read, constants).run([values[index] for index in read])
                values |= {tensor.index: made for tensor, made in zip(operator.outputs, outputs, strict=True)}
            for index in read:
                if self.last[index] == operator.index:
                    del values[index]
        return shifts

    def _correct(self, operator: Operator, layer: int, given: np.ndarray) -> tuple[np.ndarray, dict[int, np.ndarray]]:
        """The correction of a layer, and its bias with it, by tensor; for its int8 inputs (N, ...)."""
        source, kernel, bias = operator.inputs[:3]
        assert source is not None
        assert kernel is not None
        assert bias is not None
        found, steps = (self.model.subgraphs[0].tensors[tensor.index].quantization for tensor in (source, bias))
        mean = (given.mean(axis=0, keepdims=True, dtype=np.float64) - found.zeroPoint[0]) * np.float64(found.scale[0])
        shift = self.exact[layer] - self.linear.mean(layer, self.rounded[layer], mean)
        bias_steps = np.asarray(steps.scale, np.float64)
        return shift, {bias.index: (bias.array() + np.round(shift / bias_steps)).astype("<i4")}
