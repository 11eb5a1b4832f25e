"""`el-larq inspect`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from el_larq.cli.common import common_options, import_layers, model_options, print_json, print_table, say, show, start_tensorflow

if TYPE_CHECKING:
    from el_larq.inspection.summary import Inspection


_SHOWN = ("schema", "inputs", "outputs")
"""Card fields that are not printed as such: the schema, and what is printed from the model itself."""


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--plot", "picture", type=click.Path(path_type=Path), help="Draw bits, MACs and memory over depth: F.svg, .png, .pdf."
)
@click.option("--audit", is_flag=True, help="Check a .tflite for what LCE runs slowly or not at all; exit 1 on errors.")
@click.option("--total", is_flag=True, help="Totals only, without the table.")
@model_options
@common_options
def command(
    model: Path, picture: Path | None, audit: bool, total: bool, modules: tuple[str, ...], trust: bool, as_json: bool
) -> None:
    """Say what MODEL (.h5, .keras, SavedModel, or anybody's .tflite) weighs, computes and needs.

    A .tflite needs neither TensorFlow nor LCE for that.
    """
    from el_larq.errors import ElLarqError
    from el_larq.inspection.inspect import inspect
    from el_larq.inspection.plot import FORMATS
    from el_larq.outputs import check_output

    if not model.exists():
        raise ElLarqError(f"{model}: no such file")
    if audit:
        _audit(model, as_json)
        return
    if picture is not None:
        check_output(picture, *FORMATS, inputs=(model,))
    if model.suffix != ".tflite":
        start_tensorflow()
        import_layers(modules)
    inspection = inspect(model, trust=trust)
    if picture is not None:
        from el_larq.inspection.plot import plot

        plot(inspection, picture)
        say(f"wrote {picture}")
    if as_json:
        print_json(inspection.to_dict())
        return
    if not total:
        _print_layers(inspection)
        _print_beside(inspection)
    _print_totals(inspection)


def _audit(model: Path, as_json: bool) -> None:
    """Apply the rules that need only the flatbuffer; docs/audit.md lists all rules."""
    from dataclasses import asdict

    from el_larq.converters.rules.registry import check_graph
    from el_larq.errors import UsageError
    from el_larq.files import read_bytes
    from el_larq.tflite.reader import parse

    if model.suffix != ".tflite":
        raise UsageError(f"{model}: --audit looks at a .tflite; convert the model first, which audits it")
    findings = check_graph(parse(read_bytes(model), str(model)), str(model))
    if as_json:
        print_json({"model": str(model), "findings": [asdict(finding) for finding in findings]})
    elif findings:
        rows = [(f.severity, f.rule, f.subject, f.reason, f.remedy) for f in findings]
        print_table(str(model), ("severity", "rule", "subject", "reason", "remedy"), rows)
    else:
        show(f"{model}: nothing found")
    if any(finding.severity == "error" for finding in findings):
        raise click.exceptions.Exit(1)


def _print_layers(inspection: "Inspection") -> None:
    rows = []
    for layer in inspection.layers:
        weights = (f"{layer.weights[bits]:,}" if layer.weights.get(bits) else "" for bits in (1, 8, 32))
        macs = (f"{layer.macs:,}" if layer.mac_bits == bits and layer.macs else "" for bits in (1, 8, 32))
        shape = "x".join(map(str, layer.output_shape[1:])) or "1"
        sizes = (f"{size / 1000:,.1f}" if size else "" for size in (layer.memory, layer.activation, layer.live))
        rows.append((layer.name, layer.kind, shape, *weights, *macs, *sizes))
    weights = [f"{bits}-bit weights" for bits in (1, 8, 32)]
    macs = [f"{bits}-bit MACs" for bits in (1, 8, 32)]
    headings = ["layer", "kind", "output", *weights, *macs, "weights kB", "output kB", "alive kB"]
    # Empty columns are left out.
    shown = [i for i in range(len(headings)) if i < 3 or any(row[i] for row in rows)]
    print_table(inspection.model, [headings[i] for i in shown], [[row[i] for i in shown] for row in rows])


def _print_beside(inspection: "Inspection") -> None:
    """Print operations other than MACs by operator. There are none for a Keras model, since conversion folds many of them."""
    kinds = ("multiplications", "additions", "comparisons", "functions")
    rows = []
    for one in inspection.beside:
        figures = [f"{getattr(one, kind):,}" if getattr(one, kind) else "" for kind in kinds]
        rows.append((one.operator, one.count, f"{one.values:,}", *(figures if one.counted else ("?", *figures[1:]))))
    if rows:
        print_table("Beside MACs, for one input", ("operator", "count", "values", *kinds), rows)


def _print_totals(inspection: "Inspection") -> None:
    lines = [
        ("file", f"{inspection.size:,} bytes"),
        (
            "as .tflite" if inspection.format != "tflite" else "predicted",
            f"{inspection.predicted_size:,} bytes{_departure(inspection)}: "
            + ", ".join(f"{size:,} {name}" for name, size in inspection.predicted.items() if size),
        ),
        ("weights", _by_bits(inspection.weights)),
        ("MACs", _by_bits(inspection.macs)),
        ("OPs", f"{inspection.ops:,.0f} = {inspection.flops:,} FLOPs + {inspection.bops:,} BOPs / 64"),
        *([("beside", _beside(inspection))] if inspection.beside else []),
        (
            "peak RAM",
            f"{inspection.arena:,} bytes of activations and buffers (greatest buffer {inspection.scratch_peak:,}; "
            f"no plan can do with less than {inspection.live_peak:,})",
        ),
        *(("input", _describe(tensor)) for tensor in inspection.inputs),
        *(
            ("output", f"{number} {_describe(tensor)}" if len(inspection.outputs) > 1 else _describe(tensor))
            for number, tensor in enumerate(inspection.outputs)
        ),
        *(("metadata", f"{name}, {size:,} bytes") for name, size in inspection.metadata.items()),
        *(
            ("card", f"{name}: {_short(value)}")
            for name, value in inspection.card.items()
            if value is not None and name not in _SHOWN
        ),
        *(("note", f"MACs of {name} are not counted") for name in inspection.uncounted),
        *(("note", note) for note in inspection.notes),
    ]
    for heading, text in lines:
        show(f"{heading:11}{text}")


def _beside(inspection: "Inspection") -> str:
    kinds = ("multiplications", "additions", "comparisons", "functions")
    totals = ((kind, sum(getattr(one, kind) for one in inspection.beside)) for kind in kinds)
    return ", ".join(f"{total:,} {kind}" for kind, total in totals if total) or "none"


def _departure(inspection: "Inspection") -> str:
    """How much larger a .tflite is than the predicted size of its parts, due to names, shapes and operators."""
    if inspection.format != "tflite" or not inspection.predicted_size:
        return ""
    return f" (the file has {inspection.size / inspection.predicted_size - 1:+.1%} for names, shapes and operators)"


def _by_bits(counts: dict[int, int]) -> str:
    return ", ".join(f"{count:,} of {bits} bit" for bits, count in counts.items() if count) or "none"


def _describe(tensor: dict[str, object]) -> str:
    return f"{tensor['name']}: {tensor['type']} {tensor['shape']}"


def _short(value: object, limit: int = 120) -> str:
    if isinstance(value, dict):
        value = ", ".join(f"{name} {item}" for name, item in value.items() if not isinstance(item, (dict, list)))
    elif isinstance(value, list):
        value = f"{len(value)}: {', '.join(str(item) for item in value)}"
    text = " ".join(str(value).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
