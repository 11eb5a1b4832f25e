"""The report page: sections of text, plots and tables in one self-contained HTML file.

Everything that comes from files is escaped by jinja2; the page's security policy forbids scripts and external addresses.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from markupsafe import Markup

from el_larq._version import VERSION
from el_larq.devices.probe import Device
from el_larq.printable import printable
from el_larq.report import plots
from el_larq.report.collect import Material, place
from el_larq.report.evaluation_section import evaluation_section
from el_larq.report.section import Part, Section, short_name
from el_larq.report.styles import Styles, marked
from el_larq.tflite.operators import BINARY
from el_larq.training.selection import ACCURACY, MAP_50, TITLES
from el_larq.twins import TwinFigure


def render(material: Material, title: str = "Binary networks, trained and measured") -> str:
    """The HTML of a report; empty sections are left out."""
    import jinja2

    styles = Styles(material)
    made = [_twins(material), _latency(material, styles), _pareto(material, styles), _layers(material)]
    made += [_training(material, styles), evaluation_section(material.evaluations, styles), _audit(material, styles)]
    made += [_verification(material), _devices(material), _reproduce(material)]
    content = [section for section in made if section.parts]
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, finalize=_shown
    )
    template = environment.from_string((Path(__file__).parent / "page.html").read_text("utf-8"))
    sections = [(section.anchor, section.name) for section in content]
    return template.render(title=title, summary=material.summary, sections=sections, content=content, version=VERSION)


def _shown(value: Any) -> Any:
    """Make text printable, since it may come from a file. Plots are already markup and stay unchanged."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _latency(material: Material, styles: Styles) -> Section:
    section = Section("latency", "Latency")
    headings = [("model", False), ("threads", True), ("ms", True), ("noise ms", True), ("ratio", True), ("", False)]
    for target, rows in material.groups.items():
        cells = [
            (
                marked(short_name(row.model), styles.of_model(row.sha256)),
                str(row.threads),
                f"{row.latency_ms:.3f}",
                f"±{row.noise_ms:.3f}",
                f"{row.ratio:.2f}",
                row.difference,
            )
            for row in rows
        ]
        notes = list(dict.fromkeys(mark for row in rows for mark in row.marks))
        known = " ".join(notes)
        notes += [note for note in _device_notes(material, target) if note.split(":")[0] not in known]
        section.parts.append(
            Part(heading=target, notes=notes, table=f"Latency on {target}, with XNNPACK", headings=headings, rows=cells)
        )
    return section


def _device_notes(material: Material, target: str) -> list[str]:
    entry = next(entry for entry in material.records if place(entry) == target)
    known: dict[str, Any] = {k: v for k, v in entry.device.items() if k in Device.__dataclass_fields__}
    return Device(**{"machine": "", **known}).notes if known else []


def _twins(material: Material) -> Section:
    """Each binary model beside its float twin, with the latencies that were measured elsewhere."""
    section = Section("twins", "What binary bought")
    for twins in material.twins:
        headings = [(name, position > 0) for position, name in enumerate(twins.headings())]
        rows = twins.cells()
        for target, measured in material.groups.items():
            for threads in sorted({row.threads for row in measured}):
                found = {row.sha256: row.latency_ms for row in measured if row.threads == threads}
                if all(sha256 in found for sha256 in twins.hashes.values()):
                    label = f"ms on {target}, {threads} thread{'s' * (threads > 1)}"
                    rows.append(TwinFigure(label, tuple(found[sha256] for sha256 in twins.hashes.values()), 3).cells())
        notes = [twins.caveat, "One seed each: differences of accuracy of a few points may be chance."]
        section.parts.append(
            Part(heading=twins.title, notes=notes, table="Binary and real-valued, trained alike", headings=headings, rows=rows)
        )
    return section


def _pareto(material: Material, styles: Styles) -> Section:
    section = Section("tradeoff", "Accuracy against latency and size")
    described = {sha256: model for sha256, model in material.models.items() if model.accuracy is not None}
    for target, rows in material.groups.items():
        threads = rows[0].threads
        found = [
            (
                short_name(row.model),
                styles.of_model(row.sha256),
                [(row.latency_ms, 100 * (described[row.sha256].accuracy or 0))],
            )
            for row in rows
            if row.threads == threads and row.sha256 in described
        ]
        if found:
            words = "; ".join(f"{name}: {up:.2f} % in {across:.3f} ms" for name, _, [(across, up)] in found)
            caption = f"Test accuracy over latency on {target}, {threads} thread{'s' * (threads > 1)}. {words}."
            plot = plots.points(found, x="latency, ms", y="top-1, %", title=f"Accuracy over latency on {target}", describe=words)
            section.parts.append(Part(plot=plot, caption=caption))
    if described:
        found = [
            (short_name(m.path), styles.of_model(m.sha256), [(m.size / 1e3, 100 * (m.accuracy or 0))]) for m in described.values()
        ]
        words = "; ".join(f"{name}: {up:.2f} % in {across:.1f} kB" for name, _, [(across, up)] in found)
        plot = plots.points(found, x="size of the .tflite, kB", y="top-1, %", title="Accuracy over size", describe=words)
        section.parts.append(Part(plot=plot, caption=f"Test accuracy over size. {words}."))
    return section


