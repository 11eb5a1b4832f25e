"""`el-larq inspect`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from el_larq.cli.common import (
    MODEL,
    common_options,
    import_layers,
    model_options,
    print_json,
    print_table,
    say,
    show,
    show_wrapped,
    start_tensorflow,
)

if TYPE_CHECKING:
    from el_larq.inspection.summary import Inspection, Layer
    from el_larq.tflite.instructions import OperatorCost


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", type=MODEL)
@click.option(
    "--plot", "picture", type=click.Path(path_type=Path), help="Plot bits, MACs and memory by layer to this .svg, .png or .pdf."
)
@click.option("--audit", is_flag=True, help="Check a .tflite for what LCE runs slowly or not at all; exit status 1 on errors.")
@click.option("--cost", "core", metavar="CORE", help="Predict instructions on a core: cortex-a53, cortex-a72 or cortex-a76.")
@click.option(
    "--evaluations",
    type=click.Path(path_type=Path),
    help="With several models: folder of results of el-larq evaluate, for their accuracy. [default: evaluations]",
)
@click.option("--full", is_flag=True, help="Show each layer, the work besides MACs by operator, and all of the card.")
@click.option("--total", is_flag=True, help="Show totals only, all of them.")
@model_options
@common_options
def command(
    models: tuple[Path, ...],
    picture: Path | None,
    audit: bool,
    core: str | None,
    evaluations: Path | None,
    full: bool,
    total: bool,
    modules: tuple[str, ...],
    trust: bool,
    as_json: bool,
) -> None:
    """Show the size, operations and memory of a model (.h5, .keras, SavedModel, any .tflite, or zoo:NAME); several side by side.

    Layers are summarized by kind; --full shows each. A .tflite is inspected without TensorFlow and LCE.

    \b
    el-larq inspect model.tflite
    el-larq inspect float.tflite int8.tflite
    """
    from el_larq.errors import UsageError
    from el_larq.inspection.inspect import inspect
    from el_larq.inspection.layer_plot import FORMATS
    from el_larq.outputs import check_output
    from el_larq.tflite.instructions import check_core
    from el_larq.zoo.named_models import check_model

    if full and total:
        raise UsageError("--full shows everything, --total only totals; give one of them")
    for model in models:
        check_model(model)
    if core is not None:
        check_core(core)
    if len(models) > 1 and (picture is not None or audit or full or total):
        raise UsageError("--plot, --audit, --full and --total are for one model; give each to a command of its own")
    if evaluations is not None and len(models) == 1:
        raise UsageError("--evaluations is for several models; that of a single one is what el-larq evaluate prints")
    if evaluations is not None and not evaluations.is_dir():
        raise UsageError(f"{evaluations}: no such folder; name the one with the results of el-larq evaluate")
    if any(model.suffix != ".tflite" for model in models):
        start_tensorflow()
        import_layers(modules)
    if len(models) > 1:
        _compare([inspect(model, trust=trust, core=core) for model in models], evaluations or Path("evaluations"), as_json)
        return
    model = next(iter(models))
    if audit:
        _audit(model, as_json)
        return
    if picture is not None:
        check_output(picture, *FORMATS, inputs=(model,))
    inspection = inspect(model, trust=trust, core=core)
    if picture is not None:
        from el_larq.inspection.layer_plot import plot

        plot(inspection, picture)
        say(f"wrote {picture}")
    if as_json:
        print_json(inspection.to_dict())
        return
    if full:
        _print_layers(inspection)
        _print_other_operations(inspection)
    elif not total:
        _print_kinds(inspection)
    if not total:
        _print_cost(inspection)
    for heading, text in inspection.totals() if full or total else inspection.summary():
        show_wrapped(f"{heading:11}{text}", 11)
    if not full and not total:
        show_wrapped("details    --full shows each layer and all of the card, --json everything", 11)


def _compare(inspections: "list[Inspection]", evaluations: Path, as_json: bool) -> None:
    from el_larq.inspection.side_by_side import side_by_side
    from el_larq.report.stored_evaluation import MAP, TOP_1, accuracies
    from el_larq.zoo.named_models import find_model, hash_model

    found = accuracies(evaluations)
    known = [found.get(hash_model(find_model(one.model)), {}) for one in inspections]
    if as_json:
        entries = [
            one.to_dict() | {"top1": measured.get(TOP_1, {})} | ({"map_50": measured[MAP]} if MAP in measured else {})
            for one, measured in zip(inspections, known, strict=True)
        ]
        print_json({"models": entries})
        return
    cells = [{f"{measure} on {data}": value for measure in one for data, value in one[measure].items()} for one in known]
    headings, rows = side_by_side(inspections, cells)
    print_table("Side by side; k: thousands, M: millions, for one input", headings, rows)
    for one in inspections:
        for line in one.notes:
            say(f"note: {one.model}: {line}")
    if missing := [one.model for one, measured in zip(inspections, known, strict=True) if not measured]:
        say(f"note: not evaluated, so without accuracy: {', '.join(missing)} (el-larq evaluate FILE)")


def _audit(model: Path, as_json: bool) -> None:
    """Apply the rules that need only the flatbuffer; docs/audit.md lists all rules."""
    from dataclasses import asdict

    from el_larq.converters.rules.rule import summarized
    from el_larq.converters.rules.rule_registry import check_graph
    from el_larq.errors import UsageError
    from el_larq.files import read_bytes
    from el_larq.tflite.reader import parse

    if model.suffix != ".tflite":
        raise UsageError(f"{model}: --audit checks a .tflite; convert the model first, which audits it as well")
    findings = check_graph(parse(read_bytes(model), str(model)), str(model))
    if as_json:
        print_json({"model": str(model), "findings": [asdict(finding) for finding in findings]})
    elif findings:
        rows = [(f.severity, f.rule, f.subject, f.explanation, f.remedy) for f in summarized(findings)]
        print_table(str(model), ("severity", "rule", "subject", "reason", "remedy"), rows)
    else:
        show(f"{model}: nothing found")
    if any(finding.severity == "error" for finding in findings):
        raise click.exceptions.Exit(1)


def _print_kinds(inspection: "Inspection") -> None:
    """Print the layers summed by kind, the kind with the largest weights first."""
    groups: dict[tuple[str, int], list[Layer]] = {}
    for layer in inspection.layers:
        groups.setdefault((layer.kind, layer.mac_bits), []).append(layer)
    order = sorted(groups.items(), key=lambda group: (-sum(one.memory for one in group[1]), -len(group[1])))
    most = _MOST_KINDS if len(order) > _MOST_KINDS + 1 else len(order)
    rows = [_kind_row(kind, bits, found) for (kind, bits), found in order[:most]]
    if rest := [layer for _, found in order[most:] for layer in found]:
        rows.append(_kind_row(f"{len(order) - most} other kinds", 0, rest))
    print_table(inspection.model, ("kind", "count", "weights kB", "bits", "MACs"), rows)


_MOST_KINDS = 9

_MANY_ZEROS = 0.1
"""The share from which on zeros are shown: rounding to int8 makes a few of every kernel."""


def _kind_row(kind: str, bits: int, layers: "list[Layer]") -> tuple[str, ...]:
    macs, memory = sum(layer.macs for layer in layers), sum(layer.memory for layer in layers)
    return kind, f"{len(layers):,}", f"{memory / 1000:,.1f}" if memory else "", str(bits or ""), f"{macs:,}" if macs else ""


def _print_layers(inspection: "Inspection") -> None:
    rows = []
    for layer in inspection.layers:
        weights = (f"{layer.weights[bits]:,}" if layer.weights.get(bits) else "" for bits in (1, 8, 32))
        shape = "x".join(map(str, layer.output_shape[1:])) or "1"
        macs = (str(layer.mac_bits), f"{layer.macs:,}") if layer.macs else ("", "")
        sizes = (f"{size / 1000:,.1f}" if size else "" for size in (layer.memory, layer.activation, layer.live))
        cost = "?" if layer.instructions is None else f"{layer.instructions:,}" if layer.instructions else ""
        signs = layer.balance
        balance = ("", "") if signs is None else (f"{100 * signs.positive:.1f}", f"{signs.entropy:.3f}")
        zeros = f"{100 * layer.zeros:.1f}" if layer.zeros is not None and layer.zeros >= _MANY_ZEROS else ""
        rows.append((layer.name, layer.kind, shape, *weights, *macs, *sizes, cost if inspection.cost else "", *balance, zeros))
    weights = [f"{bits}-bit weights" for bits in (1, 8, 32)]
    headings = ["layer", "kind", "output", *weights, "bits", "MACs", "weights kB", "output kB", "live kB", "instructions"]
    headings += ["+1 %", "entropy", "zeros %"]
    # Empty columns are left out.
    shown = [i for i in range(len(headings)) if i < 3 or any(row[i] for row in rows)]
    print_table(
        inspection.model,
        [headings[i] for i in shown],
        [[row[i] for i in shown] for row in rows],
        droppable=("zeros %", "+1 %", "live kB", "output kB", "entropy", *reversed(weights), "output", "weights kB"),
    )


def _print_other_operations(inspection: "Inspection") -> None:
    """Print operations other than MACs by operator. There are none for a Keras model, since conversion folds many of them."""
    kinds = ("multiplications", "additions", "comparisons", "functions")
    rows = []
    for one in inspection.other_operations:
        figures = [f"{getattr(one, kind):,}" if getattr(one, kind) else "" for kind in kinds]
        rows.append((one.operator, one.count, f"{one.values:,}", *(figures if one.counted else ("?", *figures[1:]))))
    if rows:
        print_table(
            "Operations other than MACs, for one input",
            ("operator", "count", "values", *kinds),
            rows,
            droppable=("values", "functions"),
        )


def _print_cost(inspection: "Inspection") -> None:
    """Print predicted instructions by operator."""
    cost = inspection.cost
    if cost is None:
        return
    rows = [
        (
            one.operator,
            one.count,
            _format_instructions(one),
            f"{100 * one.instructions / max(1, cost.instructions):.1f}",
        )
        for one in cost.operators
    ]
    title = f"Predicted instructions of one inference on {cost.core}; instructions are not time"
    print_table(title, ("operator", "count", "instructions", "%"), rows)


def _format_instructions(one: "OperatorCost") -> str:
    """The instructions of the operators of one name, and how many of these are not counted."""
    if not one.uncounted:
        return f"{one.instructions:,}"
    return "not counted" if one.uncounted == one.count else f"{one.instructions:,}, {one.uncounted} not counted"
