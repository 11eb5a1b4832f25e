"""Evaluation of a detector between the steps of a training: its loss and average precision on a split."""

from collections.abc import Iterable
from typing import Any, cast

import tensorflow as tf
import tf_keras as keras

from el_larq.data.dataset import Dataset
from el_larq.detection.average_precision import score_detections, voc_map
from el_larq.detection.detection_set import AnnotatedSplit, DetectionSet
from el_larq.detection.non_maximum_suppression import detect
from el_larq.training.evaluator import SplitResult
from el_larq.training.selection import MAP_50, MAP_50_95
from el_larq.training.stopping import Stop


class DetectionEvaluator:
    """Evaluates a compiled detector on the splits of its data set, in one process."""

    def __init__(self, model: keras.Model, data: Dataset, stop: Stop):
        self._model, self._data, self._stop = model, cast(DetectionSet, data), stop
        self._metrics = [variable for metric in model.metrics for variable in metric.variables]

        # Any number of images: the last batch of a split is smaller.
        batches = [tf.TensorSpec((None, *shape[1:])) for shape in (model.input_shape, (None, model.output_shape[1], 5))]

        @tf.function(input_signature=batches)
        def step(images: tf.Tensor, targets: tf.Tensor) -> Any:
            predictions: Any = model(images, training=False)
            model.compute_loss(images, targets, predictions)  # updates the mean loss
            return predictions

        self._step: Any = step

    def evaluate(self, batches: Iterable[tuple[Any, Any]], split: str, complete: bool = False) -> SplitResult | None:
        """Loss and mAP@0.5 on a split, whose batches these are; None if a stop was requested meanwhile.

        The metrics' variables are restored to the epoch's, as a state saved here must have them.

        Arguments:
            complete: also mAP@[.5:.95], which takes ten times as long to compare.
        """
        before = [variable.numpy() for variable in self._metrics]
        try:
            return self._evaluate(batches, self._data.annotated_splits[split], complete)
        finally:
            for variable, value in zip(self._metrics, before, strict=True):
                variable.assign(value)

    def _evaluate(self, batches: Iterable[tuple[Any, Any]], split: AnnotatedSplit, complete: bool) -> SplitResult | None:
        self._model.reset_metrics()
        anchors, found = self._data.anchors, []
        assert anchors is not None
        for images, targets in batches:
            found += [detect(predictions, anchors).clipped() for predictions in self._step(images, targets).numpy()]
            if self._stop.asked:
                return None
        truths = [split.objects(index) for index in range(len(split))]
        figures = {metric.name: float(metric.result()) for metric in self._model.metrics}
        if not any(len(objects.required) for objects in truths):  # nothing to find, as in a tiny split
            return SplitResult(figures | {MAP_50: 0.0} | ({MAP_50_95: 0.0} if complete else {}))
        if not complete:
            return SplitResult(figures | {MAP_50: voc_map(truths, found, self._data.num_classes)})
        scores = score_detections(truths, found, self._data.num_classes).summary()
        return SplitResult(figures | {MAP_50: scores["voc_all"], MAP_50_95: scores["coco"]})