def _layers(material: Material) -> Section:
    section = Section("layers", "Time by layer")
    headings = [("layer", False), ("operator", False), ("bits", True), ("M MACs", True), ("ms", True), ("share", True)]
    for entry in material.profiles:
        top = sorted(entry.layers, key=lambda layer: -layer["ms"])[:25]
        shown = [layer for layer in entry.layers if layer in top]
        rest = len(entry.layers) - len(shown)
        shares: dict[str, float] = {}
        for layer in entry.layers:
            kind = "without bits" if layer["bits"] is None else f"{layer['bits']} bit"
            shares[kind] = shares.get(kind, 0) + layer["share"]
        words = ", ".join(f"{kind}: {100 * share:.1f} %" for kind, share in sorted(shares.items()))
        title = f"{short_name(entry.model['path'])} on {place(entry)}"
        section.parts.append(
            Part(
                heading=title,
                text="Profiled without XNNPACK, which merges rows: compare shares, not sums, with the latency above.",
                plot=plots.layers(shown, title=f"Time by layer, {title}", describe=words),
                caption=f"Share of time: {words}." + (f" The {rest} fastest layers are not drawn." if rest else ""),
                table=f"Layers of {title}",
                headings=headings,
                rows=[
                    (
                        layer["layer"] or "–",
                        layer["operator"],
                        "" if layer["bits"] is None else str(layer["bits"]),
                        f"{layer['macs'] / 1e6:.2f}" if layer["macs"] else "",
                        f"{layer['ms']:.3f}",
                        f"{100 * layer['share']:.1f} %",
                    )
                    for layer in entry.layers
                ],
            )
        )
    return section


def _training(material: Material, styles: Styles) -> Section:
    section = Section("training", "Training")
    if not material.runs:
        return section
    curves = {"val_accuracy": "validation accuracy", f"val_{MAP_50}": f"validation {TITLES[MAP_50]}", "loss": "training loss"}
    for key, label in curves.items():
        lines = [
            (
                run.name,
                styles.of_run(run),
                [(epoch.get("epoch", number + 1), epoch[key]) for number, epoch in enumerate(run.epochs) if key in epoch],
            )
            for run in material.runs
        ]
        series = [(name, style, line) for name, style, line in lines if line]
        if series:
            words = "; ".join(f"{name}: {line[-1][1]:.4f} after epoch {line[-1][0]:g}" for name, _, line in series)
            plot = plots.curves(series, x="epoch", y=label, title=f"{label} by epoch", describe=words)
            section.parts.append(Part(plot=plot, caption=f"{label[0].upper()}{label[1:]} by epoch. {words}."))
    headings = [
        ("run", False),
        ("network", False),
        ("method", False),
        ("link", False),
        ("data", False),
        ("epochs", True),
        ("seed", True),
    ]
    rows = [
        (
            marked(run.name, styles.of_run(run)),
            *(str(run.config.get(name, "")) for name in ("network", "method", "link", "dataset")),
            str(len(run.epochs)),
            str(run.config.get("seed", "")),
            _tested(run.result),
        )
        for run in material.runs
    ]
    detectors = any(MAP_50 in run.result or f"val_{MAP_50}" in epoch for run in material.runs for epoch in (run.epochs or [{}]))
    section.parts.append(
        Part(
            table="Training runs",
            headings=[*headings, ("test top-1 or mAP@0.5, %" if detectors else "test top-1, %", True)],
            rows=rows,
        )
    )
    return section


def _tested(result: dict[str, Any]) -> str:
    found = result.get(MAP_50, result.get(ACCURACY))
    return "not done" if found is None else f"{100 * found:.2f}"


