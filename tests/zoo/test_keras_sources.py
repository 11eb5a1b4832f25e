"""Weights files of Keras Applications as sources, written here as Keras writes its own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras as keras
from PIL import Image

import el_larq
from el_larq import card
from el_larq.data.preprocessing import Preprocessing
from el_larq.errors import ElLarqError, UsageError
from el_larq.models.keras_applications import APPLICATIONS, recognize
from el_larq.training.config import read_config
from el_larq.training.network import network_again
from el_larq.training.recipe import Recipe
from el_larq.training.training_plan import make_plan, plan_again
from el_larq.zoo.application_model import build_application
from el_larq.zoo.named_models import check_model, find_model
from el_larq.zoo.zoo_model import DATASET

FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_96.h5"


@pytest.fixture(scope="module")
def network() -> Any:
    keras.utils.set_random_seed(0)
    model = build_application("MobileNetV2", (96, 96, 3), 1000, "softmax")
    for layer in model.layers:  # statistics that differ from their start
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([array + 0.1 for array in layer.get_weights()])
    return model


@pytest.fixture
def weights(network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with the name and the form of a published one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    network.save_weights(tmp_path / FILE)
    return tmp_path / FILE


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Four pictures of each of two classes."""
    for label, level in (("dark", 60), ("light", 190)):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for number in range(4):
            pixels = np.random.default_rng(number).integers(level - 50, level + 50, (64, 64, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / label / f"{number}.png")
    return tmp_path / "pictures"


@pytest.mark.parametrize("name", APPLICATIONS)
def test_images_are_scaled_as_keras_scales_them(name: str) -> None:
    entry = APPLICATIONS[name]
    module = {"vgg": name.lower(), "res": "resnet_v2" if name.endswith("V2") else "resnet", "den": "densenet"}
    module["mob"] = "mobilenet_v2" if name.endswith("V2") else "mobilenet"
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    wanted = getattr(keras.applications, module[name[:3].lower()]).preprocess_input(images.astype(np.float32))
    scaling = entry.scaling
    how = Preprocessing(8, 8, 3, scaling.mean, scaling.std, channel_order=scaling.channel_order)
    np.testing.assert_allclose(how.scale(images), wanted, atol=1e-5)


def test_published_files_are_recognized_by_name() -> None:
    usual = "_weights_tf_dim_ordering_tf_kernels"
    for name, (network, size) in {
        f"resnet50{usual}.h5": ("ResNet50", 224),
        f"resnet50{usual}_notop.h5": ("ResNet50", 224),
        f"resnet50v2{usual}.h5": ("ResNet50V2", 224),
        f"densenet121{usual}.h5": ("DenseNet121", 224),
        "mobilenet_1_0_128_tf_no_top.h5": ("MobileNet", 128),
        FILE: ("MobileNetV2", 96),
    }.items():
        found = recognize(name)
        assert found is not None
        assert (found[0].name, found[1]) == (network, size)
    for name in ("model.h5", "my_resnet50_weights.h5", f"resnet50{usual}.keras", "mobilenet_2_5_224_tf.h5"):
        assert recognize(name) is None


@pytest.mark.parametrize("spelling", ["keras:MobileNetV2={}", "keras:mobilenetv2={}", "{}"])
def test_the_model_is_that_of_keras_with_a_card(network: Any, weights: Path, spelling: str) -> None:
    source = spelling.format(weights)
    check_model(source)
    model = el_larq.load_model(source)
    images = np.random.default_rng(0).normal(size=(2, 96, 96, 3)).astype(np.float32)
    np.testing.assert_array_equal(model(images), network(images))
    facts = card.read(find_model(source))
    assert card.preprocessing(facts, "") == Preprocessing(96, 96, 3, 127.5, 127.5, crop=0.875)
    assert (facts["labels"][0], facts["dataset"]) == ("tench", {"name": DATASET})


def test_a_file_without_the_classifier_has_no_labels(weights: Path) -> None:
    notop = weights.with_name(FILE.replace(".h5", "_no_top.h5"))
    build_application("MobileNetV2", (96, 96, 3), None).save_weights(notop)
    model = el_larq.load_model(notop)
    assert model.output_shape == (None, 3, 3, 1280)
    assert "labels" not in card.read(find_model(notop))


def test_a_file_with_a_name_of_its_own_has_no_labels(weights: Path) -> None:
    """Its 1,000 classes may be other ones than ImageNet's."""
    own = weights.rename(weights.with_name("mine.h5"))
    facts = card.read(find_model(f"keras:MobileNetV2={own}"))
    assert not {"labels", "label_ids", "labels_source", "dataset"} & set(facts)
    assert facts["preprocessing"]["mean"] == 127.5
    named_as_another = own.rename(own.with_name("vgg16_weights_tf_dim_ordering_tf_kernels.h5"))
    assert "labels" not in card.read(find_model(f"keras:MobileNetV2={named_as_another}"))


@pytest.mark.slow
def test_a_network_is_trained_further_on_ones_own_pictures(network: Any, weights: Path, pictures: Path, tmp_path: Path) -> None:
    recipe = Recipe("head", "", epochs=1, batch_size=2, learning_rate=1e-2, freeze="backbone")
    notices: list[str] = []
    trained = el_larq.train(
        f"keras:MobileNetV2={weights}",
        dataset=f"dir:{pictures},augment=none",
        image_size=32,
        validation=0.0,
        recipe=recipe,
        out=tmp_path / "run",
        notify=notices.append,
    )
    assert any("104 of 105 layers with weights (" in line for line in notices)
    model: Any = el_larq.load_model(tmp_path / "run")
    assert model.input_shape == (None, 32, 32, 3)
    for layer in network.layers:
        if layer.weights and layer.name != "predictions":
            for one, other in zip(layer.get_weights(), model.get_layer(layer.name).get_weights(), strict=True):
                np.testing.assert_array_equal(one, other)
    config = read_config(tmp_path / "run")
    assert (config.network, config.method) == ("keras:MobileNetV2", "own")
    assert config.preprocessing == Preprocessing(32, 32, 3, 127.5, 127.5, crop=0.875).to_dict()
    assert config.init_from is not None
    assert config.init_from["source"] == f"keras:MobileNetV2={weights}"
    assert trained.model.output_shape == (None, 2)
    weights.unlink()  # a resume needs neither the weights nor their name
    again = plan_again(config, tmp_path / "run", network_again(tmp_path / "run", config, None, trust=False))
    assert (again.network, again.is_named, again.init_from) == ("keras:MobileNetV2", True, None)


def test_what_does_not_fit_is_refused(weights: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"unknown network of Keras Applications 'ResNet5'; did you mean .*ResNet50"):
        check_model("keras:ResNet5=x.h5")
    with pytest.raises(UsageError, match=r"name it, as in keras:ResNet50=PATH.h5 \(nothing is downloaded\)"):
        check_model("keras:ResNet50")
    with pytest.raises(ElLarqError, match=r"missing.h5: no such file"):
        check_model(f"keras:ResNet50={tmp_path}/missing.h5")
    with pytest.raises(ElLarqError, match=r"not the weights of mobilenet_1\.00_96: its layer 5, expanded_conv_project, has"):
        find_model(f"keras:MobileNet={weights}")
    with pytest.raises(UsageError, match="is a complete definition; width and network options apply"):
        make_plan("keras:MobileNetV2", width=0.5, dataset=f"dir:{pictures}")
    with pytest.raises(UsageError, match="frozen layers would keep random weights"):
        make_plan("keras:MobileNetV2", freeze="backbone", dataset=f"dir:{pictures}")
    with pytest.raises(UsageError, match="is a complete definition; omit --method"):
        el_larq.train("keras:MobileNetV2", method="binary", dataset=f"dir:{pictures}", out=tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    plan = make_plan("keras:MobileNetV2", init_from=f"keras:MobileNetV2={FILE}", dataset=f"dir:{pictures}")
    assert plan.init_from == Path(f"keras:MobileNetV2={FILE}")
