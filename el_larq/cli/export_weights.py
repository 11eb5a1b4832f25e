"""`el-larq export-weights`."""

from dataclasses import asdict
from pathlib import Path

import click

from el_larq.cli.common import MODEL, common_options, import_layers, model_options, print_json, say, show, start_tensorflow


@click.command()
@click.argument("model", type=MODEL)
@click.option(
    "--binary", is_flag=True, help="Export the binary kernels as packed bits and scales; required, since it is the only format."
)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="The .npz to write.")
@model_options
@common_options
def command(model: Path, binary: bool, out: Path, modules: tuple[str, ...], trust: bool, as_json: bool) -> None:
    """Write the binary kernels of MODEL (.h5, .keras, SavedModel, .tflite or zoo:NAME) as packed bits, one per weight, with scales.

    Keras files contain the real-valued kernels that training updates; inference needs only their signs.
    docs/inspecting.md describes the format; el_larq.inspection.weights.read_weights reads it.
    """
    from el_larq.errors import UsageError
    from el_larq.outputs import WEIGHTS, check_output
    from el_larq.zoo.named_models import check_model

    if not binary:
        raise UsageError("add --binary: packed bits and scales are the only export format; the other weights are in model.h5")
    check_output(out, WEIGHTS, inputs=(model,))
    check_model(model)
    if model.suffix != ".tflite":
        start_tensorflow()
        import_layers(modules)
    from el_larq.inspection.weights import binary_kernels, write_weights

    found = binary_kernels(model, trust=trust)
    write_weights(found.layers, out, model.name)
    bits = sum(layer.signs.size for layer in found.layers)
    if as_json:
        names = [{"name": layer.name, "shape": list(layer.signs.shape), "kind": layer.kind} for layer in found.layers]
        left_out = [asdict(one) for one in found.left_out]
        content = {"file": str(out), "bits": bits, "bytes": out.stat().st_size, "layers": names, "left_out": left_out}
        print_json(content)
        return
    for one in found.left_out:
        say(f"left out: {one.name}: {one.reason}")
    show(f"wrote {out}: {len(found.layers)} binary kernels, {bits:,} bits in {out.stat().st_size:,} bytes")
