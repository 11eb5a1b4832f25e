"""The names of ImageNet's 1,000 classes, in the order of Larq Zoo's outputs. Does not import TensorFlow.

The order is that of ImageNet's synset identifiers ("n01440764"), which data sets of ImageNet have in place of names. The names are
words of WordNet 3.0, whose licence permits copies; the file contains it.
"""

from importlib.resources import files

SOURCE = "WordNet 3.0, Copyright 2006 by Princeton University"


def imagenet_classes() -> tuple[list[str], list[str]]:
    """The identifiers and the names of the classes, both in the order of the outputs."""
    lines = files("el_larq.zoo").joinpath("imagenet_classes.txt").read_text("utf-8").splitlines()
    pairs = [line.split(" ", 1) for line in lines if not line.startswith("#")]
    return [identifier for identifier, _name in pairs], [name for _identifier, name in pairs]
