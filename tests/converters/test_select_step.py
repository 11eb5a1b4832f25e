"""Detectors in a .tflite: what TFLite_Detection_PostProcess is given, and what it selects."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from untrained_detector import LABELS, SIZE, UntrainedDetector, build_detector

import el_larq
from el_larq import card
from el_larq.converters.job import Options
from el_larq.converters.postprocess_operator import with_postprocess
from el_larq.converters.selection_check import NEAR, check_selected, same_detections
from el_larq.detection.average_precision import Detections
from el_larq.detection.non_maximum_suppression import FOR_EVALUATION, Selection
from el_larq.errors import ElLarqError, UsageError
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.postprocess import OUTPUTS, output_positions
from el_larq.tflite.reader import TfliteGraph, parse

Box = tuple[float, float, float, float]


def images(count: int = 4) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, SIZE, SIZE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def bare() -> Any:
    """The job of the same detector without the operator."""
    return el_larq.convert(build_detector(), options=Options(verify_images=4), skip=("select",))


def overlap(a: Box, b: Box) -> float:
    height, width = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(height, 0.0) * max(width, 0.0)
    sizes = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return common / (sum(sizes) - common)


def selected(predictions: np.ndarray, anchors: np.ndarray, selection: Selection) -> list[tuple[float, int, Box]]:
    """Detections by the definition: softmax, SSD's decoding, greedy suppression by class; one value at a time."""
    found = []
    for number in range(predictions.shape[1] - 5):
        candidates = []
        for row, (y, x, height, width) in zip(predictions.astype(float), anchors.astype(float), strict=True):
            exponentials = np.exp(row[:-4])
            ty, tx, th, tw = row[-4:]
            cy, cx, h, w = y + ty / 10 * height, x + tx / 10 * width, height * np.exp(th / 5), width * np.exp(tw / 5)
            score = exponentials[number + 1] / exponentials.sum()
            if score >= selection.score:
                candidates.append((score, number, (cy - h / 2, cx - w / 2, cy + h / 2, cx + w / 2)))
        kept: list[tuple[float, int, Box]] = []
        for one in sorted(candidates, key=lambda c: -c[0]):
            if all(overlap(one[2], other[2]) <= selection.iou for other in kept):
                kept.append(one)
        found += kept
    return sorted(found, key=lambda c: -c[0])[: selection.most]


def test_the_file_selects_what_the_definition_does(detector: UntrainedDetector, bare: Any) -> None:
    assert len(bare.anchors) == 8 * 8 * 4 + 4 * 4 * 4
    predictions = Interpreter(bare.tflite).run(images())
    assert len(predictions) == 1
    for selection in (Selection(), Selection(0.3, 0.2, 5), Selection(0.9, 1.0, 30)):
        content = with_postprocess(bare.tflite, bare.anchors, selection)
        boxes, classes, scores, count = Interpreter(content).run(images())
        assert boxes.shape == (4, selection.most, 4)
        for number, own in enumerate(predictions[0]):
            wanted = selected(own, bare.anchors, selection)
            assert count[number] == len(wanted)
            size = len(wanted)
            assert classes[number, :size].tolist() == [label for _, label, _ in wanted]
            np.testing.assert_allclose(scores[number, :size], [score for score, _, _ in wanted], atol=1e-5)
            np.testing.assert_allclose(SIZE * boxes[number, :size], SIZE * np.reshape([b for *_, b in wanted], (-1, 4)), atol=1e-2)
            assert not scores[number, size:].any()
    assert len({int(label) for label in classes[0]}) > 1, "a network whose detections are all of one class shows little"


def test_a_detector_is_converted_with_its_boxes_selected(detector: UntrainedDetector) -> None:
    steps = {entry.step: entry.details for entry in detector.job.report}
    assert list(steps) == ["load", "fold", "lower", "arrange", "audit", "verify", "select", "write"]
    assert steps["audit"]["binary"] == steps["audit"]["meant_binary"] == 1
    assert steps["select"]["anchors"] == 320
    assert steps["select"]["images"] == 16
    assert steps["select"]["detections"] > 100
    graph = parse(detector.tflite.read_bytes())
    assert graph.output_names == OUTPUTS
    assert [tensor.shape for tensor in graph.outputs] == [(1, 200, 4), (1, 200), (1, 200), (1,)]
    assert graph.operators[-1].options["num_classes"] == 3
    assert not any(tensor.shape[-1:] == (8,) for o in graph.operators for tensor in o.outputs), "classes and boxes are not joined"
    written = card.parse(graph.metadata[card.NAME], "the file")
    assert written["labels"] == LABELS
    assert [output["name"] for output in written["outputs"]] == list(OUTPUTS)
    assert written["selection"] == {"score": 0.01, "iou": 0.45, "most": 200}
    assert written["verified"]["images"] == 256


