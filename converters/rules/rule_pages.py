"""docs/audit.md, generated from the rules. Does not import TensorFlow.

python -m el_larq.converters.rules.rule_pages docs/audit.md      what `make docs` runs
"""

import sys
from pathlib import Path

from el_larq.converters.rules.rule_registry import RULES
from el_larq.files import write_bytes

_ABOUT = """\
<!-- Made by `make docs` from converters/rules: change those files. -->

# The audit

`el-larq convert` reads the flatbuffer that it made and checks it against what the model was meant to become. An error stops the
conversion before anything is written. Warnings and notes never stop it. `--allow RULE` lets violations of that rule pass;
`--allow RULE:LAYER` (`--allow not-binary:conv1`) does so in one layer, so that faults of other layers are still found.
`el-larq convert --table` shows every convolution, its bits and its operator; `--json` has all findings, with subject, reason
and remedy. Where many layers break a rule for the same reason, the message names the first three and the number of all.

Which layers are meant to be binary is read from their quantizers: a layer whose kernel and input both have one bit, whatever
the type of layer, and whatever values `NoOp(precision=1)` lets through. Where no layer declares quantizers, as in a SavedModel
of unknown classes, it is read from the frozen graph: a kernel that is the result of a sign or a comparison, or a kernel of -1
and +1 whose input is signs. The report says which of the two sources was used (`evidence`), and the summary says so where it
was the graph alone.

`el-larq inspect --audit` checks any .tflite, regardless of which tool made it, by the rules that need the flatbuffer alone.
`el-larq train` warns before it begins if `no-operator` or `binary-depthwise` will stop the conversion; MobileNet's depthwise
convolutions are real-valued unless `--depthwise binary` is given.
"""

_HEADINGS = ("rule", "severity", "needs", "requirement", "otherwise", "remedy")


def page() -> str:
    """The page, in Markdown."""
    rows = [(f"`{rule.name}`", rule.severity, rule.needs, rule.requirement, rule.why, rule.remedy) for rule in RULES.values()]
    lines = [_HEADINGS, ("---",) * len(_HEADINGS), *rows]
    return _ABOUT + "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    write_bytes(Path(sys.argv[1]), page().encode())
    print(sys.argv[1])
