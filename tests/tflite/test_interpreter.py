"""LCE's interpreter on files, in this process and in the limited one."""

from pathlib import Path

import numpy as np
import pytest

from el_larq.errors import ElLarqError
from el_larq.tflite import limited_interpreter
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.limited_interpreter import LimitedInterpreter


def images(interpreter: Interpreter, count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, *interpreter.input_shape)).astype(np.float32)


@pytest.mark.parametrize("name", ["float", "int8", "bin4"])
def test_outputs_depend_on_each_image_alone(data_folder: Path, name: str) -> None:
    interpreter = Interpreter((data_folder / f"{name}.tflite").read_bytes())
    batch = images(interpreter)
    together = interpreter.run_real(batch)
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    for number in range(len(batch)):
        np.testing.assert_allclose(interpreter.run_real(batch[number : number + 1])[0], together[number], atol=1e-5)


def test_integer_inputs_are_quantized_and_outputs_dequantized(data_folder: Path) -> None:
    interpreter = Interpreter((data_folder / "int8.tflite").read_bytes())
    tensor, output = interpreter.graph.inputs[0], interpreter.graph.outputs[0]
    (raw,) = interpreter.random_inputs(np.random.default_rng(1))
    assert tensor.type == output.type == "int8"
    given = interpreter._interpreter
    real = (raw.astype(np.float32) - given.input_zero_points[0]) * given.input_scales[0]
    expected = (interpreter.run(raw)[0].astype(np.float32) - given.output_zero_points[0]) * given.output_scales[0]
    np.testing.assert_allclose(interpreter.run_real(real.astype(np.float32)), expected, rtol=1e-6)


def test_random_inputs_are_of_the_inputs_type(data_folder: Path) -> None:
    for path in sorted(data_folder.glob("*.tflite")):
        interpreter = Interpreter(path.read_bytes())
        (value,) = interpreter.random_inputs(np.random.default_rng(0))
        assert value.shape == (1, *interpreter.input_shape)
        assert value.dtype.name == interpreter.graph.inputs[0].type
        assert len(np.unique(value)) > 1


def test_images_of_another_shape_are_refused(data_folder: Path) -> None:
    interpreter = Interpreter((data_folder / "float.tflite").read_bytes(), source="float.tflite")
    with pytest.raises(ElLarqError, match=r"float\.tflite: takes inputs of shape .*; got \(1, 2, 3\)"):
        interpreter.run(np.zeros((1, 1, 2, 3), np.float32))


def test_the_limited_process_computes_the_same(data_folder: Path) -> None:
    content = (data_folder / "bin4.tflite").read_bytes()
    here = Interpreter(content)
    batch = images(here, 2)
    with LimitedInterpreter(content, source="bin4.tflite") as there:
        assert there.input_shape == here.input_shape
        np.testing.assert_array_equal(there.run_real(batch), here.run_real(batch))
        for a, b in zip(there.run(batch), here.run(batch), strict=True):
            np.testing.assert_array_equal(a, b)
        assert there.process.process.is_alive()
    assert not there.process.process.is_alive()


def test_a_process_that_ends_is_named_with_the_remedy(data_folder: Path) -> None:
    content = (data_folder / "bin4.tflite").read_bytes()
    with LimitedInterpreter(content, source="bin4.tflite") as there:
        batch = np.zeros((1, *there.input_shape), np.float32)
        there.run_real(batch)
        there.process.process.kill()
        with pytest.raises(ElLarqError, match=r"^bin4\.tflite: the process that ran it .*convert it again.*--trust"):
            there.run_real(batch)


def test_more_memory_than_allowed_is_one_line(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the process does when the system refuses memory."""
    interpreter = Interpreter((data_folder / "float.tflite").read_bytes(), source="float.tflite")
    monkeypatch.setitem(limited_interpreter._state, "interpreter", interpreter)
    batch = images(interpreter, 1)

    def greedy(_interpreter: Interpreter, _images: np.ndarray) -> None:
        raise MemoryError

    with pytest.raises(ElLarqError, match=r"^float\.tflite: needs more memory than the limit"):
        limited_interpreter._call(greedy, batch)
    np.testing.assert_array_equal(limited_interpreter._call(limited_interpreter._run_real, batch, 0), interpreter.run_real(batch))
