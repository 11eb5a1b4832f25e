"""What int8 costs real-valued networks without training: `quantize`, the plain TensorFlow Lite converter, and ai-edge-quantizer.

    python benchmarks/guideline.py                    three networks, two data sets, three seeds; continues where it stopped
    python benchmarks/guideline.py --only photos-0    runs whose name contains the text
    python benchmarks/guideline.py --edge PYTHON      the Python of an environment with ai-edge-quantizer; otherwise it is left out
    python benchmarks/guideline.py --table            the table of docs/guideline.md, from the results so far

Each network is trained in float, briefly, on 32x32 pixels. Every mode quantizes the same trained network with the same 256 training
images, and LCE's interpreter runs every file on the same test images, which are spread over the test split. `uneven` is MobileNetV2
with ReLU in place of ReLU6, whose expansions are multiplied by powers of two, 1/16 to 16 at random, and whose depthwise kernels are
divided by them: in float, it computes exactly the same.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from recorded_runs import announce, append, begin, commit, machine, paired, parser, points, read

import el_larq

NETWORKS = {"mobilenet_v2": ("mobilenet_v2", 0.35), "uneven": ("mobilenet_v2", 0.35), "resnet50": ("resnet50", 0.25)}
DATASETS = ("photos", "fashion_mnist")
SEEDS = (0, 1, 2)
BATCH, STEPS, LEARNING_RATE, SIZE = 64, 500, 2e-3, 32
CALIBRATION, TESTS = 256, 2000
MODES = {
    "float": "float32, top-1",
    "tflite": "TFLite's converter",
    "edge": "ai-edge-quantizer",
    "minmax": "`--recipe minmax`",
    "guideline": "`quantize`",
}
COLUMNS = ("network", "dataset", "seed", "mode", "accuracy", "agreement", "images", "bytes", "commit", "machine")

_EDGE = """
import sys
import numpy as np
from ai_edge_quantizer import quantizer, recipe
source, name, images, out = sys.argv[1:]
made = quantizer.Quantizer(source)
made.load_quantization_recipe(recipe.static_wi8_ai8())
found = made.calibrate({"serving_default": [{name: image[None]} for image in np.load(images)]})
made.quantize(found).export_model(out, overwrite=True)
"""


@dataclass(frozen=True)
class Run:
    network: str
    dataset: str
    seed: int

    @property
    def folder(self) -> str:
        return f"{self.network}-{self.dataset}-{self.seed}"


def trained(run: Run, data: Any, path: Path) -> Any:
    """The trained network, from the scratch folder if it is there."""
    import tf_keras as keras

    if path.exists():
        return el_larq.load_model(path)
    keras.utils.set_random_seed(run.seed)
    name, width = NETWORKS[run.network]
    classes = len(data.labels)
    model: Any = el_larq.build(name, "float", input_shape=data.preprocessing.input_shape, num_classes=classes, width=width)
    if run.network == "uneven":
        model = keras.models.clone_model(model, clone_function=_with_relu)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    steps: Any = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, STEPS)
    model.compile(keras.optimizers.Adam(steps), loss)
    epochs = 1 + BATCH * STEPS // data.train_size
    model.fit(data.training_batches(BATCH, epochs, run.seed), steps_per_epoch=STEPS, epochs=1, verbose=0)
    if run.network == "uneven":
        _make_uneven(model, np.random.default_rng(run.seed))
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save(path)
    return model


def _with_relu(layer: Any) -> Any:
    config = layer.get_config()
    return type(layer).from_config(config | {"max_value": None} if "max_value" in config else config)


def _make_uneven(model: Any, numbers: np.random.Generator) -> None:
    for layer in model.layers:
        if layer.name.endswith("_expand_BN"):
            depthwise = model.get_layer(layer.name.replace("_expand_BN", "_depthwise"))
            factors = np.exp2(numbers.integers(-4, 5, layer.gamma.shape)).astype(np.float32)
            gamma, beta, *moments = layer.get_weights()
            layer.set_weights([gamma * factors, beta * factors, *moments])
            depthwise.set_weights([depthwise.get_weights()[0] / factors[:, None]])


def quantized(mode: str, model: Path, images: Path, out: Path, edge: Path | None) -> bytes:
    if mode in ("minmax", "guideline"):
        job = el_larq.quantize(model, calibrate=str(images), calibration_images=CALIBRATION, recipe=mode)
        return job.need_tflite()
    import tensorflow as tf

    network: Any = el_larq.load_model(model)
    network.export(out.with_suffix(""))
    converter = tf.lite.TFLiteConverter.from_saved_model(str(out.with_suffix("")))
    if mode == "tflite":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None]] for image in np.load(images))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        return converter.convert()
    source = out.with_name(f"{out.stem}-float.tflite")
    source.write_bytes(converter.convert())
    name = next(iter(tf.lite.Interpreter(str(source)).get_signature_list()["serving_default"]["inputs"]))
    subprocess.run([str(edge), "-c", _EDGE, source, name, images, out], check=True)
    return out.read_bytes()


def measure(run: Run, data: Any, scratch: Path, mode: str, edge: Path | None) -> dict[str, Any]:
    from el_larq.tflite.interpreter import Interpreter

    folder = scratch / run.folder
    model = trained(run, data, folder / "model.h5")
    inputs, labels = data.test_images(TESTS)
    exact = model.predict(inputs, verbose=0).argmax(axis=-1)
    found, size = exact, 0
    if mode != "float":
        images = folder / "calibration.npy"
        if not images.exists():
            shuffled = np.random.default_rng(run.seed).permutation(data.train_size)[:CALIBRATION]
            np.save(images, data.preprocessing.scale(data.train.images[shuffled]))
        content = quantized(mode, folder / "model.h5", images, folder / f"{mode}.tflite", edge)
        found, size = Interpreter(content).run_real(inputs).argmax(axis=-1), len(content)
    accuracy, agreement = (round(float(np.mean(found == wanted)), 4) for wanted in (labels, exact))
    values = (run.network, run.dataset, run.seed, mode, accuracy, agreement, len(labels), size, commit(), machine())
    return dict(zip(COLUMNS, values, strict=True))


def table(rows: list[dict[str, str]]) -> str:
    by_run: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for row in rows:
        modes = by_run.setdefault((row["network"], row["dataset"]), {})
        modes.setdefault(row["mode"], {})[row["seed"]] = float(row["accuracy"])
    others = [mode for mode in MODES if mode != "float"]
    lines = ["| network | data set | seeds | " + " | ".join(MODES.values()) + " |", "| --- " * (len(MODES) + 3) + "|"]
    for (network, dataset), modes in by_run.items():
        real, cells = modes.get("float", {}), []
        for mode in others:
            differences = [value - real[seed] for seed, value in modes.get(mode, {}).items() if seed in real]
            cells.append(points(*paired(differences)) if differences else "")
        accuracy = f"{100 * sum(real.values()) / len(real):.2f} %" if real else ""
        lines.append(f"| {network} | {dataset} | {len(real)} | {accuracy} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    command_line = parser(__doc__, "guideline")
    command_line.add_argument("--only", default="", help="only runs whose name contains this text")
    command_line.add_argument("--edge", type=Path, help="the Python of an environment that has ai-edge-quantizer")
    options = command_line.parse_args()
    if options.table:
        print(table(read(options.results)))
        return
    runs = [Run(name, data, seed) for seed in SEEDS for data in DATASETS for name in NETWORKS]
    runs = [run for run in runs if options.only in run.folder]
    if options.list:
        print(*(run.folder for run in runs), sep="\n")
        return
    begin(options.scratch)
    for run in announce(runs):
        done = {row["mode"] for row in read(options.results) if Run(row["network"], row["dataset"], int(row["seed"])) == run}
        missing = [mode for mode in MODES if mode not in done and (mode != "edge" or options.edge)]
        data = el_larq.load_dataset(run.dataset, SIZE) if missing else None
        for mode in missing:
            row = measure(run, data, options.scratch, mode, options.edge)
            append(options.results, COLUMNS, row)
            print(f"{run.folder} {mode}: {row['accuracy']}, as in float for {row['agreement']}, {row['bytes']:,} bytes", flush=True)


if __name__ == "__main__":
    main()
