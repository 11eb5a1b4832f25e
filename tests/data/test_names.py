from pathlib import Path

import pytest

from el_larq.data.dataset_registry import LOADERS, PATTERNS, parse_name
from el_larq.data.names import AUGMENTATIONS, FOLDERS, TFDS, augmentation, with_options
from el_larq.errors import UsageError

HOME = str(Path.home())


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("digits", "digits"),
        ("dir:/a/b", "dir:/a/b"),
        ("shapes", "shapes"),
        ("voc:/a,augment=none", "voc:/a,augment=none"),
        ("coco:~/a", f"coco:{HOME}/a"),
        ("yolo:/a b", "yolo:/a b"),
        ("dir:/a,b@c:d", "dir:/a,b@c:d"),
        ("dir:~/a", f"dir:{HOME}/a"),
        ("dir:/a,augment=crop", "dir:/a,augment=crop"),
        ("tfds:beans", "tfds:beans"),
        ("tfds:my_set/small:1.2.3@/data,augment=none", "tfds:my_set/small:1.2.3@/data,augment=none"),
        ("cifar10@/data", "cifar10@/data"),
        ("imagenet2012,augment=shift-mirror", "imagenet2012,augment=shift-mirror"),
    ],
)
def test_names_that_are_known(name: str, canonical: str) -> None:
    parsed = parse_name(name)
    assert str(parsed) == canonical
    assert parse_name(canonical) == parsed


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar1", "unknown data set 'cifar1'; did you mean cifar10"),
        ("tfds:", "write tfds:NAME"),
        ("tfds:../secrets", "write tfds:NAME"),
        ("tfds:a:b", "write tfds:NAME"),
        ("dir:", "does not name a folder"),
        ("digits@/data", "digits is embedded"),
        ("photos,augment=crop", "photos is embedded"),
        ("cifar10,augment=crops", "unknown augmentation 'crops'; did you mean crop"),
    ],
)
def test_names_that_are_not(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_name(name)


def test_a_folder_without_its_prefix_is_offered_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pics").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("pics", "pics,augment=none"):
        with pytest.raises(UsageError, match=f"unknown data set '{name}'; did you mean the folder, dir:{name}"):
            parse_name(name)


def test_options_become_part_of_the_name() -> None:
    assert with_options("cifar10", "/data", "crop") == "cifar10@/data,augment=crop"
    assert with_options("cifar10,augment=crop", "/data") == "cifar10@/data,augment=crop"
    assert with_options("dir:a", None, "none") == "dir:a,augment=none"
    assert with_options("digits") == "digits"
    for name, options, message in (
        ("cifar10@/x", ("/data", None), "already names its folder"),
        ("dir:/x", ("/data", None), "already names its folder"),
        ("cifar10,augment=crop", (None, "none"), "already names its augmentation"),
        ("cifar10", (None, "no"), "unknown augmentation 'no'"),
    ):
        with pytest.raises(UsageError, match=message):
            with_options(name, *options)


def test_augmentations_differ() -> None:
    assert len({augmentation(kind, 32) for kind in AUGMENTATIONS}) == len(AUGMENTATIONS)
    assert augmentation("shift-mirror", 32).pad == 4


def test_each_kind_of_folder_is_listed_and_has_a_loader() -> None:
    patterns = {*(f"{prefix}PATH" for prefix in FOLDERS.values()), f"{TFDS}NAME"}
    assert set(PATTERNS) == patterns, "each kind in FOLDERS (names.py) has a line in PATTERNS (dataset_registry.py)"
    assert set(FOLDERS) <= set(LOADERS), "each kind in FOLDERS (names.py) has a loader in LOADERS (dataset_registry.py)"
    assert all(PATTERNS.values())