def test_boxes_without_an_area_and_huge_ones_are_selected_too() -> None:
    """As by NumPy, with which the step compares them: codes of sides whose exponentials vanish, and fill the world."""
    model = build_detector(binary=False)
    layer = model.get_layer("head1_boxes_conv")
    kernel, bias = layer.get_weights()
    bias[[2, 3, 6]] = -200, -60, 400
    layer.set_weights([kernel, bias])
    job = el_larq.convert(model, options=Options(verify_images=4))
    assert job.tflite is not None
    boxes = Interpreter(job.tflite).run(images())[0]
    heights = boxes[..., 2] - boxes[..., 0]
    assert np.isfinite(boxes).all()
    assert heights.max() > 1e20
    assert ((heights == 0) & (boxes[..., 2] != 0)).any(), "boxes whose height is lost in rounding"


def test_without_binary_layers_tensorflow_lite_runs_it_too() -> None:
    import tensorflow as tf

    job = el_larq.convert(build_detector(binary=False), options=Options(verify_images=4), skip=("fold",))
    assert job.tflite is not None
    with pytest.warns(UserWarning, match="tf.lite.Interpreter is deprecated"):
        interpreter = tf.lite.Interpreter(model_content=job.tflite)
    interpreter.allocate_tensors()
    image = images(1)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    outputs = [interpreter.get_tensor(entry["index"]) for entry in interpreter.get_output_details()]
    assert [entry["name"] for entry in interpreter.get_output_details()] == list(OUTPUTS)
    boxes, classes, scores, count = Interpreter(job.tflite).run(image)
    assert outputs[3] == count > 10
    np.testing.assert_array_equal(outputs[1], classes)
    np.testing.assert_allclose(outputs[2], scores, atol=1e-5)
    np.testing.assert_allclose(outputs[0], boxes, atol=1e-4)


def test_other_boxes_are_found_out(bare: Any) -> None:
    """Wrong anchors, and a file with other thresholds than those asked for."""
    right = with_postprocess(bare.tflite, bare.anchors, Selection())
    assert check_selected(right, bare.anchors, Selection(), images()).images == 4
    for content, selection in (
        (with_postprocess(bare.tflite, np.roll(bare.anchors, 1, axis=0), Selection()), Selection()),
        (right, Selection(iou=0.6)),
        (right, Selection(score=0.7)),
    ):
        with pytest.raises(ElLarqError, match=r"selects other boxes of image [0-3] than NumPy"):
            check_selected(content, bare.anchors, selection, images())


def test_equal_scores_may_be_in_any_order_but_not_be_others() -> None:
    boxes = np.array([[0, 0, 0.2, 0.2], [0.4, 0.4, 0.6, 0.6], [0.7, 0.7, 0.9, 0.9]], np.float32)
    scores = np.array([[0.5], [0.5], [0.25]], np.float32)

    def same(order: list[int], selection: Selection = FOR_EVALUATION, shift: float = 0) -> bool:
        found = Detections(boxes[order] + np.float32(shift), np.zeros(len(order), np.int64), scores[order, 0])
        return same_detections(found, boxes, scores, selection, (300, 300))

    assert same([0, 1, 2])
    assert same([1, 0, 2])
    assert not same([0, 2, 1]), "a higher score is first"
    assert not same([0, 1])
    assert same([0, 1, 2], shift=0.9 / 300)
    assert not same([0, 1, 2], shift=1.1 / 300)
    # Either of two equal ones may be the last.
    assert same([0], replace(Selection(), most=1))
    assert same([1], replace(Selection(), most=1))
    assert not same([0, 2], replace(Selection(), most=2))


def test_an_iou_at_the_threshold_is_told_from_a_wrong_one() -> None:
    boxes = np.array([[0, 0, 0.2, 0.2], [0, 0.1, 0.2, 0.3]], np.float32)  # IoU 1/3
    scores = np.array([[0.9], [0.8]], np.float32)
    both = Detections(boxes, np.zeros(2, np.int64), scores[:, 0])
    at = Selection(iou=1 / 3 - NEAR / 2)
    assert not same_detections(both, boxes, scores, at, (300, 300))
    assert same_detections(both, boxes, scores, replace(at, iou=at.iou + NEAR), (300, 300))
    assert not same_detections(both, boxes, scores, Selection(iou=0.3 + NEAR), (300, 300))


def test_the_command_sets_thresholds_and_names_outputs(
    detector: UntrainedDetector, tmp_path: Path, el_larq_here: Callable[..., Any]
) -> None:
    out = tmp_path / "model.tflite"
    thresholds = ("--max-detections", 7, "--score-threshold", 0.3, "--iou-threshold", 0.5)
    result = el_larq_here("convert", detector.h5, "-o", out, *thresholds, "--skip", "fold", "--verify-images", 2, "--json")
    assert result.returncode == 0, result.stderr
    select = next(entry for entry in json.loads(result.stdout)["steps"] if entry["step"] == "select")
    assert select["details"]["selection"] == {"score": 0.3, "iou": 0.5, "most": 7}
    graph = parse(out.read_bytes())
    options = graph.operators[-1].options
    assert (options["max_detections"], options["detections_per_class"]) == (7, 7)
    assert options["nms_score_threshold"] == pytest.approx(0.3)
    assert options["nms_iou_threshold"] == pytest.approx(0.5)
    assert output_positions(graph, "it") == (0, 1, 2, 3)


