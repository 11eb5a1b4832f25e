"""`el-larq report`."""

from pathlib import Path

import click

from el_larq.cli.common import common_options, print_json, show


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("report.html"), show_default=True)
@click.option("--title", default="Binary networks, trained and measured", show_default=True)
@common_options
def command(paths: tuple[Path, ...], out: Path, title: str, as_json: bool) -> None:
    """Write one self-contained HTML page about PATHS: runs, results of benchmark and evaluate, .tflite files, folders."""
    from el_larq.files import write_bytes
    from el_larq.outputs import HTML, check_output
    from el_larq.report.collect import collect
    from el_larq.report.page import render

    # No HTML file is read from the input folders, so the page may be written into one of them.
    check_output(out, HTML, inputs=[path for path in paths if not path.is_dir()])
    material = collect(paths)
    write_bytes(out, render(material, title).encode("utf-8", "replace"), HTML.check_replaceable)
    counts = {"runs": len(material.runs), "measurements": len(material.records), "models": len(material.models)}
    counts["evaluations"] = len(material.evaluations)
    if as_json:
        print_json({"report": str(out), **counts, "missing": material.missing})
    else:
        show(f"{out}: {material.summary}")
