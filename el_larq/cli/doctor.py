"""`el-larq doctor`."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from el_larq.cli.common import common_options, print_json, print_table, show

if TYPE_CHECKING:
    from el_larq.doctor.check import Check


@click.command()
@common_options
def command(as_json: bool) -> None:
    """Check versions, machine, devices and data sets, and say how to fix each problem.

    The exit status is 1 if there is a problem. Works without TensorFlow.
    """
    from el_larq.doctor import environment, machine, versions
    from el_larq.doctor.check import PROBLEM

    checks = [*versions.checks(), *machine.checks(Path.cwd()), *environment.checks(), _emulation()]
    problems = sum(check.state == PROBLEM for check in checks)
    if as_json:
        print_json({"lacking": problems, "checks": [asdict(check) for check in checks]})
    else:
        rows = [(check.area, check.name, check.label, check.found, check.remedy) for check in checks]
        print_table("doctor", ("area", "check", "state", "found", "remedy"), rows)
        show(f"{problems} problem{'s' * (problems > 1)}; see the remedies" if problems else "no problems")
    sys.exit(1 if problems else 0)


def _emulation() -> "Check":
    from el_larq.devices.emulator import describe_readiness
    from el_larq.doctor.check import NOTE, OK, Check

    ready, found, remedy = describe_readiness()
    return Check("devices", "emulation", OK if ready else NOTE, found, remedy)
