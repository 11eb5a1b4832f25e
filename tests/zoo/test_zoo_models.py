"""zoo:NAME in the commands that take a model, with a small network and weights of its own."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets
import tf_keras as keras
from PIL import Image
from tiny_zoo import Files

import el_larq
from el_larq import card
from el_larq.counting.counts import count
from el_larq.data.in_memory import InMemory, Split
from el_larq.data.preprocessing import Preprocessing
from el_larq.downloads.asset import hash_file
from el_larq.errors import ElLarqError, UsageError
from el_larq.keras_internals import leaf_layers
from el_larq.models.zoo.zoo_build import build_zoo
from el_larq.models.zoo.zoo_macs import MACS
from el_larq.models.zoo.zoo_registry import ZOO
from el_larq.training.recipe_file import to_yaml
from el_larq.training.recipes import RECIPES
from el_larq.training.training_plan import make_plan
from el_larq.zoo import zoo_model
from el_larq.zoo.imagenet_classes import imagenet_classes
from el_larq.zoo.named_models import find_model
from el_larq.zoo.weights_cache import fetch_weights

Command = Callable[..., Any]


@pytest.fixture
def here(tiny: Files) -> Files:
    fetch_weights("tiny", from_file=tiny.top)
    return tiny


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def expected(here: Files, picture: Path) -> np.ndarray:
    """Probabilities of the network, for the preprocessing that Larq Zoo states, written out."""
    image = Image.open(picture)
    side = 300 * 224 / 256
    box = ((400 - side) / 2, (300 - side) / 2, (400 + side) / 2, (300 + side) / 2)
    x = np.asarray(image.resize((224, 224), Image.Resampling.BICUBIC, box=box), np.float32)
    x = (x - 255 * np.array([0.485, 0.456, 0.406])) / (255 * np.array([0.229, 0.224, 0.225]))
    return np.asarray(here.model(x[None].astype(np.float32), training=False))[0]


def test_predict_names_the_classes(el_larq_here: Command, here: Files, picture: Path) -> None:
    done = el_larq_here("predict", "zoo:tiny", picture, "--json")
    assert done.returncode == 0, done.stderr
    [found] = json.loads(done.stdout)
    wanted = expected(here, picture)
    best = np.argsort(-wanted, kind="stable")[:5]
    _identifiers, names = imagenet_classes()
    assert [name for name, _ in found["top"]] == [names[index] for index in best]
    np.testing.assert_allclose([share for _, share in found["top"]], wanted[best], rtol=1e-4)


def test_the_card_says_where_it_comes_from(here: Files) -> None:
    path = find_model("zoo:tiny")
    facts = card.read(path)
    assert card.preprocessing(facts, "") == Preprocessing(
        224, 224, 3, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), 0.875, resampling="bicubic"
    )
    assert facts["network"] == "zoo:tiny"
    assert facts["published"]["top-1"] == {"value": 12.5, "source": "these tests"}
    assert facts["provenance"]["licence"] == "Apache-2.0"
    assert facts["provenance"]["address"] == "https://github.com/larq/zoo/releases/download/tiny-v1.0/tiny_weights.h5"
    assert facts["provenance"]["sha256"] == fetch_weights("tiny").sha256
    assert len(card.labels(facts, "") or ()) == 1000


def test_the_model_is_written_once_and_again_if_it_is_not_what_it_should_be(here: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    path = find_model("zoo:tiny")
    first = path.stat()
    assert find_model(Path("zoo:tiny")) == path
    assert path.stat().st_mtime_ns == first.st_mtime_ns
    path.write_bytes(b"damaged")
    for a, b in zip(el_larq.load_model("zoo:tiny").get_weights(), here.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    monkeypatch.setattr(zoo_model, "VERSION", "another version")
    find_model("zoo:tiny")
    assert card.read(path)["provenance"]["definition"] == "el-larq another version"
    weights = fetch_weights("tiny").path
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + b"x")
    path.unlink()
    with pytest.raises(ElLarqError, match=r"was changed after it was fetched; el-larq zoo fetch tiny"):
        find_model("zoo:tiny")
    assert sorted(os.listdir(path.parent)) == ["tiny_weights.h5", "tiny_weights.h5.pin.json"]


def test_other_weights_come_without_published_figures(tiny: Files, tmp_path: Path) -> None:
    copy = tmp_path / "copy.h5"
    copy.write_bytes(tiny.top.read_bytes() + b"\0")
    fetch_weights("tiny", from_file=copy, sha256=hash_file(copy))
    facts = card.read(find_model("zoo:tiny"))
    assert "published" not in facts
    assert facts["provenance"]["sha256"] == hash_file(copy)
    assert facts["provenance"]["weights"] == "a file that Larq Zoo does not publish"
    assert "address" not in facts["provenance"]


def test_convert_inspect_and_export(el_larq_here: Command, here: Files, picture: Path, tmp_path: Path) -> None:
    done = el_larq_here("convert", "zoo:tiny", "-o", tmp_path / "tiny.tflite", "--verify-images", 2)
    assert done.returncode == 0, done.stderr
    assert "4 of 4 binary convolutions are LceBconv2d" in done.stderr
    done = el_larq_here("inspect", tmp_path / "tiny.tflite", "--json")
    facts = json.loads(done.stdout)["card"]
    assert facts["provenance"]["sha256"] == fetch_weights("tiny").sha256
    assert facts["labels"][0] == "tench"
    [found] = el_larq.predict(tmp_path / "tiny.tflite", [picture])
    wanted = expected(here, picture)
    np.testing.assert_allclose([share for _, share in found.top], np.sort(wanted)[::-1][:5], rtol=1e-3)

    done = el_larq_here("inspect", "zoo:tiny", "--total")
    assert done.returncode == 0, done.stderr
    assert "network: zoo:tiny" in done.stdout
    assert el_larq.inspect("zoo:tiny").to_dict()["card"]["labels"][1] == "goldfish"
    done = el_larq_here("export-weights", "zoo:tiny", "--binary", "-o", tmp_path / "kernels.npz")
    assert done.returncode == 0, done.stderr
    assert "4 binary kernels" in done.stdout


def test_evaluate_finds_the_classes_by_their_identifiers(here: Files, tmp_path: Path) -> None:
    """Data sets of ImageNet name classes by identifiers; here they are in another order than the outputs."""
    identifiers, _names = imagenet_classes()
    pixels = np.random.default_rng(1).integers(0, 256, (6, 224, 224, 3), np.uint8)
    classes = tuple(reversed(identifiers))
    outputs = here.model(zoo_model.PREPROCESSING.scale(pixels), training=False)
    labels = np.array([classes.index(identifiers[best]) for best in np.argmax(outputs, axis=1)])
    split = Split(pixels, labels)
    data = InMemory("imagenet", 1, classes, zoo_model.PREPROCESSING, split, split)
    result = el_larq.evaluate("zoo:tiny", data, out=tmp_path / "evaluation")
    assert result.scores.top1 == 1
    [note] = result.notes
    assert "its classes are in another order than those of imagenet" in note


def make_pictures(folder: Path) -> None:
    numbers = np.random.default_rng(0)
    for name in ("one", "other"):
        (folder / name).mkdir(parents=True)
        for index in range(10):
            Image.fromarray(numbers.integers(0, 256, (64, 64, 3), np.uint8)).save(folder / name / f"{index}.png")


def test_train_starts_from_it(el_larq_here: Command, here: Files, tmp_path: Path) -> None:
    """All layers but the classifier are taken; the run's config names the source, and repeats it."""
    make_pictures(tmp_path / "pictures")
    arguments = ["--dataset", f"dir:{tmp_path / 'pictures'}", "--image-size", 64, "--epochs", 1, "--batch-size", 8]
    done = el_larq_here("train", "zoo:tiny", *arguments, "--learning-rate", 1e-9, "-o", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "23 of 24 layers with weights (" in done.stderr
    assert "start from zoo:tiny; fresh: logits" in done.stderr
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["network"], config["method"]) == ("zoo:tiny", "own")
    assert (config["preprocessing"]["crop"], config["preprocessing"]["resampling"]) == (0.875, "bicubic")
    started = config["init_from"]
    assert started == {"taken": 23, "fresh": ["logits"], "source": "zoo:tiny"}
    own = {layer.name: layer for layer in leaf_layers(el_larq.load_model(tmp_path / "run"))}
    for layer in leaf_layers(here.model):
        if layer.trainable_weights and layer.name != "logits":
            for a, b in zip(own[layer.name].trainable_weights, layer.trainable_weights, strict=True):
                np.testing.assert_allclose(a, b, atol=1e-6)

    done = el_larq_here("train", "--config", "run/config.json", "--seed", 1, "-o", "again", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "again" / "config.json").read_text())["init_from"] == started


