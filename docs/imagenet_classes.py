"""Makes el_larq/zoo/imagenet_classes.txt from WordNet 3.0: python docs/imagenet_classes.py FOLDER_OF_data.noun SYNSETS

SYNSETS is a file with the identifiers of ImageNet's 1,000 classes ("n01440764"), one per line; TFDS contains one
(tensorflow_datasets/datasets/imagenet2012/labels.txt). The number of an identifier is the synset's position in data.noun, and a
class is named by the synset's first word. Where two classes would have the same name, they are named by all words, and
where these are the same too, with the kind of thing that WordNet's lexicographers put it in.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

OUT = Path(__file__).parents[1] / "el_larq" / "zoo" / "imagenet_classes.txt"

_KINDS = {"05": "animal", "06": "artifact"}
"""Names of the lexicographers' files, which WordNet's lexnames(5) lists."""

_NOTICE = """\
The names of ImageNet's 1,000 classes in the order of their identifiers, made by docs/imagenet_classes.py from WordNet 3.0.

This software and database is being provided to you, the LICENSEE, by Princeton University under the following license. By
obtaining, using and/or copying this software and database, you agree that you have read, understood, and will comply with these
terms and conditions.:

Permission to use, copy, modify and distribute this software and database and its documentation for any purpose and without fee or
royalty is hereby granted, provided that you agree to comply with the following copyright notice and statements, including the
disclaimer, and that the same appear on ALL copies of the software, database and documentation, including modifications that you
make for internal use or for distribution.

WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved.

THIS SOFTWARE AND DATABASE IS PROVIDED "AS IS" AND PRINCETON UNIVERSITY MAKES NO REPRESENTATIONS OR WARRANTIES, EXPRESS OR IMPLIED.
BY WAY OF EXAMPLE, BUT NOT LIMITATION, PRINCETON UNIVERSITY MAKES NO REPRESENTATIONS OR WARRANTIES OF MERCHANTABILITY OR FITNESS FOR
ANY PARTICULAR PURPOSE OR THAT THE USE OF THE LICENSED SOFTWARE, DATABASE OR DOCUMENTATION WILL NOT INFRINGE ANY THIRD PARTY
PATENTS, COPYRIGHTS, TRADEMARKS OR OTHER RIGHTS.

The name of Princeton University or Princeton may not be used in advertising or publicity pertaining to distribution of the software
and/or database. Title to copyright in this software, database and any associated documentation shall at all times remain with
Princeton University and LICENSEE agrees to preserve same.
"""

Synset = tuple[list[str], str]
"""The words, and the kind."""


def read_synsets(data: Path) -> dict[str, Synset]:
    """The synsets of a data.noun by their position."""
    found = {}
    for line in data.read_text("latin-1").splitlines():
        if line.startswith(" "):
            continue  # the licence
        fields = line.split()
        words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
        found[fields[0]] = [word.replace("_", " ") for word in words], fields[1]
    return found


def name_classes(synsets: Sequence[Synset]) -> list[str]:
    names = [words[0] for words, _kind in synsets]
    for longer in (lambda words, _: ", ".join(words), lambda words, kind: f"{', '.join(words)} ({_KINDS[kind]})"):
        count = Counter(name.casefold() for name in names)
        names = [longer(*synset) if count[name.casefold()] > 1 else name for name, synset in zip(names, synsets, strict=True)]
    return names


def main(folder: str, synsets: str) -> None:
    identifiers = sorted(Path(synsets).read_text().split())
    known = read_synsets(Path(folder) / "data.noun")
    names = name_classes([known[identifier[1:]] for identifier in identifiers])
    notice = [f"# {line}".rstrip() for line in _NOTICE.splitlines()]
    rows = [f"{identifier} {name}" for identifier, name in zip(identifiers, names, strict=True)]
    OUT.write_text("\n".join([*notice, *rows]) + "\n", "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
