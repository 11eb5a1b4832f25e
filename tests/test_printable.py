import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from el_larq.printable import counted, plot_label, printable


@given(st.text(st.characters(codec=None)))
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    shown = printable(text)
    for character in shown:
        assert unicodedata.category(character) not in ("Cc", "Zl", "Zp", "Cs")
        assert unicodedata.bidirectional(character) not in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    assert printable(shown) == shown
    shown.encode()


def test_what_is_fit_to_be_shown_stays() -> None:
    for text in ("Ångström 10 µm – ±5 %", "犬　猫", "کتاب\u200cها", "👩\u200d🔬", "a\\b 'c' [red]", ""):
        assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\rb\nc\td", r"a\rb\nc\td"),
        ("\x9b31m", r"\x9b31m"),
        ("photo\u202egnp.exe", r"photo\u202egnp.exe"),
        ("\u2066x\u2069\u200b\ufeff", r"\u2066x\u2069\u200b\ufeff"),
        ("\udcff.png", r"\udcff.png"),
        (1.5, "1.5"),
    ],
)
def test_the_rest_is_spelled_out(text: object, shown: str) -> None:
    assert printable(text) == shown


def test_a_label_of_a_plot_is_not_a_formula() -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    label = plot_label("$\\frac{$ \x1b")
    figure.text(0, 0, label)
    figure.canvas.draw()
    assert label == "\\$\\frac{\\$ \\x1b"


def test_one_is_singular() -> None:
    assert [counted(number, "run") for number in (0, 1, 2, 1200)] == ["0 runs", "1 run", "2 runs", "1,200 runs"]