def _audit(material: Material, styles: Styles) -> Section:
    section = Section("audit", "Contents of the files")
    headings = [
        ("model", False),
        ("kB", True),
        ("binary convolutions", True),
        ("real-valued products", True),
        ("MACs by bits", False),
    ]
    rows = []
    for model in material.models.values():
        total = sum(model.macs_by_bits.values())
        binary = model.convolutions.get(BINARY, 0)
        shares = ", ".join(
            f"{bit} bit: {count / 1e6:.2f} M ({100 * count / total:.1f} %)" for bit, count in model.macs_by_bits.items()
        )
        rows.append(
            (
                marked(short_name(model.path), styles.of_model(model.sha256)),
                f"{model.size / 1e3:.1f}",
                str(binary),
                str(sum(model.convolutions.values()) - binary),
                shares,
            )
        )
    if rows:
        section.parts.append(Part(table="Convolutions and matrix products of each .tflite", headings=headings, rows=rows))
    if material.missing:
        text = "Measured, but changed or deleted since: " + ", ".join(material.missing)
        section.parts.append(Part(notes=[text]))
    return section


def _verification(material: Material) -> Section:
    """How far each file's outputs are from those of the model it was converted from, as measured by the conversion."""
    section = Section("error", "Error of conversion and quantization")
    rows = []
    for model in material.models.values():
        found = model.verified
        if found:
            stored = found.get("stored")
            of_float = (
                f"{short_name(model.path)}, before its kernels were stored" if isinstance(stored, dict) else short_name(model.path)
            )
            rows.append((of_float, *(_cell(found.get(name)) for name, _ in _VERIFIED)))
            if isinstance(stored, dict):
                # Compared with the file before, by all outputs: images with flipped signs are not left out.
                rows.append((short_name(model.path), *(_cell(stored.get(name)) for name, _ in _VERIFIED)))
    if rows:
        section.parts.append(
            Part(
                text="Largest difference of outputs, relative to the largest output, for images whose signs all agree, and the "
                "share of images whose class agrees. A flipped sign within rounding of zero is counted separately. A file with "
                "stored kernels (int8 or float16) is compared with the one before that, on all images.",
                table="Verification against the trained model",
                headings=[("model", False), *((label, True) for _, label in _VERIFIED)],
                rows=rows,
            )
        )
    for model in material.models.values():
        quantization = model.card.get("quantization")
        if isinstance(quantization, dict):
            facts = [(str(name), _cell(value)) for name, value in quantization.items()]
            section.parts.append(Part(heading=f"Quantization of {short_name(model.path)}", facts=facts))
    return section


_VERIFIED = (
    ("images", "images"),
    ("max_difference", "max. difference"),
    ("flipped_images", "images with flips"),
    ("top1_agreement", "top-1 agreement"),
)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:300]


def _devices(material: Material) -> Section:
    section = Section("devices", "Devices")
    for target in dict.fromkeys(place(entry) for entry in material.records):
        entry = [entry for entry in material.records if place(entry) == target][-1]
        device, engine = entry.device, entry.engine
        facts = [
            ("machine", f"{device.get('machine', '')}, {device.get('bits') or '?'}-bit userland"),
            ("board", device.get("board", "")),
            ("kernel", device.get("kernel", "")),
            ("Android", device.get("android") or ""),
            ("cores", f"{device.get('cpus') or '?'}, big: {', '.join(map(str, device.get('big_cores') or [])) or '?'}"),
            ("governor", ", ".join(device.get("governors") or [])),
            ("temperature", _warmth(entry.before, entry.after)),
            ("benchmark binary", engine.get("name", "")),
            ("its SHA-256", engine.get("sha256", "")),
            ("cores used", ", ".join(map(str, entry.runtime.get("cores") or [])) or "all"),
            ("measured", entry.time),
        ]
        section.parts.append(Part(heading=target, facts=[(name, str(value)) for name, value in facts if value]))
    return section


def _warmth(before: dict[str, Any], after: dict[str, Any]) -> str:
    known = [value for value in (before.get("celsius"), after.get("celsius")) if value is not None]
    return " to ".join(f"{value:.0f} °C" for value in known)


def _reproduce(material: Material) -> Section:
    return Section("reproduce", "How to reproduce", list(_recipes(material)))


def _recipes(material: Material) -> Iterator[Part]:
    for run in material.runs:
        command = run.environment.get("command")
        versions = ", ".join(f"{k} {v}" for k, v in (run.environment.get("packages") or {}).items() if v)
        if command:
            yield Part(heading=f"Training {run.name}", text=versions, code=" ".join(map(str, command)))
    seen = set()
    for entry in material.records:
        key = (entry.target, entry.model["sha256"], entry.threads, entry.profiled)
        if key in seen:
            continue
        seen.add(key)
        yield Part(
            heading=f"{short_name(entry.model['path'])} on {place(entry)}, {entry.threads} thread{'s' * (entry.threads > 1)}"
            + (", profile" if entry.profiled else ""),
            text=f"SHA-256 of the model: {entry.model['sha256']}",
            code=" ".join(entry.command) or "in-process: el-larq benchmark MODEL",
        )
