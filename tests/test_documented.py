"""The comparison of a page's outputs with what is printed can fail, and says where."""

from pathlib import Path

import pytest
from documented import Example, Line, Page, difference, read_page

PAGE = """# A page

```sh
el-larq train a \\
    -o first  # a comment
el-larq evaluate first
```

```
one
...
two
```

Text.

```sh
el-larq list
```

```
$ el-larq inspect "my model.h5"
three
$ el-larq doctor
four
```

```python
pass
```

```
five
```
"""

PRINTED = """training net on dir:/home/me/data: 1,211 images, 1 epoch, seed 0 -> first
about 66 s for 39 more steps
epoch 1/1: loss 9.150  accuracy 0.481  validation 0.250; 16 s
test accuracy 0.2500 after 26 s; model: first/model.h5
┏━━━━━━━━┳━━━━━━━━┳━━━━━━━━━┓
┃ class  ┃ images ┃  recall ┃
┡━━━━━━━━╇━━━━━━━━╇━━━━━━━━━┩
│ coffee │     12 │         │
└────────┴────────┴─────────┘
verify 1.2 s 48 images of digits: max difference 1.0e-08; in 2 images signs within rounding of zero flipped (by 1e-3); top-1 100.0%
MACs       9,502,720 of 1 bit
"""

DOCUMENTED = """training net on dir:/tmp/x/data: 1,211 images, 10 epochs, seed 0 -> first
epoch 1/10: loss 8.278  accuracy 0.450  validation 0.250; 19 s; about 27 s left
epoch 2/10: loss 5.284  accuracy 0.637  validation 0.450; 2 min
test accuracy 1.0000 after 71 s; model: first/model.h5
┏━━━━━━━┳━━━━━━━━┳━━━━━━━━┓
┃ class ┃ images ┃ recall ┃
┡━━━━━━━╇━━━━━━━━╇━━━━━━━━┩
│ coffee │     12 │  90.0% │
└───────┴────────┴────────┘
verify     12 s  48 images of digits: max difference 3.2e-07; top-1 99.2%
MACs       9,502,720 of 1 bit
"""


def _lines(text: str) -> tuple[Line, ...]:
    return tuple(Line(10 + index, line) for index, line in enumerate(text.splitlines()))


def test_a_page_is_its_commands_with_the_outputs_that_follow_them(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    first = (("el-larq", "train", "a", "-o", "first"), ("el-larq", "evaluate", "first"))
    assert read_page(path) == Page(
        (
            Example(first, (Line(10, "one"), Line(11, "..."), Line(12, "two"))),
            Example((("el-larq", "list"),), None),
            Example((("el-larq", "inspect", "my model.h5"),), (Line(23, "three"),)),
            Example((("el-larq", "doctor"),), (Line(25, "four"),)),
        ),
        ((Line(33, "five"),),),
    )


def test_what_differs_between_machines_and_trainings_is_no_difference() -> None:
    assert difference(_lines(DOCUMENTED), PRINTED, numbers=True) is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seed 0", "seed 1", "line 10 is 'training net"),
        ("1,211 images", "1,212 images", "line 10 is 'training net"),
        ("; model:", ", model:", "line 13 is 'test accuracy"),
        ("class ┃", "kind ┃", "line 15 is '┃ kind ┃ images ┃ recall ┃', but '┃ class  ┃ images ┃  recall ┃' is printed"),
        ("    12 │  90", "    13 │  90", "line 17 is '│ coffee │     13"),
        ("9,502,720", "9,502,721", "line 20 is 'MACs       9,502,721 of 1 bit', but 'MACs       9,502,720 of 1 bit' is printed"),
        ("of 1 bit\n", "of 1 bit\nOPs\n", "line 21 is not printed after the lines above it: 'OPs'"),
        ("MACs       9,502,720 of 1 bit\n", "", "after line 19, 'MACs       9,502,720 of 1 bit' is printed too"),
    ],
)
def test_a_changed_word_or_number_is_named_with_its_line(old: str, new: str, said: str) -> None:
    assert DOCUMENTED.count(old) == 1
    found = difference(_lines(DOCUMENTED.replace(old, new)), PRINTED, numbers=True)
    assert found is not None
    assert found.startswith(said)


def test_without_numbers_only_words_are_compared() -> None:
    other = PRINTED.replace("9,502,720", "1.5").replace("1,211", "8")
    assert difference(_lines(DOCUMENTED), other, numbers=False) is None
    assert difference(_lines(DOCUMENTED), other.replace("of 1 bit", "of one bit"), numbers=False) is not None


@pytest.mark.parametrize(
    ("documented", "equal"),
    [
        ("a\nb\nc\nd", True),
        ("a\n...\nd", True),
        ("...\nc\nd", True),
        ("a\nb\n...", True),
        ("...\nb\n...", True),
        ("b\nc\nd", False),
        ("a\nb", False),
        ("a\nc\nd", False),
        ("...\nc\nb\n...", False),
        ("...\ne", False),
        ("a\n...\nc", False),
    ],
)
def test_dots_stand_for_any_number_of_lines_and_nothing_else_does(documented: str, equal: bool) -> None:
    assert (difference(_lines(documented), "a\nb\nc\nd\n", numbers=True) is None) == equal
