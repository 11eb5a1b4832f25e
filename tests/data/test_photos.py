"""Version 1 of `photos` is frozen: a failure here is a new version of the data set, or a mistake."""

import hashlib
from typing import Any

import numpy as np
import pytest

from el_larq.data import photos
from el_larq.data.dataset_registry import load_dataset
from el_larq.data.in_memory import Split

# PNG files decode to the same values everywhere: SHA-256 of a class's training crops and then its test crops.
FINGERPRINTS = {
    "astronaut": "afd42c0b7df375c4aa280b8933052730ce78029349c7f6c3bee3a6016a4baa58",
    "brick": "faa651cf6b709ed51a48d6d2819a5a7d4fdd63d161572507617b096459412b68",
    "camera": "ddbaa44b71aef4dac7e03bffa6306577fc4823fed3ef78d09c2d8955dbe4ed67",
    "cat": "d27d2b553fc6e57413bee80b34be813c868808fbcd8394aac8c56165525f0cc5",
    "cell": "7949200d99b36dfaea1682f055c9f85bae091c4df4cd82b745227e1d2737d502",
    "clock": "cf6c86e7dcb51ee96532039cfd535b86c9ffd5e9d4f009b7d84c111f5b3c4111",
    "coffee": "ea1df58bd924bf626d2ac145cf84dcd3cf3bb3f8cb183bebb053c06af22bc348",
    "coins": "5ae0381fc0de5fafecd9cd65971a7f8a3f95d9edf873b719c2008cd8b65a4d97",
    "grass": "1d133d2aee7b33bd1225ac7d0243bd118ae9dc55918f861c1b52f1fb2e278b3c",
    "gravel": "fefcbbc7b149fb461a6b6d0c8cc2ef4eb44a5a6c8d9fef2c90bab586cf601eff",
    "moon": "635125914deddcae32fdf3a7000e8cad8e7532bb4f6975fdb67b2453fe5df838",
    "motorcycle": "485a1b082eee6dc6c5f4f6d8e44a7742adc40d24a25aa595fd120e4930379373",
    "page": "d74e25215193732f91f3092d1cb736349b15e7fd24771e3afdede22495fc898a",
    "text": "f4ec34f5e91054e53faf8c11e9113101c69189894ef2822c139ce9a60ed761b5",
    "tissue": "671a6c97b9f8b9286155fdbb398bbe951d53ea2fc7c36b720809f2148c1b6fc2",
}

# JPEG decoders round differently: mean pixel value of a class's training crops, and of its test crops.
MEANS = {"galaxies": (19.53, 18.67), "retina": (120.07, 93.65), "rocket": (73.80, 52.27)}


@pytest.fixture(scope="module")
def data() -> Any:
    return photos.load()


def of_class(split: Split, label: int) -> np.ndarray:
    return split.images[split.labels == label]


def test_every_photograph_is_pinned():
    assert set(FINGERPRINTS) | set(MEANS) == set(photos.PHOTOGRAPHS)
    assert {label for label, file in photos.PHOTOGRAPHS.items() if file.endswith(".png")} == set(FINGERPRINTS)


def test_its_counts_and_shapes(data: Any):
    assert (data.version, data.num_classes) == (1, 18)
    assert (len(data.train), len(data.test)) == (7200, 4320)
    assert data.train.images.shape == (7200, 32, 32, 1)
    assert data.train.images.dtype == np.uint8
    np.testing.assert_array_equal(np.bincount(data.train.labels), [400] * 18)
    np.testing.assert_array_equal(np.bincount(data.test.labels), [240] * 18)
    assert (data.shift, data.mirror) == (0, True)


def test_its_validation_split_is_unchanged_and_differs_from_the_others(data: Any):
    """It came later and is drawn last, so the fingerprints above did not change with it."""
    split: Split = data.validation
    np.testing.assert_array_equal(np.bincount(split.labels), [40] * 18)
    png = [label for label, name in enumerate(photos.PHOTOGRAPHS) if name in FINGERPRINTS]
    assert hashlib.sha256(b"".join(of_class(split, label).tobytes() for label in png)).hexdigest()[:16] == "290ff831f1343cbd"
    crops = [{crop.tobytes() for crop in part.images} for part in (data.train, split, data.test)]
    assert len(set.union(*crops)) == sum(map(len, crops))


