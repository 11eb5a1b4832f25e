"""Plots bits, multiply-accumulates and memory over depth."""

from pathlib import Path

from el_larq.figure_file import figure_file
from el_larq.inspection.summary import CLASSES, Inspection
from el_larq.outputs import PDF, PNG, SVG, check_output
from el_larq.printable import plot_label

FORMATS = (SVG, PNG, PDF)
COLOURS = {1: "#0072b2", 8: "#e69f00", 32: "#7f7f7f"}
"""By bits; distinguishable with any colour vision, and in print."""


def plot(inspection: Inspection, path: Path) -> None:
    """Plot two panels over the layers: MACs on a logarithmic scale, coloured by bits, and the memory alive while each layer runs.

    Raises:
        UsageError: the extension is not a known image format, or the path is a file that is not an image.
        ElLarqError: the file cannot be written.
    """
    kind = check_output(path, *FORMATS, inputs=(inspection.model,))
    positions = range(len(inspection.layers))
    with figure_file(path, (10, 6), check=kind.check_replaceable) as figure:
        macs, memory = figure.subplots(2, 1, sharex=True)
        for bits in CLASSES:
            chosen = [i for i in positions if inspection.layers[i].mac_bits == bits]
            if not chosen:
                continue
            heights = [inspection.layers[i].macs / 1e6 for i in chosen]
            macs.bar(chosen, heights, width=0.9, color=COLOURS[bits], label=f"{bits} bit")
        macs.set_yscale("log")
        macs.set_ylabel("MACs, millions")
        macs.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(CLASSES), frameon=False)
        name = plot_label(Path(inspection.model).name)
        macs.set_title(
            f"{name}: {inspection.bops / 1e9:.3g} G binary, {inspection.flops / 1e9:.3g} G other MACs",
            loc="left",
        )
        memory.bar(positions, [layer.live / 1e6 for layer in inspection.layers], width=0.9, color="#009e73")
        memory.axhline(inspection.arena / 1e6, color="black", linewidth=0.8)
        memory.annotate(f"planned arena {inspection.arena / 1e6:.2f} MB", (0, inspection.arena / 1e6), va="bottom")
        memory.set_ylabel("alive, MB")
        memory.set_xlabel("layer, in the order they run")
        for axes in (macs, memory):
            axes.spines[["top", "right"]].set_visible(False)