def test_what_is_not_here_is_named_before_tensorflow_starts(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    for arguments in (
        ["predict", "zoo:birealnet", "cat.jpg"],
        ["evaluate", "zoo:birealnet"],
        ["inspect", "zoo:birealnet"],
        ["convert", "zoo:birealnet", "-o", "x.tflite"],
        ["export-weights", "zoo:birealnet", "--binary", "-o", "x.npz"],
        ["train", "resnet18", "--dataset", "digits", "--init-from", "zoo:birealnet"],
    ):
        code = (
            "import sys; from el_larq.cli.main import main\n"
            f"try: main({arguments!r})\n"
            "finally: assert 'tensorflow' not in sys.modules"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 1
        assert done.stderr == (
            "el-larq: zoo:birealnet: its weights are not on this machine; el-larq zoo fetch birealnet downloads them "
            "(about 47 MB)\n"
        )


def test_recipes_may_start_from_it(here: Files, tmp_path: Path) -> None:
    """A recipe's ``start`` and ``teacher`` are models; compare takes them from recipes only."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(to_yaml(replace(RECIPES["standard"], start="zoo:tiny")))
    assert make_plan("resnet18", recipe=str(recipe), dataset="digits").init_from == Path("zoo:tiny")
    recipe.write_text(recipe.read_text().replace("zoo:tiny", "zoo:birealnet"))
    with pytest.raises(ElLarqError, match="zoo:birealnet: its weights are not on this machine"):
        make_plan("resnet18", recipe=str(recipe), dataset="digits")
    with pytest.raises(UsageError, match="unknown network of Larq Zoo 'birealnt'"):
        make_plan("resnet18", init_from="zoo:birealnt", dataset="digits")


def test_the_classes_are_those_of_imagenet_in_order() -> None:
    identifiers, names = imagenet_classes()
    assert len(identifiers) == len({name.casefold() for name in names}) == 1000
    assert identifiers == sorted(identifiers)
    folder = Path(tensorflow_datasets.__file__).parent / "datasets" / "imagenet2012"
    assert identifiers == (folder / "labels.txt").read_text().split()
    assert (names[0], names[281], names[134], names[517]) == ("tench", "tabby", "crane (animal)", "crane (artifact)")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ZOO))
def test_stored_macs_are_those_of_the_network(name: str) -> None:
    found: Counter[tuple[int, int]] = Counter()
    keras.backend.clear_session()
    for layer in count(build_zoo(name)).layers:
        found[layer.kernel_bits, layer.input_bits] += layer.macs
    assert MACS[name] == found
