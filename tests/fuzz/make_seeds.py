"""Makes seeds/: one small classifier of `digits` in every format, an image of each kind, and a run folder.

The files are kept under version control, so that a damaged file is the same on every machine; run this again only to change them.
"""

import json
import shutil
from pathlib import Path

import el_larq  # isort: skip  (first: it selects Keras 2)

import larq
import numpy as np
import tf_keras as keras
from PIL import Image

from el_larq.training.models import save_model

FOLDER = Path(__file__).parent / "seeds"


def main() -> None:
    keras.utils.set_random_seed(0)
    shutil.rmtree(FOLDER, ignore_errors=True)
    (FOLDER / "run").mkdir(parents=True)
    data = el_larq.load_dataset("digits")
    image = keras.Input(data.preprocessing.input_shape, name="image")
    x = keras.layers.Conv2D(32, 3, 2, "same", use_bias=False, name="stem")(image)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = larq.layers.QuantConv2D(
        32,
        1,
        input_quantizer="ste_sign",
        kernel_quantizer="ste_sign",
        kernel_constraint="weight_clip",
        use_bias=False,
        name="binary",
    )(x)
    x = keras.layers.BatchNormalization(name="norm2")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(image, keras.layers.Dense(10, name="logits")(x), name="tiny")
    card = {
        "labels": list(data.labels),
        "preprocessing": data.preprocessing.to_dict(),
        "dataset": {"name": data.name, "version": data.version},
    }
    save_model(FOLDER, model, card)
    model.save(FOLDER / "saved_model", save_format="tf")
    el_larq.convert(FOLDER / "model.h5", FOLDER / "model.tflite")
    grey = data.test.images[0, ..., 0]
    Image.fromarray(grey).save(FOLDER / "image.png")
    colour = np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8)
    for suffix in ("jpg", "bmp", "gif", "tiff", "webp"):
        Image.fromarray(colour).save(FOLDER / f"image.{suffix}")
    config = {"network": "resnet18", "method": "el", "link": "elastic", "dataset": "digits", "seed": 0, "schema": 1}
    (FOLDER / "run" / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (FOLDER / "run" / "environment.json").write_text(json.dumps({"python": "3.11", "packages": {"larq": "0.14"}}) + "\n")
    lines = [{"epoch": epoch, "loss": 2.0 / epoch, "val_accuracy": 0.1 * epoch} for epoch in range(1, 6)]
    (FOLDER / "run" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (FOLDER / "run" / "result.json").write_text(json.dumps({"accuracy": 0.5, "epochs": 5, "seconds": 12.5}) + "\n")
    shutil.copy(FOLDER / "model.tflite", FOLDER / "run" / "model.tflite")


if __name__ == "__main__":
    main()
