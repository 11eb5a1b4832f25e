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
verify 1.2 s 48 images of digits: max difference 1.0e-08; in 2 images signs within rounding of zero flipped (by 1e-3); \
top-1 agrees for 100.0%; with kernels as int8, top-1 agrees for 96.1%, outputs differ by up to 2.9e-01 of the largest one, \
2.78% of the signs differ
write 1 s first.tflite, 365,568 bytes
MACs       9,502,720 of 1 bit
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━┓
┃                                ┃ digits.tflite ┃ digits-int8.tflite ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━┩
│ file, kB                       │         885.9 │              365.6 │
│ weights of 8 bit, k            │           0.0 │              180.2 │
│ weights of 32 bit, k           │         188.4 │                8.2 │
│ top-1 on digits, 450 images, % │         94.89 │              95.56 │
└────────────────────────────────┴───────────────┴────────────────────┘
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
verify     12 s  256 images of digits: max difference 3.2e-07; top-1 agrees for 100.0%; with kernels as int8, \
top-1 agrees for 100.0%, outputs differ by up to 1.1e-02 of the largest one, 3.00% of the signs differ
write      0.4 s  first.tflite, 365,584 bytes
MACs       9,502,720 of 1 bit
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━┓
┃                                ┃ digits.tflite ┃ digits-int8.tflite ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━┩
│ file, kB                       │         886.0 │              365.6 │
│ weights of 8 bit, k            │           0.0 │              180.2 │
│ weights of 32 bit, k           │         188.4 │                8.2 │
│ top-1 on digits, 450 images, % │         94.67 │              94.22 │
└────────────────────────────────┴───────────────┴────────────────────┘
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
        ("3.2e-07", "3.2e-01", "line 19 is 'verify"),
        ("100.0%; with", "99.0%; with", "line 19 is 'verify"),
        ("365,584", "369,824", "line 20 is 'write"),
        ("9,502,720", "9,502,721", "line 21 is 'MACs       9,502,721 of 1 bit', but 'MACs       9,502,720 of 1 bit' is printed"),
        ("MACs       9,502,720 of 1 bit\n", "", "line 22 is '┃  "),
        ("of 1 bit\n", "of 32 bit\n", "line 21 is 'MACs"),
        ("digits-int8", "digits-int4", "line 23 is '┃  "),
        ("886.0", "1.0", "line 25 is '│ file, kB"),
        ("180.2", "180.3", "line 26 is '│ weights of 8 bit, k"),
        ("│ weights of 8 bit, k            │           0.0 │              180.2 │\n", "", "line 26 is '│ weights of 32 bit, k"),
        ("450 images", "449 images", "line 28 is '│ top-1"),
        ("94.22 │\n", "94.22 │\nOPs\n", "line 29 is not printed after the lines above it: 'OPs'"),
        ("│ top-1 on digits, 450 images, % │         94.67 │              94.22 │\n", "", "after line 27, '│ top-1"),
    ],
)
def test_a_changed_word_or_number_is_named_with_its_line(old: str, new: str, said: str) -> None:
    assert DOCUMENTED.count(old) == 1
    found = difference(_lines(DOCUMENTED.replace(old, new)), PRINTED, numbers=True)
    assert found is not None
    assert found.startswith(said)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("of 1 bit", "of one bit"),
        ("of 1 bit", "of 8 bit"),
        ("weights of 32 bit", "weights of 8 bit"),
        ("digits-int8", "digits-int4"),
        ("kernels as int8", "kernels as int4"),
        ("max difference 1.0e-08", "max difference"),
        ("│ weights of 8 bit, k            │           0.0 │              180.2 │\n", ""),
        ("training net", "training resnet18"),
    ],
)
def test_without_numbers_words_and_numbers_of_bits_are_compared(old: str, new: str) -> None:
    other = PRINTED.replace("9,502,720", "1.5").replace("1,211", "8").replace("365,568", "9").replace("188.4", "99,999.0")
    assert difference(_lines(DOCUMENTED), other, numbers=False) is None
    assert other.count(old) == 1
    assert difference(_lines(DOCUMENTED), other.replace(old, new), numbers=False) is not None


@pytest.mark.parametrize("numbers", [True, False])
def test_digits_inside_words_and_repeated_lines_are_compared(numbers: bool) -> None:
    assert difference(_lines("resnet18 on digits"), "resnet26 on digits", numbers) is not None
    assert difference(_lines("int8-weights"), "int4-weights", numbers) is not None
    assert difference(_lines("2 of 8-bit"), "2 of 32-bit", numbers) is not None
    assert difference(_lines("a\na"), "a", numbers) is not None
    assert (difference(_lines("10 files, 1.5e+3 more"), "1,000 files, 2.5 more", numbers) is None) == (not numbers)


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
