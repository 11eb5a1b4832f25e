"""int4 with a scale per channel: steps that were learned are found again, others cost least; and TFLite's bytes."""

import numpy as np
import pytest

from el_larq.compression.int4 import LARGEST, int4_scales, pack
from el_larq.compression.symmetric import dequantize, quantize
from el_larq.tflite.reader import Tensor


@pytest.mark.parametrize("axis", [0, 3])
def test_kernels_of_learned_steps_are_exact_whatever_their_channels_are_multiplied_by(axis: int) -> None:
    random = np.random.default_rng(0)
    for largest in range(LARGEST + 1):  # channels that do not use all integers too
        integers = random.integers(-largest, largest + 1, (5, 3, 3, 5))
        shape = [-1 if number == axis else 1 for number in range(4)]
        steps, factors = (random.uniform(0.01, 3, 5).astype(np.float32).reshape(shape) for _ in range(2))
        values = (integers.astype(np.float32) * steps) * factors  # float32, as a normalization is folded
        scales, exact = int4_scales(values, axis)
        assert exact.all()
        stored = dequantize(quantize(values, scales, axis, LARGEST), scales, axis)
        np.testing.assert_allclose(stored, values, rtol=1e-6)


def test_other_channels_have_the_step_with_the_least_error() -> None:
    values = np.random.default_rng(0).normal(size=(3, 200)).astype(np.float32)
    values[1] = 0
    scales, exact = int4_scales(values, 0)
    assert exact.tolist() == [False, True, False]
    assert scales[1] == 1

    def error(row: int, scale: float) -> float:
        return float(((scale * np.clip(np.round(values[row] / scale), -7, 7) - values[row]) ** 2).sum())

    for row in (0, 2):
        widest = np.abs(values[row]).max() / LARGEST
        best = min(error(row, widest * share) for share in np.linspace(0.05, 1, 400))
        assert error(row, float(scales[row])) < 1.02 * best < error(row, widest)


@pytest.mark.parametrize("shape", [(2, 3), (3, 1, 1, 5), (1,)])
def test_two_integers_are_in_a_byte_and_the_first_one_in_the_lower_half(shape: tuple[int, ...]) -> None:
    integers = np.random.default_rng(0).integers(-8, 8, shape).astype(np.int8)
    content, flat = pack(integers), integers.ravel().tolist()
    wanted = [(flat[i] % 16) + 16 * (flat[i + 1] % 16 if i + 1 < len(flat) else 0) for i in range(0, len(flat), 2)]
    assert list(content) == wanted
    tensor = Tensor(0, "kernel", "int4", shape, content)
    np.testing.assert_array_equal(tensor.array(), integers)
    assert tensor.array().dtype == np.int8
