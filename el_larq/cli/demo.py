"""`el-larq demo`."""

from pathlib import Path
from typing import Any

import click

from el_larq.cli.common import common_options, print_json, print_table, say, start_tensorflow

NETWORK = "mobilenet"
WIDTH = 0.25
METHODS = ("el", "binary", "float")


@click.command()
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--epochs", type=int, help="Number of epochs. [default: the recipe's]")
@common_options
def command(out: Path, seed: int, epochs: int | None, as_json: bool) -> None:
    """Train mobilenet (width 0.25) on `photos`: binary with Elastic-Links, binary without links, real-valued; convert, verify and
    benchmark all three.
    """
    start_tensorflow()
    from el_larq.converters.pipeline import convert
    from el_larq.devices.local import caveat, measure
    from el_larq.training.run_folder import free_folder
    from el_larq.training.train import train

    folder = free_folder(out.parent, out.name)
    rows: list[dict[str, Any]] = []
    for method in METHODS:
        trained = train(
            NETWORK, method=method, recipe="demo", width=WIDTH, epochs=epochs, seed=seed, out=folder / method, notify=say
        )
        say(f"  test accuracy {trained.accuracy:.4f} after {trained.seconds:.0f} s")
        job = convert(
            trained.h5,
            trained.folder / "model.tflite",
            notify=lambda entry: say(f"  {entry.step:8}{entry.seconds:6.1f} s  {entry.summary}"),
        )
        details = {entry.step: entry.details for entry in job.report}
        rows.append(
            {
                "method": method,
                "accuracy": trained.accuracy,
                "training_seconds": round(trained.seconds, 1),
                "binary_convolutions": details["audit"]["binary"],
                "tflite_bytes": details["write"]["bytes"],
                "tflite": str(trained.folder / "model.tflite"),
                "verification": details["verify"],
            }
        )
    for row, result in zip(rows, measure([row["tflite"] for row in rows]), strict=True):
        row["latency"] = result.to_dict()
    if as_json:
        print_json({"folder": str(folder), "caveat": caveat(), "results": rows})
        return
    headings = (
        "method",
        "test accuracy",
        "training s",
        "binary convs",
        "tflite kB",
        "top-1 agreement",
        "median ms",
        "IQR ms",
    )
    table = [
        (
            row["method"],
            f"{row['accuracy']:.4f}",
            f"{row['training_seconds']:.0f}",
            row["binary_convolutions"],
            f"{row['tflite_bytes'] / 1000:.0f}",
            f"{row['verification']['top1_agreement']:.1%}",
            f"{row['latency']['median_ms']:.3f}",
            f"{row['latency']['iqr_ms']:.3f}",
        )
        for row in rows
    ]
    print_table(f"{NETWORK}, width {WIDTH}, on photos (18 classes, 4,320 test crops), seed {seed}", headings, table)
    say(f"note: {caveat()}")
    say(f"all files are in {folder}")
