"""Small networks of the designs that users bring, rebuilt from their public descriptions: they convert with a clean audit."""

from collections import Counter
from pathlib import Path
from typing import Any

import binary_models as models
import numpy as np
import pytest
import tf_keras as keras

import el_larq
from el_larq.cli.convert import command as convert_command
from el_larq.converters.job import Job, Options
from el_larq.converters.verify import FLIP_TOLERANCE, OUTPUT_TOLERANCE, verify_model
from el_larq.models.build import build
from el_larq.tflite.reader import parse

OPTIONS = Options(verify_images=32)


def _details(job: Job, step: str) -> dict[str, Any]:
    return next(entry.details for entry in job.report if entry.step == step)


def _operators(job: Job) -> Counter:
    return Counter(operator.name for operator in parse(job.need_tflite()).operators)


def _errors_and_warnings(job: Job) -> list[str]:
    return [finding["rule"] for finding in _details(job, "audit")["findings"] if finding["severity"] != "note"]


def _dense_unit(x: Any, growth: int, name: str) -> Any:
    """BinaryDenseNet: normalization, sign, 3x3, concatenation."""
    z = models.binary(growth, f"{name}_conv")(models.norm(f"{name}_norm")(x))
    return keras.layers.Concatenate(name=f"{name}_concat")([x, z])


def _dense_net() -> keras.Model:
    def middle(x: Any) -> Any:
        x = _dense_unit(_dense_unit(x, 32, "a"), 32, "b")
        x = keras.layers.MaxPool2D(2)(models.norm("transition_norm")(x))
        x = keras.layers.Conv2D(64, 1, use_bias=False, name="transition")(keras.layers.ReLU()(x))
        return models.norm("last")(_dense_unit(x, 32, "c"))

    return models.network(middle)


def _real_to_binary_unit(x: Any, name: str) -> Any:
    """Real-to-Binary: normalization, sign, 3x3, a scale computed from the real-valued input, PReLU, shortcut."""
    normed = models.norm(f"{name}_norm")(x)
    y = models.binary(32, f"{name}_conv")(normed)
    scale = keras.layers.Dense(4, "relu", use_bias=False)(keras.layers.GlobalAveragePooling2D(keepdims=True)(normed))
    y = keras.layers.Multiply()([y, keras.layers.Dense(32, "sigmoid", use_bias=False)(scale)])
    return keras.layers.Add()([keras.layers.PReLU(shared_axes=[1, 2])(y), x])


def test_binary_dense_net_converts_clean_and_normalizes_by_thresholds() -> None:
    job = el_larq.convert(_dense_net(), options=OPTIONS)
    assert _details(job, "audit")["binary"] == 3
    assert "not-binary" not in _errors_and_warnings(job)
    assert len(_details(job, "fold")["rewrites"]["threshold"]["applied"]) == 3


def test_real_to_binary_converts_clean() -> None:
    job = el_larq.convert(models.network(lambda x: _real_to_binary_unit(_real_to_binary_unit(x, "a"), "b")), options=OPTIONS)
    assert _details(job, "audit")["binary"] == 2
    assert _errors_and_warnings(job) in ([], ["norm-left", "norm-left"])


def _melius_unit(x: Any, name: str) -> Any:
    """MeliusNet: a dense block, then an improvement block, which adds to the new channels alone."""
    x = _dense_unit(x, 32, f"{name}_dense")
    z = models.binary(32, f"{name}_improve")(models.norm(f"{name}_improve_norm")(x))
    return keras.layers.Concatenate()([x[..., :-32], keras.layers.Add()([x[..., -32:], z])])


@pytest.mark.slow
def test_what_fold_leaves_of_a_melius_net_is_reported_in_one_line_per_kind(tmp_path: Path, capsys: Any) -> None:
    model = models.network(lambda x: _melius_unit(_melius_unit(_melius_unit(x, "a"), "b"), "c"))
    # Trained normalizations have negative factors, which cannot become thresholds.
    for layer in model.layers:
        if layer.name.endswith("_norm") and layer.name != "stem_norm":
            gamma = layer.gamma.numpy()
            layer.gamma.assign(gamma * np.where(np.arange(len(gamma)) % 5, 1, -1))
    path = models.save(model, tmp_path / "model.h5")
    convert_command.main(
        [str(path), "-o", str(tmp_path / "model.tflite"), "--verify-images", "8"], prog_name="convert", standalone_mode=False
    )
    lines = capsys.readouterr().err.splitlines()
    # Six normalizations, of 32, 64, 64, 96, 96 and 128 channels, by a multiplication and an addition each.
    operations = 2 * 8 * 8 * (32 + 64 + 64 + 96 + 96 + 128)
    (left,) = (line for line in lines if line.startswith("not rewritten: "))
    assert left == (
        "not rewritten: 6 scales or normalizations before a sign with factors that are not all positive: "
        f"{operations:,} multiplications and additions per image"
    )
    warnings = [line for line in lines if "[norm-left]" in line]
    assert len(warnings) <= 3
    assert any("more (" in line or "operations per image" in line for line in warnings)


@pytest.mark.slow
def test_bi_real_net_converts_clean() -> None:
    model = build("resnet18", "bireal", width=0.5, input_shape=(16, 16, 3), num_classes=10)
    job = el_larq.convert(model, options=OPTIONS)
    assert _details(job, "audit")["binary"] == 16
    assert _errors_and_warnings(job) == []
    assert _operators(job)["MUL"] == 0


@pytest.mark.slow
def test_resnet50_with_elastic_links_converts_clean() -> None:
    model = build("resnet50", "el", width=0.5, input_shape=(64, 64, 3), num_classes=10, downsample="binary")
    job = el_larq.convert(model, options=OPTIONS, skip=("verify",))
    assert _details(job, "audit")["binary"] == 52
    # Untrained and this deep it is chaotic: one sign that flips within rounding changes decisions. So those are left out here.
    result = verify_model(job.need_original(), job.need_tflite(), models.images(8, 64, 3))
    assert result.max_difference <= OUTPUT_TOLERANCE
    assert result.worst_flip <= FLIP_TOLERANCE
    assert _errors_and_warnings(job) == []
