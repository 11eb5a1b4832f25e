"""`el-larq doctor`."""

import sys
from dataclasses import asdict
from pathlib import Path

import click

from el_larq.cli.common import common_options, print_json, print_table, show


@click.command()
@common_options
def command(as_json: bool) -> None:
    """Look at versions, machine, devices and data sets; each lack comes with its remedy.

    Exit status 1 if something is lacking; works without TensorFlow.
    """
    from el_larq.doctor import environment, machine, versions
    from el_larq.doctor.check import LACK

    checks = [*versions.checks(), *machine.checks(Path.cwd()), *environment.checks()]
    lacking = sum(check.state == LACK for check in checks)
    if as_json:
        print_json({"lacking": lacking, "checks": [asdict(check) for check in checks]})
    else:
        rows = [(check.area, check.name, check.state, check.found, check.remedy) for check in checks]
        print_table("doctor", ("area", "what", "state", "found", "remedy"), rows)
        show("nothing is lacking" if not lacking else f"{lacking} missing: see the remedies")
    sys.exit(1 if lacking else 0)
