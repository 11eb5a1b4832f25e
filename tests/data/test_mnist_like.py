"""MNIST and its like: from IDX files written here, from sets written by TFDS, and Debian's Fashion-MNIST where it is installed."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from idx_files import arrays, write_idx, write_set
from image_folders import assert_equal, batches

from el_larq.data import mnist_like
from el_larq.data.dataset_registry import check_dataset, load_dataset
from el_larq.data.mnist_like import KNOWN, MnistLike
from el_larq.data.names import folders
from el_larq.data.own_run import foreign_folder
from el_larq.data.preprocessing import Preprocessing
from el_larq.errors import ElLarqError, UsageError


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine has installed is not seen."""
    monkeypatch.setattr(mnist_like, "SYSTEM", tmp_path / "system")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))


def load(name: str, *arguments: Any, **options: Any) -> MnistLike:
    data = load_dataset(name, *arguments, **options)
    assert isinstance(data, MnistLike)
    return data


# --- A folder of IDX files ------------------------------------------------------------------------------------------------


def test_a_folder_of_idx_files_is_a_data_set(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "mine", suffix="")
    data = load(f"idx:{folder}")
    images, labels = arrays(40)
    assert (data.name, data.slug, data.version) == (f"idx:{folder}", "idx-mine", 1)
    assert data.labels == tuple("0123456789")
    assert data.class_counts() == {"train": [4] * 10, "test": [2] * 10}
    np.testing.assert_array_equal(data.train.images, images[..., None])
    np.testing.assert_array_equal(data.train.labels, labels)
    np.testing.assert_array_equal(data.test.images, arrays(20, seed=1)[0][..., None])
    assert data.preprocessing.input_shape == (28, 28, 1)
    assert data.preprocessing.mean == pytest.approx(images.mean(), abs=1e-3)
    assert data.preprocessing.std == pytest.approx(images.std(), abs=1e-3)
    assert (data.shift, data.mirror, data.black) == (3, False, True)


def test_its_fingerprint_is_of_the_contents(tmp_path: Path) -> None:
    plain, compressed = write_set(tmp_path / "a" / "mine", suffix=""), write_set(tmp_path / "b" / "mine")
    assert load(f"idx:{plain}").fingerprint == load(f"idx:{compressed}").fingerprint
    images, _ = arrays(40)
    images[0, 0, 0] ^= 1
    write_idx(plain / "train-images-idx3-ubyte", images)
    assert load(f"idx:{plain}").fingerprint != load(f"idx:{compressed}").fingerprint


def test_other_sizes_are_resized_and_models_get_what_they_take(tmp_path: Path) -> None:
    name = f"idx:{write_set(tmp_path / 'mine', size=30)}"
    assert load(name).preprocessing.input_shape == (30, 30, 1)
    assert load(name, 16).train.images.shape == (40, 16, 16, 1)
    colour = load(name, preprocessing=Preprocessing(20, 20, 3, 1.0, 2.0))
    assert colour.preprocessing.input_shape == (20, 20, 3)
    assert colour.test.images.shape == (20, 20, 20, 3)
    np.testing.assert_array_equal(colour.test.images[..., 0], load(name, 20).test.images[..., 0])


def test_training_shifts_by_up_to_an_eighth_with_a_black_border(tmp_path: Path) -> None:
    data = load(f"idx:{write_set(tmp_path / 'mine')}", preprocessing=Preprocessing(28, 28, 1, 0.0, 1.0))
    padded = [np.pad(image[..., 0], 3) for image in data.train.images]
    for x, _ in batches(data, 20, 1, 0):
        for image in x[..., 0]:
            parts = (whole[i : i + 28, j : j + 28] for whole in padded for i in range(7) for j in range(7))
            assert any(np.array_equal(image, part) for part in parts)


def test_augmentations(tmp_path: Path) -> None:
    name = f"idx:{write_set(tmp_path / 'mine')}"
    none, mirrored = load(f"{name},augment=none"), load(f"{name},augment=shift-mirror")
    assert (none.shift, none.mirror, mirrored.shift, mirrored.mirror) == (0, False, 3, True)
    with pytest.raises(UsageError, match="augmentation crop is for photographs; grey images of one size take shift, none"):
        load(f"{name},augment=crop")


def test_validation_and_resumed_batches(tmp_path: Path) -> None:
    data = load(f"idx:{write_set(tmp_path / 'mine')}").hold_out(0.25)
    assert (data.train_size, data.validation_size) == (30, 10)
    assert_equal(batches(data, 8, 2, 0)[4:], batches(data, 8, 2, 0, start=4))


def test_its_folder_is_an_input_and_foreign(tmp_path: Path) -> None:
    assert folders("idx:/a/b") == (Path("/a/b"),)
    assert foreign_folder("idx:/a/b", tmp_path / "model.h5") == "/a/b"
    assert foreign_folder("mnist@/a/b", tmp_path / "model.h5") == "/a/b"
    assert foreign_folder("mnist", tmp_path / "model.h5") is None


