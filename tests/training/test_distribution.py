"""Several replicas in one process: the CPU as two devices, which TensorFlow has to know before anything else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import el_larq
import json, os, sys
import numpy as np
import tensorflow as tf
import tf_keras as keras

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from pathlib import Path
from el_larq.errors import UsageError
from el_larq.training import loop
from el_larq.training.recipe import Recipe
from el_larq.training.train import resume, train
from conftest import few_digits
from watched import kill_at

network, out = sys.argv[1], Path(sys.argv[2])
loop.EVALUATION_BATCH = 21  # of 64 images; the last batch has one, fewer than there are replicas
answer = {}


def weights(trained):
    return [variable.numpy() for variable in trained.model.variables]


def run(name, **changes):
    lines = []
    given = {"epochs": 3, "batch_size": 32, "learning_rate": 1e-2, "average": 0.9, "clip_norm": 1.0, "mixup": 0.0}
    recipe = Recipe("tiny", "", **(given | changes.pop("recipe", {})))
    trained = train(
        changes.pop("network", network),
        **({"dataset": few_digits(), "recipe": recipe, "seed": 5, "out": out / name, "notify": lines.append} | changes),
    )
    records = [json.loads(line) for line in (out / name / "metrics.jsonl").read_text().splitlines()]
    config = json.loads((out / name / "config.json").read_text())
    return trained, {"lines": lines, "records": records, "accuracy": trained.accuracy, "config": config}


one, answer["one"] = run("one")
two, answer["two"] = run("two", strategy="mirrored")
answer["difference"] = max(float(np.abs(a - b).max() / max(1.0, np.abs(a).max())) for a, b in zip(weights(one), weights(two)))
norms = [[layer for layer in trained.model.layers if isinstance(layer, keras.layers.BatchNormalization)] for trained in (one, two)]
answer["norms"] = [[(norm.get_config(), norm.fused, norm.synchronized) for norm in some] for some in norms]


# Dropout draws other numbers in each replica, so its states must be part of the saved state.
image = keras.Input((16, 16, 1))
x = keras.layers.Dropout(0.3)(keras.layers.Flatten()(image))
dropping = keras.Model(image, keras.layers.Dense(10)(x))
same = {"network": dropping, "strategy": "mirrored", "scale_batch": True, "recipe": {"batch_size": 16, "average": 0.0}}
whole, answer["whole"] = run("whole", **{**same})
try:
    run("parts", **{**same, "dataset": kill_at(few_digits(), 6)}, checkpoint_steps=1)
except KeyboardInterrupt:
    parts = resume(out / "parts", dataset=few_digits())
answer["parts"] = [json.loads(line) for line in (out / "parts" / "metrics.jsonl").read_text().splitlines()]
answer["same"] = all((a == b).all() for a, b in zip(weights(whole), weights(parts)))

try:
    run("odd", strategy="mirrored", recipe={"batch_size": 31})
except UsageError as error:
    answer["odd"] = str(error)
try:
    run("alone", strategy="multi-worker")
except UsageError as error:
    answer["alone"] = str(error)
compiled = keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
compiled.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
try:
    run("compiled", network=compiled, strategy="mirrored", recipe={"average": 0.0})
except UsageError as error:
    answer["compiled"] = str(error)

# The threshold of tbn is a statistic of the batch: two replicas, whose halves of it differ, have that of one.
from el_larq.layers import TernarySplit
from el_larq.training.distribution import open_distribution

images = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32) * np.arange(1, 9, dtype=np.float32)[:, None]
alone = TernarySplit(0.5)
expected = alone(images, training=True)
both = open_distribution("mirrored")
with both.scope():
    layer = TernarySplit(0.5)
    layer.build((None, 5))
outputs = tf.function(lambda part: both.run(lambda x: layer(x, training=True), part))(*both.split(images))
answer["thresholds"] = []
for output, whole in zip(outputs, expected):
    for number, part in enumerate(output.values):
        answer["thresholds"].append(float(np.abs(part.numpy() - whole.numpy()[number::2]).max()))
answer["halves"] = [float(np.abs(images[number::2]).mean()) for number in (0, 1)]
answer["moving"] = [float(alone.moving_magnitude.numpy()), float(layer.moving_magnitude.numpy())]
print(json.dumps(answer), flush=True)
# The input pipeline of the interrupted training is still alive, and has once kept this process from ending.
os._exit(0)
"""


@pytest.mark.slow
def test_two_replicas_train_like_one(tiny_network: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, tiny_network, str(tmp_path)]
    environment = dict(os.environ) | {"PYTHONPATH": str(Path(__file__).parent)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads(result.stdout.splitlines()[-1])

    # A binary network, with the average of its weights, gradient clipping, and statistics of batch normalization.
    assert found["difference"] < 1e-5
    assert found["one"]["accuracy"] == found["two"]["accuracy"]
    for a, b in zip(found["one"]["records"], found["two"]["records"], strict=True):
        for name in ("loss", "accuracy", "val_loss", "val_accuracy", "flips", "starved", "learning_rate"):
            assert b[name] == pytest.approx(a[name], rel=1e-5, abs=1e-7)
    assert found["norms"][0] == found["norms"][1]  # the saved model does not synchronize
    assert found["one"]["config"]["distribution"] is None
    assert found["two"]["config"]["distribution"] == {"strategy": "mirrored", "workers": 1, "replicas": 2, "scaled_by": 1}
    assert (
        "strategy mirrored: 2 replicas; global batch 32, 16 for each replica; "
        "learning rate 0.01, as in the recipe, not scaled with the replicas"
    ) in found["two"]["lines"]

    assert found["same"]
    for record in (*found["whole"]["records"], *found["parts"]):
        assert record.pop("seconds") >= 0
    assert found["whole"]["records"] == found["parts"]
    assert (
        "strategy mirrored: 2 replicas; global batch 32, 16 for each replica; "
        "learning rate 0.02, the recipe's times 2, like the batch size"
    ) in found["whole"]["lines"]
    assert found["whole"]["config"]["recipe"]["batch_size"] == 32

    assert abs(found["halves"][0] - found["halves"][1]) > 0.1
    assert max(found["thresholds"]) < 1e-6
    assert found["moving"][1] == pytest.approx(found["moving"][0], rel=1e-6)

    assert "batch size 31 is not divisible by the 2 replicas" in found["odd"]
    assert "start it with el-larq train" in found["alone"]
    assert "is compiled with its own optimizer" in found["compiled"]
