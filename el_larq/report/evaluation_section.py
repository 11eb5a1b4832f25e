"""The part of a report about evaluations: accuracy, confusion matrix and the figures of each class."""

import base64

import numpy as np
from markupsafe import Markup

from el_larq.printable import printable
from el_larq.report import plots
from el_larq.report.section import Part, Section, short_name
from el_larq.report.stored_detection import MEANS, StoredDetection
from el_larq.report.stored_evaluation import StoredEvaluation
from el_larq.report.styles import Styles, marked

_DRAWN, _LISTED = 40, 50
"""Most classes of a drawn matrix, whose names would overlap otherwise, and most rows of a table."""

_OVERVIEW = (
    ("model", False),
    ("data set", False),
    ("images", True),
    ("top-1, %", True),
    ("top-5, %", True),
    ("calibration error", True),
)
_CLASSES = (("class", False), ("images", True), ("recall, %", True), ("precision, %", True), ("most often taken for", False))


def evaluation_section(evaluations: list[StoredEvaluation | StoredDetection], styles: Styles) -> Section:
    section = Section("evaluation", "Evaluation")
    section.parts += _of_classifiers([one for one in evaluations if isinstance(one, StoredEvaluation)], styles)
    section.parts += _of_detectors([one for one in evaluations if isinstance(one, StoredDetection)], styles)
    return section


def _of_detectors(evaluations: list[StoredDetection], styles: Styles) -> list[Part]:
    if not evaluations:
        return []
    rows = [
        (
            marked(short_name(found.model), styles.of_evaluation(found)),
            found.dataset,
            f"{found.images:,}",
            *(f"{100 * value:.2f}" for value in found.mean.values()),
        )
        for found in evaluations
    ]
    measures = [(f"{title}, %", True) for title in MEANS.values()]
    headings = [("model", False), ("data set", False), ("images", True), *measures]
    parts = [Part(table="Average precision of each evaluation", headings=headings, rows=rows)]
    for found in evaluations:
        title = f"{short_name(found.model)} on {found.dataset}"
        rows = [(label, f"{objects:,}", *map(_percent, values.values())) for label, objects, values in found.by_class]
        parts.append(
            Part(
                heading=title,
                notes=found.notes,
                plot=None if found.curves is None else _picture(found.curves, f"Precision over recall of {title}"),
                caption="Precision over recall at an IoU of 0.5; of many classes, those with most objects.",
                table=f"Classes of {title}",
                headings=[("class", False), ("objects", True), *measures],
                rows=rows,
            )
        )
    return parts


def _picture(svg: bytes, title: str) -> Markup:
    """A picture from a file. As an image it runs no scripts and loads nothing, whatever the file contains."""
    source = base64.b64encode(svg).decode()
    return Markup('<img alt="{}" src="data:image/svg+xml;base64,{}">').format(printable(title), source)


def _of_classifiers(evaluations: list[StoredEvaluation], styles: Styles) -> list[Part]:
    if not evaluations:
        return []
    rows = [
        (
            marked(short_name(found.model), styles.of_evaluation(found)),
            found.dataset,
            f"{found.images:,}",
            f"{100 * found.top1:.2f}",
            "–" if found.top5 is None else f"{100 * found.top5:.2f}",
            f"{found.ece:.4f}",
        )
        for found in evaluations
    ]
    overview = Part(table="Accuracy of each evaluation", headings=_OVERVIEW, rows=rows)
    return [overview, *(_one(found, styles) for found in evaluations)]


def _one(found: StoredEvaluation, styles: Styles) -> Part:
    title = f"{short_name(found.model)} on {found.dataset}"
    # The classes with the lowest recall first where not all are shown.
    order = list(range(len(found.classes)))
    if len(order) > _LISTED:
        order = sorted(order, key=lambda i: (found.classes[i].recall is None, found.classes[i].recall or 0))[:_LISTED]
    rows = [
        (
            found.classes[i].label,
            f"{found.classes[i].images:,}",
            _percent(found.classes[i].recall),
            _percent(found.classes[i].precision),
            _taken_for(found, i),
        )
        for i in order
    ]
    part = Part(heading=title, notes=found.notes, table=f"Classes of {title}", headings=_CLASSES, rows=rows)
    if len(order) < len(found.classes):
        part.text = f"The {len(order)} of {len(found.classes):,} classes with the lowest recall."
    if len(found.classes) <= _DRAWN:
        worst = _worst(found)
        words = f"top-1 {found.top1:.2%} of {found.images:,} images{f'; most frequent confusion: {worst}' if worst else ''}"
        names = [one.label for one in found.classes]
        part.plot = plots.confusion(
            names, found.confusion.tolist(), styles.of_evaluation(found), title=f"Confusion matrix of {title}", describe=words
        )
        part.caption = f"Confusion matrix: number of images by true class (rows) and predicted class (columns); {words}."
    return part


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def _taken_for(found: StoredEvaluation, index: int) -> str:
    wrong = found.confusion[index].copy()
    wrong[index] = 0
    most = int(wrong.argmax())
    return f"{found.classes[most].label} ({int(wrong[most]):,})" if wrong[most] else ""


def _worst(found: StoredEvaluation) -> str:
    wrong = found.confusion - np.diag(np.diag(found.confusion))
    true, predicted = np.unravel_index(int(wrong.argmax()), wrong.shape)
    count = int(wrong[true, predicted])
    return f"{count:,} of {found.classes[true].label} taken for {found.classes[predicted].label}" if count else ""