def test_a_folder_that_is_missing_or_empty(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder; idx:PATH takes one with four IDX files"):
        check_dataset(f"idx:{tmp_path / 'missing'}")
    with pytest.raises(ElLarqError, match=r"train-images-idx3-ubyte, train-labels-idx1-ubyte, .* is missing"):
        load(f"idx:{tmp_path}")


def test_a_test_label_that_training_does_not_have(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "mine")
    labels = arrays(20)[1]
    labels[7] = 11
    write_idx(folder / "t10k-labels-idx1-ubyte.gz", labels)
    with pytest.raises(
        UsageError, match="test: image 7 has label 11; labels are 0 to 9; check that the files are of this data set"
    ):
        load(f"idx:{folder}")


# --- Sets known by name ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fashion_mnist", "mnist", "kmnist"])
def test_sets_are_found_by_name(name: str, tmp_path: Path) -> None:
    places = {
        f"{name}@{tmp_path / 'own'}": tmp_path / "own",
        f"{name}@{tmp_path / 'above'}": tmp_path / "above" / name,
        name: tmp_path / "system" / name.replace("_", "-"),
    }
    for asked, folder in places.items():
        with pytest.raises(ElLarqError, match="neither IDX files nor prepared by TFDS"):
            check_dataset(asked)
        write_set(folder)
        check_dataset(asked)
        data = load(asked)
        assert (data.name, data.slug, data.labels) == (asked, name, KNOWN[name].labels)
        assert data.train_size == 40


def test_letters_start_at_1_and_are_stored_on_their_side(tmp_path: Path) -> None:
    write_set(tmp_path, prefix="emnist-letters-", test="test", classes=26, first=1)
    data = load(f"emnist/letters@{tmp_path}")
    assert (data.num_classes, data.labels[0], data.labels[-1]) == (26, "A", "Z")
    np.testing.assert_array_equal(data.train.labels, np.arange(40) % 26)
    np.testing.assert_array_equal(data.train.images[..., 0], arrays(40)[0].transpose(0, 2, 1))
    assert data.slug == "emnist-letters"


def test_a_label_that_a_set_does_not_have(tmp_path: Path) -> None:
    write_set(tmp_path, prefix="emnist-letters-", classes=26)
    with pytest.raises(UsageError, match="image 0 has label 0; labels are 1 to 26"):
        load(f"emnist/letters@{tmp_path}")


def test_emnist_has_splits() -> None:
    assert {name: len(KNOWN[f"emnist/{name}"].labels) for name in ("balanced", "byclass", "bymerge", "digits", "letters")} == {
        "balanced": 47,
        "byclass": 62,
        "bymerge": 47,
        "digits": 10,
        "letters": 26,
    }
    with pytest.raises(UsageError, match="unknown data set 'emnist'; did you mean"):
        check_dataset("emnist")


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MNIST and EMNIST's letters as TFDS writes them, with the images of `arrays`."""
    os.environ["NO_GCE_CHECK"] = "true"
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp("tfds")
    tfds.disable_progress_bar()

    def small(name: str, classes: int, first: int = 0) -> type:
        class Small(tfds.builder_cls(name), skip_registration=True):
            def _split_generators(self, dl_manager: Any) -> Any:
                return {"train": self._generate_examples(40, 0), "test": self._generate_examples(20, 1)}

            def _generate_examples(self, count: int, seed: int) -> Iterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
                for number, (image, label) in enumerate(zip(*arrays(count, classes, first=first, seed=seed), strict=True)):
                    yield number, {"image": image[..., None], "label": int(label)}

        Small.name = name
        return Small

    small("mnist", 10)(data_dir=folder).download_and_prepare()
    small("emnist", 26, 1)(data_dir=folder, config="letters").download_and_prepare()
    return folder


@pytest.mark.parametrize(("name", "classes", "first"), [("mnist", 10, 0), ("emnist/letters", 26, 1)])
def test_a_set_prepared_by_tfds_is_the_same_set(name: str, classes: int, first: int, tfds_dir: Path, tmp_path: Path) -> None:
    """But in TFDS' order."""
    prefix = "emnist-letters-" if first else ""
    write_set(tmp_path, prefix=prefix, classes=classes, first=first)
    other, data = load(f"{name}@{tmp_path}"), load(f"{name}@{tfds_dir}")
    check_dataset(f"{name}@{tfds_dir}")
    assert (data.labels, data.slug, data.preprocessing) == (other.labels, other.slug, other.preprocessing)
    for split, wanted in ((data.train, other.train), (data.test, other.test)):
        pairs, expected = (
            sorted((image.tobytes(), int(label)) for image, label in zip(part.images, part.labels, strict=True))
            for part in (split, wanted)
        )
        assert pairs == expected


# --- The real one ---------------------------------------------------------------------------------------------------------

_DEBIAN = Path("/usr/share/datasets")


@pytest.mark.slow
@pytest.mark.skipif(not (_DEBIAN / "fashion-mnist").is_dir(), reason="dataset-fashion-mnist is not installed")
def test_debians_fashion_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist_like, "SYSTEM", _DEBIAN)
    data = load("fashion_mnist")
    assert data.class_counts() == {"train": [6000] * 10, "test": [1000] * 10}
    # Mean 0.2860 and std 0.3530 of 0 to 1, as everywhere in the literature.
    assert (data.preprocessing.mean, data.preprocessing.std) == (
        pytest.approx(0.2860 * 255, abs=0.02),
        pytest.approx(0.3530 * 255, abs=0.02),
    )
    assert [data.labels[label] for label in data.train.labels[:2]] == ["Ankle boot", "T-shirt/top"]
    digest = "ece172613115fb18b120bec8f6c02271af90b8b8f0a5af5c51cbd5ceed68e619"
    assert data.fingerprint == f"fashion_mnist: 60000 + 10000 images, sha256 {digest}"
