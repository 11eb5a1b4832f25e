"""The registry of the audit's rules, and the page that `make docs` makes of it."""

import re
import subprocess
import sys
from pathlib import Path

import test_audit
import test_intent
import test_rules

from el_larq.converters.rules import rule_pages
from el_larq.converters.rules.rule_registry import RULES

PAGE = Path(__file__).parents[2] / "docs" / "audit.md"

CASES = {
    "not-binary": test_audit.test_padding_that_is_neither_a_sign_nor_zero_is_found,
    "no-operator": test_intent.test_a_layer_that_lce_has_no_binary_operator_for_is_a_separate_error,
    "binary-depthwise": test_audit.test_a_binary_depthwise_layer_is_found,
    "low-bit": test_intent.test_other_values_than_signs_are_a_separate_error,
    "zeros-as-signs": test_intent.test_a_ternary_input_that_lce_treats_as_a_sign_is_a_separate_error,
    "ternary-input": test_intent.test_a_ternary_input_keeps_a_binary_kernel_real_valued,
    "separable": test_intent.test_a_separable_convolution_is_one_warning,
    "stray-binary": test_audit.test_a_binary_convolution_from_nowhere_is_found,
    "real-input": test_intent.test_a_first_dense_layer_with_a_real_input_is_a_warning,
    "size": test_audit.test_constants_that_no_weight_explains_are_a_warning,
}
"""The failing case of each rule that compares with the model; `test_a_binary_network_passes_every_rule` is the passing one."""


def test_every_rule_has_a_case_that_passes_and_one_that_fails() -> None:
    compared = {name for name, rule in RULES.items() if rule.needs == "flatbuffer and model"}
    assert set(CASES) == compared, "add the rule's failing test to CASES"
    for name, rule in RULES.items():
        test = f"test_{name.replace('-', '_')}"
        assert rule.needs != "flatbuffer" or hasattr(test_rules, test), f"add {test} to tests/converters/test_rules.py"


def test_rules_are_in_order_of_severity() -> None:
    severities = [("error", "warning", "note").index(rule.severity) for rule in RULES.values()]
    assert severities == sorted(severities)


def test_the_page_is_what_the_rules_say() -> None:
    assert PAGE.read_text("utf-8") == rule_pages.page(), "run `make docs`"


def test_the_page_is_one_table_with_a_row_for_each_rule() -> None:
    rows = re.findall(r"^\|.*$", rule_pages.page(), re.MULTILINE)
    assert [row.split(" ")[1] for row in rows[2:]] == [f"`{name}`" for name in RULES]
    assert {row.count("|") for row in rows} == {7}


def test_the_page_is_made_without_tensorflow(tmp_path: Path) -> None:
    target = tmp_path / "audit.md"
    start = f"import runpy, sys; sys.argv[1:] = [{str(target)!r}]; runpy.run_module('el_larq.converters.rules.rule_pages'"
    code = f"{start}, run_name='__main__'); assert 'tensorflow' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert target.read_text("utf-8") == rule_pages.page()