def test_the_labels_are_in_their_order(data: Any):
    assert data.labels == tuple(sorted(photos.PHOTOGRAPHS))


@pytest.mark.parametrize("label", FINGERPRINTS)
def test_crops_of_png_photographs_are_bit_for_bit_those_of_version_1(data: Any, label: str):
    index = data.labels.index(label)
    content = of_class(data.train, index).tobytes() + of_class(data.test, index).tobytes()
    assert hashlib.sha256(content).hexdigest() == FINGERPRINTS[label]


@pytest.mark.parametrize("label", MEANS)
def test_crops_of_jpeg_photographs_are_those_of_version_1(data: Any, label: str):
    index = data.labels.index(label)
    means = of_class(data.train, index).mean(), of_class(data.test, index).mean()
    assert means == pytest.approx(MEANS[label], abs=0.5)


def test_no_crop_occurs_twice(data: Any):
    crops = [crop.tobytes() for split in (data.train, data.test) for crop in split.images]
    assert len(set(crops)) == len(crops)


def test_every_crop_has_some_contrast(data: Any):
    for split in (data.train, data.test):
        # The floor of 4 applies before rounding to whole grey levels.
        assert split.images.std(axis=(1, 2, 3)).min() > 3.9


def standardized_and_raw_features(data: Any, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Brightness and contrast of every crop, before and after preprocessing."""
    raw, scaled = split.images.astype(np.float64), data.preprocessing.scale(split.images).astype(np.float64)
    before, after = (np.stack([x.mean(axis=(1, 2, 3)), x.std(axis=(1, 2, 3))], axis=1) for x in (raw, scaled))
    return before, after


def test_every_preprocessed_crop_has_mean_0_and_deviation_1(data: Any):
    for split in (data.train, data.test):
        _, after = standardized_and_raw_features(data, split)
        np.testing.assert_allclose(after[:, 0], 0, atol=1e-5)
        np.testing.assert_allclose(after[:, 1], 1, atol=1e-5)


def nearest_mean_accuracy(train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> float:
    spread = train.std(axis=0) + 1e-30
    centres = np.stack([train[train_labels == label].mean(axis=0) for label in np.unique(train_labels)])
    distances = (((test[:, None, :] - centres) / spread) ** 2).sum(axis=-1)
    return float((distances.argmin(axis=1) == test_labels).mean())


def test_brightness_and_contrast_tell_nothing_after_preprocessing(data: Any):
    (train_before, train_after), (test_before, test_after) = (
        standardized_and_raw_features(data, split) for split in (data.train, data.test)
    )
    labels = data.train.labels, data.test.labels
    # They tell much before, so the classifier is one; five standard deviations of guessing are 0.017.
    assert nearest_mean_accuracy(train_before, labels[0], test_before, labels[1]) > 0.2
    assert abs(nearest_mean_accuracy(train_after, labels[0], test_after, labels[1]) - 1 / 18) < 0.02


def test_halves_for_training_and_testing_do_not_overlap():
    """Crops of a photograph that is dark on one side and bright on the other show one side only."""
    dark, bright = np.zeros((200, 200), np.float32), np.full((200, 200), 200, np.float32)
    noise = np.random.RandomState(0).uniform(0, 40, (200, 400)).astype(np.float32)
    grey = np.concatenate([dark, bright], axis=1) + noise
    left = photos._crops(grey[:, :200], 30, 16, np.random.RandomState(1))
    right = photos._crops(grey[:, 200:], 30, 16, np.random.RandomState(1))
    assert left.max() <= 40
    assert right.min() >= 200


def test_another_size_can_be_asked_for():
    data = load_dataset("photos", 16)
    assert data.preprocessing.input_shape == (16, 16, 1)
    assert data.train.images.shape == (7200, 16, 16, 1)
    assert data.test.images.std(axis=(1, 2, 3)).min() > 3.9
