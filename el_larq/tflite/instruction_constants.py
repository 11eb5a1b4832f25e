"""Constants of the predicted instructions of `instructions.py`, with the source of each.

Three kinds of source: "kernel": instructions of a loop counted in the source of the kernel that runs (LCE 0.16, XNNPACK of 2024);
"counted": stated for whole networks that were counted under qemu-aarch64 with LCE 0.16's benchmark tool (docs/cost.md names them);
"fitted": chosen so that the predictions of those networks meet their counts. Only "kernel" is independent of docs/cost.md.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Constant:
    """A number of instructions, what it is counted per, and its source."""

    instructions: float
    per: str
    source: str


CORES = {
    "cortex-a53": "in order; Raspberry Pi 3. No dot product: int8 runs on multiplications of 8 by 8 bits",
    "cortex-a72": "Raspberry Pi 4. No dot product: int8 runs on multiplications of 8 by 8 bits",
    "cortex-a76": "Raspberry Pi 5. Dot product of 4 int8 values",
}
DOT_PRODUCT = ("cortex-a76",)

# Binary convolutions: LCE's kernel for 8 channels and 4 pixels with 16-bit sums.
BINARY_STEP = Constant(105, "128 bits of depth of a tile of 8 channels x 4 pixels", "kernel: 3 x 25 + 27 + 3")
BINARY_FLOAT = Constant(
    102.5, "tile, to scale, shift and store 32 float values", "counted: the binary product of four networks, each within 0.5 %"
)
BINARY_BITS = Constant(76, "tile, to compare with thresholds and store 32 bits", "kernel: 80, less 4 of the last step")
BINARY_PACK = Constant(16, "16 words, to arrange the input for the kernel", "kernel: 4 loads, 4 stores, 8 for pointers and loop")
BINARY_PACK_END = Constant(120, "4 pixels whose depth is not a multiple of 128 bits", "fitted: calls of memcpy and memset")
IM2COL = Constant(17, "position of the kernel at each output pixel, and a word of each 4", "fitted: 1.5 M of ResNet26")

QUANTIZE = {
    "float32": Constant(49 / 128, "value packed to a bit", "kernel: 49 for 128 values"),
    "int8": Constant(29 / 128, "value packed to a bit", "kernel: 29 for 128 values"),
}
QUANTIZE_REST = Constant(4, "value packed to a bit, where channels are not a multiple of 32", "estimate: portable code")
DEQUANTIZE_BITS = Constant(1.5, "bit that becomes a value", "fitted: MobileNet with binary depthwise convolutions")

# float32 convolutions: XNNPACK's kernels for 6 pixels x 8 channels.
FLOAT_STEP = {
    "cortex-a53": Constant(93 / 4, "input channel of a tile of 6 pixels x 8 channels", "kernel: 93 for 4 channels"),
    "cortex-a72": Constant(59 / 4, "input channel of a tile of 6 pixels x 8 channels", "kernel: 59 for 4 channels"),
    "cortex-a76": Constant(59 / 4, "input channel of a tile of 6 pixels x 8 channels", "kernel: 59 for 4 channels"),
}
FLOAT_REST = (
    Constant(19, "an odd last channel", "kernel: 12 multiplications and 7 loads"),
    Constant(32, "the last 2 of 4 channels", "kernel: 24 multiplications and 8 loads"),
)
FLOAT_TAP = Constant(
    31, "position of the kernel, for the 6 pointers", "kernel: 3 loads, 18 for pointers, 8 for the loops; fitted 2"
)
FLOAT_TILE = Constant(75, "tile, for bias, clamp, stores and the call", "kernel: 13 + 24 + 12 + 13; fitted 13")
FLOAT_DENSE = Constant(15 / 32, "multiply-accumulate of a dense layer on one vector", "kernel: 15 for 4 x 8")

DEPTHWISE_TAP = Constant(
    5.6 / 8, "position of the kernel, for each output value", "kernel: 3 loads and 2 multiplications for 8 channels"
)
DEPTHWISE_VALUE = Constant(11 / 8, "output value, for bias, clamp and store", "kernel: 11 for 8 channels")
POINTER = Constant(3, "position of a window at each output pixel, for its pointer", "kernel: a load, a comparison, an addition")
POOL_TAP = Constant(
    4 / 8, "position of a window, for each output value", "kernel: 2 loads and 2 additions or maxima for 8 channels"
)
POOL_VALUE = Constant(11 / 8, "output value of a pooling", "kernel: 11 for 8 channels")
POOL_POSITIONS = 9
"""XNNPACK's pooling kernels always read 9 positions; larger windows take further passes of 8."""

ELEMENTWISE = Constant(10 / 8, "value of an addition or multiplication", "counted: 10 for 8 values")
CALL = Constant(40, "call of a kernel for one row of a tensor that is broadcast", "fitted: 1.2 M of ResNet26, 2.7 M of ReActNet-A")
UNARY = Constant(8 / 8, "value of a ReLU or a clip", "kernel: 8 for 8 values")
PRELU = Constant(25 / 16, "value of a PReLU", "kernel: 25 for 16 values")
COPY = Constant(0.14, "byte that a RESHAPE, concatenation or slice copies", "counted: 4.85 M for the RESHAPEs of ResNet26")
REDUCTION = Constant(1.0, "value that is averaged", "estimate: a load and an addition for 4 values, and the calls")

# int8: XNNPACK's kernels for 2 pixels x 8 channels (depth in steps of 8), with dot product 4 x 16 (in steps of 4).
INT8_TAP = Constant(14, "position of the kernel, for the 2 pointers", "kernel: 1 load, 6 for pointers, 7 for the loops")
DOT_TAP = Constant(22, "position of the kernel, for the 4 pointers", "kernel: 2 loads, 12 for pointers, 8 for the loops")
INT8_STEP = Constant(3.24, "input channel of a tile of 2 pixels x 8 channels, without dot product", "fitted to two int8 networks")
INT8_TILE = Constant(249, "tile of 2 pixels x 8 channels, to arrange, scale, round and store", "fitted to two int8 networks")
DOT_STEP = Constant(
    5.34, "input channel of a tile of 4 pixels x 16 channels, with dot product", "fitted to two int8 networks; kernel: 84 for 16"
)
DOT_TILE = Constant(490, "tile of 4 pixels x 16 channels, to arrange, scale, round and store", "fitted to two int8 networks")
INT8_DEPTHWISE_TAP = Constant(10 / 16, "position of the kernel, for each output value", "kernel: 10 for 16 channels")
INT8_DEPTHWISE_VALUE = Constant(35 / 16, "output value, to scale, round and store", "kernel: 35 for 16 channels")
INT8_ELEMENTWISE = Constant(2.8, "value of an int8 addition", "kernel: 45 for 16 values")
CONVERT = Constant(1.3, "value that changes between float32 and int8", "kernel: 42 for 32 values")

OPERATOR = Constant(8000, "operator, to call it", "fitted")
IN_PLACE = Constant(500, "operator that only changes the shape, in place", "estimate")
