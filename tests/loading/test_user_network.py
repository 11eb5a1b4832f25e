from pathlib import Path
from typing import Any

import pytest

from el_larq.errors import ElLarqError, UsageError
from el_larq.loading.user_network import check_user_network, is_user_network, load_user_network
from el_larq.methods.method_registry import get_method
from el_larq.training.recipes import get_recipe
from el_larq.training.train import train

NETWORK = """
import tf_keras as keras
from el_larq.conv import Conv


def plain(input_shape, num_classes):
    image = keras.Input(input_shape)
    return keras.Model(image, keras.layers.Dense(num_classes)(keras.layers.Flatten()(image)))


def methodical(input_shape, num_classes, method, width=1.0):
    image = keras.Input(input_shape)
    x = method.unit(keras.layers.Conv2D(int(32 * width), 3, 2, "same")(image), Conv("unit", int(32 * width), 3))
    return keras.Model(image, keras.layers.Dense(num_classes)(keras.layers.GlobalAveragePooling2D()(x)))


def anything(**arguments):
    return plain(arguments["input_shape"], arguments["num_classes"])


def nothing(input_shape, num_classes):
    return None


def short(input_shape):
    return None


def wrong(input_shape, num_classes):
    return plain(input_shape, num_classes + 1)


def broken(input_shape, num_classes):
    raise RuntimeError("no luck\\nat all")


number = 3
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "my_own_network.py"
    path.write_text(NETWORK)
    return path


def test_names() -> None:
    assert is_user_network("my.py:build")
    assert is_user_network("a/b.py:f")
    assert is_user_network("my.py")
    assert not is_user_network("resnet26")
    for name, text in (("my.py", "name the function"), ("my.py:not a name", "name the function"), ("no.py:f", "no file no.py")):
        with pytest.raises(UsageError, match=text):
            check_user_network(name)


def test_a_function_gets_what_it_takes(own: Path) -> None:
    assert load_user_network(f"{own}:plain").build((8, 8, 1), 5).output_shape == (None, 5)
    assert load_user_network(f"{own}:anything").build((8, 8, 1), 5, width=2.0).output_shape == (None, 5)
    model = load_user_network(f"{own}:methodical").build((8, 8, 1), 5, method=get_method("el"), width=0.5)
    assert [layer.name for layer in model.layers if "link" in layer.name]


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("none", "has no function 'none'"),
        ("number", "has no function 'number'"),
        ("short", r"must take 'num_classes', as in def short\(input_shape, num_classes\)"),
        ("nothing", "must return a Keras model; it returned a NoneType"),
        ("wrong", r"must map \(8, 8, 1\) to 5 logits; its model maps \[\(8, 8, 1\)\] to \[\(6,\)\]"),
        ("broken", r"failed: RuntimeError: no luck \(-v"),
    ],
)
def test_what_is_wrong_with_a_function_is_said(own: Path, function: str, text: str) -> None:
    with pytest.raises(ElLarqError, match=text):
        load_user_network(f"{own}:{function}").build((8, 8, 1), 5)


def test_an_option_that_a_function_does_not_take_is_refused(own: Path) -> None:
    with pytest.raises(UsageError, match="takes no 'width'"):
        load_user_network(f"{own}:plain").build((8, 8, 1), 5, width=2.0)
    with pytest.raises(UsageError, match="takes no 'method'; omit --method"):
        train(f"{own}:plain", method="el", dataset="digits")


def test_a_file_that_fails_is_named(tmp_path: Path) -> None:
    path = tmp_path / "failing_network.py"
    path.write_text("import nothing_of_that_name\n")
    with pytest.raises(ElLarqError, match=r"failing_network\.py cannot be imported: ModuleNotFoundError"):
        load_user_network(f"{path}:build")


def test_training_leaves_the_source_in_the_run(own: Path, tmp_path: Path) -> None:
    trained: Any = train(
        f"{own}:methodical", dataset="digits", recipe=get_recipe("demo"), epochs=1, width=0.5, out=tmp_path / "run"
    )
    assert (trained.folder / "network.py").read_text() == NETWORK
    assert '"method": "el"' in (trained.folder / "config.json").read_text()
    plain: Any = train(f"{own}:plain", dataset="digits", recipe="demo", epochs=1, out=tmp_path / "plain")
    assert '"method": "own"' in (plain.folder / "config.json").read_text()