def test_wrong_requests_are_one_line(
    detector: UntrainedDetector,
    small: Any,
    tmp_path: Path,
    el_larq_here: Callable[..., Any],
    one_line: Callable[[BaseException], str],
) -> None:
    result = el_larq_here("convert", small.h5, "-o", tmp_path / "model.tflite", "--max-detections", 5)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].endswith("is not a detector, so no boxes are selected; omit the options for that")
    assert not list(tmp_path.iterdir())
    with pytest.raises(UsageError) as error:
        el_larq.convert(detector.model, labels=["one", "two"])
    assert "there are 2 labels for its 3 outputs" in one_line(error.value)
    for selection in (Selection(most=0), Selection(score=1.5), Selection(iou=0)):
        with pytest.raises(UsageError) as error:
            Options(selection=selection)
        one_line(error.value)


@pytest.mark.parametrize("option", ["verify_on", "calibrate"])
def test_data_of_the_other_task_are_refused_before_any_work(detector: UntrainedDetector, small: Any, option: str) -> None:
    steps: list[Any] = []
    for model, data in ((detector.h5, "digits"), (small.h5, "shapes")):
        options = Options(verify_on=data) if option == "verify_on" else Options(calibrate=data, int8="full")
        with pytest.raises(UsageError, match=f"{data} has "):
            el_larq.convert(model, options=options, notify=steps.append)
    assert not steps


def test_a_file_that_does_not_end_as_a_detector_does_is_refused(small: Any) -> None:
    with pytest.raises(ElLarqError, match="does not end in classes and boxes"):
        with_postprocess(small.tflite.read_bytes(), np.zeros((1, 4)), Selection())
    empty = TfliteGraph((), (), (), (), {}, 0)
    assert output_positions(empty, "it") is None


@pytest.mark.parametrize("kind", ["full", "io", "weights"])
def test_boxes_are_selected_in_float_in_an_int8_file(detector: UntrainedDetector, tmp_path: Path, kind: str) -> None:
    """Classes and boxes keep scales of their own, and the file finds nearly what the float one does."""
    np.save(tmp_path / "images.npy", images(32).clip(-2, 2))
    calibrated: dict[str, Any] = {} if kind == "weights" else {"calibrate": str(tmp_path / "images.npy"), "calibration_images": 32}
    job = el_larq.convert(detector.h5, options=Options(int8=kind, verify_images=4, **calibrated))
    assert job.tflite is not None
    graph = parse(job.tflite)
    assert graph.operators[-1].name == "TFLite_Detection_PostProcess"
    assert [tensor.type for tensor in graph.outputs] == ["float32"] * 4
    assert graph.inputs[0].type == ("int8" if kind == "io" else "float32")
    sources = [tensor for tensor in graph.operators[-1].inputs[:2] if tensor is not None]
    assert [tensor.type for tensor in sources] == ["float32"] * 2
    if kind != "weights":
        logits = graph.producers[sources[1].index].inputs[0]
        assert logits is not None
        joined = [graph.producers[tensor.index] for tensor in (sources[0], logits)]
        assert [operator.name for operator in joined] == ["DEQUANTIZE"] * 2
        boxes, classes = (operator.inputs[0] for operator in joined)
        assert boxes is not None
        assert classes is not None
        assert classes.step > 1.5 * boxes.step > 0
        assert next(entry for entry in job.report if entry.step == "quantize").details["float"] == []
    new, old = (Interpreter(content).run_raw(images()).outputs for content in (job.tflite, detector.tflite.read_bytes()))
    for mine, other in zip(new[0][:, :5], old[0][:, :50], strict=True):
        # The surest five are among the surest fifty of the float file, within 2 of 32 pixels.
        assert (np.abs(mine[:, None] - other[None]).max(-1).min(1) < 2 / SIZE).all()


def test_a_detector_is_not_quantized_by_the_guideline(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", images(4))
    with pytest.raises(UsageError, match="the model is a detector"):
        el_larq.quantize(build_detector(binary=False), calibrate=str(tmp_path / "images.npy"), calibration_images=4)


def test_agreement_is_stated_where_there_are_logits(detector: UntrainedDetector) -> None:
    job = el_larq.convert(detector.h5, options=Options(int8="weights", verify_images=4), skip=("fold",))
    verified = next(entry for entry in job.report if entry.step == "verify")
    assert verified.details["stored"]["top1_agreement"] is None
    assert "top-1" not in verified.summary
