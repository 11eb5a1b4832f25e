"""The mapping from a model's outputs to the classes of a data set."""

from el_larq.errors import UsageError
from el_larq.printable import printable


def class_order(labels: list[str] | None, classes: tuple[str, ...], source: str, dataset: str) -> tuple[list[int], tuple[str, ...]]:
    """For each class of the data set, the position of the model's output, and a note if the labels are not the classes in order.

    Arguments:
        labels: the names of the model's outputs; None means the data set's classes in their order.

    Raises:
        UsageError: the numbers of labels and classes differ; or the names differ, and one that both have is at another position,
            so that neither names nor positions tell which output is which class.
    """
    same = list(range(len(classes)))
    if labels is None or labels == list(classes):
        return same, ()
    if len(labels) != len(classes):
        raise UsageError(
            f"{source}: has {len(labels)} labels for {len(classes)} classes of {dataset}; "
            "name its own --dataset, or give a label for each class"
        )
    if len(set(labels)) == len(labels) and set(labels) == set(classes):
        return [labels.index(name) for name in classes], (f"{source}: its classes are in another order than those of {dataset}",)
    at = next(index for index in same if labels[index] != classes[index])
    moved = [name for index, name in enumerate(classes) if name in labels and labels[index] != name]
    if moved:
        shared, only = printable(moved[0]), printable(min(set(classes) - set(labels), default=moved[0]))
        raise UsageError(
            f"{source}: {dataset} has other classes than it, and {shared} is another output there, so it cannot be scored on them "
            f"({only} is not among its own); name its own --dataset, or give the labels of its outputs with --labels"
        )
    note = (
        f"{source}: its labels are not the classes of {dataset}; outputs are assigned to classes by position "
        f"(output {at} is {labels[at]!r} there and {classes[at]!r} here); --labels sets other names"
    )
    return same, (note,)
