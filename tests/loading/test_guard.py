"""What a model file may name: what must still load, and what --trust opens. Files made to do harm: tests/fuzz/hostile.py."""

import importlib
import inspect
import json
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import larq
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from tensorflow.python.util import tf_export

from el_larq.errors import ElLarqError
from el_larq.loading import containers, keras_names, saved_graphs
from el_larq.loading.guard import check_config, check_root
from el_larq.loading.keras_classes import ALLOWED, MODELS, REFUSED
from el_larq.loading.load import check_activations, load_model
from el_larq.loading.tensorflow_symbols import is_harmless

OneLine = Callable[[BaseException], str]


def _save(model: Any, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are saving your model as an HDF5 file")
        model.save(path)
    return path


def _everything() -> keras.Model:
    """Layers of Keras, Larq and this project, quantizers, regularizers, operators of TensorFlow, nested models, wrappers."""
    from el_larq.layers import ElasticLink

    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", kernel_regularizer=keras.regularizers.L2(1e-4))(image)
    x = keras.layers.BatchNormalization()(x)
    y = larq.layers.QuantConv2D(
        4,
        3,
        padding="same",
        input_quantizer=larq.quantizers.SteSign(0.9),
        kernel_quantizer="approx_sign",
        kernel_constraint="weight_clip",
    )(x)
    x = ElasticLink()([x, y])
    x = tf.nn.relu(x * 2.0 + tf.reshape(x, (-1, 8, 8, 4)))[:, 1:, :, :]
    x = tf.concat([x, -x], axis=-1)
    inner = keras.Sequential([keras.layers.PReLU(input_shape=(7, 8, 8)), keras.layers.Dense(5, kernel_constraint="max_norm")])
    x = inner(inner(x)[:, :, :, :5] @ tf.ones((5, 8)))
    x = keras.layers.TimeDistributed(keras.layers.LayerNormalization())(x)
    return keras.Model(image, keras.layers.GlobalAveragePooling2D(dtype="float32")(x), name="everything")


@pytest.mark.parametrize("name", ["model.h5", "model.keras", "saved_model"])
def test_models_of_known_layers_load(tmp_path: Path, name: str) -> None:
    model = _everything()
    loaded = load_model(_save(model, tmp_path / name))
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(loaded(x), model(x), rtol=1e-4, atol=1e-5)


def test_every_class_this_project_registers_is_known() -> None:
    """By the registry and not by a list, so that new layers need no line here."""
    own = {name: known for name, known in keras.utils.get_custom_objects().items() if known.__module__.startswith("el_larq.")}
    assert own
    for name, known in own.items():
        if not isinstance(known, type):
            check_config({"class_name": "function", "config": name, "module": "builtins"}, "a file")
            continue
        check_config({"class_name": name, "config": {}}, "a file")
        check_config(
            {"class_name": name.split(">")[-1], "registered_name": name, "module": "el_larq.layers", "config": {}}, "a file"
        )


def test_a_sound_functional_model_of_another_keras_is_known() -> None:
    """As Keras 2.4 wrote it: no modules, no registered names."""
    layers = [
        {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 4]}, "name": "x", "inbound_nodes": []},
        {"class_name": "Dense", "config": {"units": 2, "activation": "linear"}, "name": "d", "inbound_nodes": [[["x", 0, 0, {}]]]},
    ]
    check_config({"class_name": "Functional", "config": {"layers": layers}}, "a file")


def _full(known: Any) -> str:
    return f"{known.__module__}.{known.__qualname__}"


def _public_classes() -> set[str]:
    """Every class that the installed tf-keras exports, and every layer, loss and so on that it finds by a bare name."""
    exported = {known for known in tf_export._NAME_TO_SYMBOL_MAPPING.values() if inspect.isclass(known)}
    named = {known for space in keras_names.namespaces()[:2] for known in space.values() if inspect.isclass(known)}
    # Where Keras 3 is installed too (TensorFlow requires it), its names are in a registry of its own.
    return {_full(known) for known in exported | named if known.__module__.startswith("tf_keras.")}


PUBLIC = _public_classes()
"""Read here and not in the test: other tests import more of Keras' modules."""


def test_every_public_class_of_keras_has_been_reviewed() -> None:
    """A class that a newer tf-keras adds is refused until it has been read and is in one of the tables of keras_classes.py."""
    assert len(PUBLIC) > 300
    assert PUBLIC - ALLOWED - set(REFUSED) == set()
    assert not ALLOWED & set(REFUSED)
    assert MODELS <= ALLOWED


def test_the_tables_name_what_there_is() -> None:
    """A name with a mistake in it would allow or refuse nothing."""
    for name in (*ALLOWED, *REFUSED):
        module, _, attribute = name.rpartition(".")
        assert _full(getattr(importlib.import_module(module), attribute)) == name


def test_a_class_of_keras_that_was_not_reviewed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    added = type("AddedByANewerKeras", (keras.layers.Layer,), {"__module__": "tf_keras.src.layers.core.dense"})
    monkeypatch.setattr(sys.modules["tf_keras.src.layers.core.dense"], "AddedByANewerKeras", added, raising=False)
    monkeypatch.setitem(keras_names.namespaces()[0], "AddedByANewerKeras", added)
    for module in ({"module": "keras.src.layers.core.dense"}, {"module": None}, {}):
        with pytest.raises(ElLarqError, match=r"AddedByANewerKeras'?, which is not a known layer"):
            check_config({"class_name": "AddedByANewerKeras", "config": {}, **module}, "a file")


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_the_table_refuses_is_refused_by_every_name(name: str) -> None:
    module, _, short = name.rpartition(".")
    for prefix in ("", "keras."):
        node = {"class_name": short, "module": module.replace("tf_keras.", prefix or "tf_keras."), "config": {}}
        for field in ("class_name", "registered_name"):
            other = {**node, "class_name": "Dense", "registered_name": None, field: short}
            with pytest.raises(ElLarqError, match=r"a file: (contains an?|names)"):
                check_config({"layers": [{"config": {"layer": other}}]}, "a file")


@pytest.mark.parametrize("field", ["class_name", "registered_name"])
def test_an_operator_is_looked_at_by_whatever_field_names_its_layer(field: str) -> None:
    """Keras takes the registered name where a module does not contain the other."""
    node = {"class_name": "Mine", "registered_name": None, "module": "keras.src.layers.core.tf_op_layer", field: "TFOpLambda"}
    check_config({**node, "config": {"function": "math.add"}}, "a file")
    with pytest.raises(ElLarqError, match=r"calls 'io\.write_file' of TensorFlow"):
        check_config({**node, "config": {"function": "io.write_file"}}, "a file")


@pytest.mark.parametrize(
    "node",
    [
        {"class_name": "Dense", "config": {"units": 1}},
        {"class_name": "Dense", "module": "keras.layers", "config": {}},
        {"class_name": "TFOpLambda", "module": "keras.src.layers.core.tf_op_layer", "config": {"function": "math.add"}},
        {"class_name": "Adam", "module": "keras.optimizers", "config": {}},
        {"class_name": "Sequential", "registered_name": "el_larq>ElasticLink", "module": "keras", "config": {}},
        {"class_name": "function", "config": "relu", "module": "builtins", "registered_name": "function"},
        {"class_name": "__numpy__", "config": {"value": 1, "dtype": "int8"}},
        {"class_name": ["Sequential"], "config": {}},
        {"layers": []},
        ["Sequential"],
        "Sequential",
        None,
    ],
    ids=str,
)
@pytest.mark.parametrize("traced", [False, True])
def test_the_outermost_object_is_a_model(node: Any, traced: bool, one_line: OneLine) -> None:
    with pytest.raises(ElLarqError, match=r"its outermost object is .*, which is not a model") as caught:
        check_root(node, "a file", traced=traced)
    assert one_line(caught.value).startswith("a file: ")


def test_models_and_registered_subclasses_of_models_are_outermost(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Sequential", "Functional", "Model"):
        check_root({"class_name": name, "config": {}}, "a file")
    check_root({"class_name": "Functional", "module": "keras.src.engine.functional", "config": {}}, "a file")
    with pytest.raises(ElLarqError, match="its outermost object is Theirs"):
        check_root({"class_name": "Theirs", "config": {}}, "a file")
    check_root({"class_name": "Theirs", "config": {}}, "a file", traced=True)  # which comes from the graph
    theirs = type("Theirs", (keras.Model,), {})
    monkeypatch.setitem(keras.utils.get_custom_objects(), "test_guard>Theirs", theirs)
    check_root({"class_name": "test_guard>Theirs", "config": {}}, "a file")
    check_root({"class_name": "Theirs", "registered_name": "test_guard>Theirs", "module": "theirs", "config": {}}, "a file")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"class_name": "Lambda", "config": {}}, "contains a Lambda layer, which is code"),
        ({"class_name": "StringLookup", "config": {}}, "contains a StringLookup layer, which may read files"),
        ({"class_name": "IndexLookup", "module": "keras.src.layers.preprocessing.index_lookup", "config": {}}, "an IndexLookup"),
        ({"class_name": "ReloadedLayer", "module": "keras.src.export.export_lib", "config": {}}, "loads another model"),
        ({"class_name": "ResidualWrapper", "config": {}}, "runs code that the file contains"),
        ({"cell": "ResidualWrapper"}, "names 'ResidualWrapper', which runs code"),
        ({"compile_config": {"metrics": [["accuracy", "deserialize"]]}}, "names 'deserialize', which is not a known layer"),
        ({"class_name": "mean_squared_error", "config": {}}, "names 'mean_squared_error'"),
        ({"class_name": "Dense.from_config", "module": "keras.layers", "config": {}}, "'Dense.from_config' of module keras.layers"),
        ({"class_name": "run", "module": "keras.src.benchmarks.benchmark_util", "config": {}}, "a module that no model needs"),
        ({"class_name": "TypeSpec", "type_spec": "tf.TensorArraySpec", "serialized": []}, "contains a TypeSpec of a kind"),
        ({"class_name": "__numpy__", "config": {"value": 0, "dtype": "S2000000000"}}, "contains a __numpy__ of a kind"),
        ({"class_name": "__tuple__", "items": ["_COMPOSITE_TYPE", "{}"]}, "contains a __tuple__ of a kind"),
        ({"class_name": "Ours", "config": {}}, "unknown layer or object 'Ours'; name the module .* --import MODULE"),
        ({"class_name": "Ours", "module": "ours", "config": {}}, "--import ours if that registers it, or load it with --trust"),
        ({"class_name": "get_file", "module": "keras.utils", "config": {}}, "names keras.utils.get_file"),
        ({"class_name": "deserialize", "config": {}}, "names 'deserialize'"),
        ({"activation": "deserialize"}, "names 'deserialize'"),
        ({"class_name": "TFOpLambda", "config": {"function": "io.write_file"}}, "calls 'io.write_file' of TensorFlow"),
        ({"class_name": "TFOpLambda", "config": []}, "calls 'None' of TensorFlow"),
        ({"class_name": "x" * 1000}, "of 1,000 characters"),
    ],
    ids=lambda value: "",
)
def test_what_is_not_known_is_refused_with_its_reason(
    config: Any, reason: str, one_line: OneLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "tf_keras.src.benchmarks.benchmark_util", raising=False)  # another test may have imported it
    with pytest.raises(ElLarqError, match=reason) as caught:
        check_config({"layers": [[{"config": config}]]}, "a file")
    assert one_line(caught.value).startswith("a file: ")


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize(
    ("name", "registered", "module", "function"),
    [
        ("el_larq>ElasticLink", "getoutput", "subprocess", ""),
        ("el_larq>ElasticLink", None, "antigravity", ""),
        ("function", "el_larq>ElasticLink", "subprocess", "getoutput"),
        ("function", "el_larq>ElasticLink", "builtins", "eval"),
        ("function", "eval", "builtins", "eval"),
    ],
)
def test_a_registered_name_next_to_another_opens_no_module(
    name: str, registered: str | None, module: str, function: str, traced: bool
) -> None:
    """Keras asks its registry for one of the names, and imports the module where that one is unknown."""
    node = {"class_name": name, "registered_name": registered, "module": module, "config": function or {}}
    with pytest.raises(ElLarqError, match="unknown"):
        check_config({"layers": [{"config": {"kernel_initializer": node}}]}, "a file", traced=traced)


@pytest.mark.parametrize("name", ["TensorShape", "TypeSpec", "__tuple__", "__ellipsis__", "__bytes__", None, 5, ["Dense"]], ids=str)
def test_a_name_that_is_not_of_a_class_does_not_hide_the_one_next_to_it(name: Any, tmp_path: Path) -> None:
    """Where Keras finds no class of that name in the module, it takes the registered name; the module it has imported by then."""
    (tmp_path / "strange.py").write_text(f"open({str(tmp_path / 'EXECUTED')!r}, 'w').close()")
    image = keras.Input((2,), name="image")
    path = _save(keras.Model(image, keras.layers.Dense(1, bias_initializer="ones")(image)), tmp_path / "model.keras")
    for module, registered in (("strange", "X"), ("tf_keras.src.export.export_lib", "ReloadedLayer"), (None, "ReloadedLayer")):
        value = {"class_name": name, "type_spec": "tf.TensorSpec", "module": module, "registered_name": registered, "config": {}}
        constant = {"class_name": "Constant", "module": "keras.initializers", "registered_name": None, "config": {"value": value}}
        changed = _with_initializer(path, constant)
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(tmp_path)
            with pytest.raises(ElLarqError, match=r"that names a module or a class|whose class_name is not text"):
                load_model(changed)
        assert not (tmp_path / "EXECUTED").exists()


def _with_initializer(path: Path, initializer: Any) -> Path:
    """A copy of a .keras file whose second layer has another initializer of its bias."""
    copy = path.with_stem("changed")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                config["config"]["layers"][1]["config"]["bias_initializer"] = initializer
                content = json.dumps(config).encode()
            new.writestr(name, content)
    return copy


def test_a_registered_function_is_known() -> None:
    keras.utils.register_keras_serializable("test_guard")(ours)
    check_config({"kernel_initializer": keras.saving.serialize_keras_object(ours)}, "a file")


def ours(shape: Any, dtype: Any = None) -> Any:
    return tf.ones(shape, dtype)


def test_a_foreign_class_in_a_saved_model_comes_from_its_graph_but_never_from_a_module() -> None:
    check_config([{"class_name": "Ours", "config": {}}], "a file", traced=True)
    function = {"class_name": "function", "config": "theirs", "module": "builtins", "registered_name": "function"}
    check_config([{"activation": function}], "a file", traced=True)
    with pytest.raises(ElLarqError, match="module ours"):
        check_config([{"class_name": "Ours", "module": "ours", "config": {}}], "a file", traced=True)


def test_layers_that_wait_for_each_other_are_refused() -> None:
    """Keras would try for ever."""

    def layer(name: str, *sources: str) -> dict[str, Any]:
        return {"name": name, "class_name": "Add", "config": {}, "inbound_nodes": [[[source, 0, 0, {}] for source in sources]]}

    image = {"name": "x", "class_name": "InputLayer", "config": {}, "inbound_nodes": []}
    check_config({"layers": [layer("b", "a", "x"), layer("a", "x"), image]}, "a file")
    with pytest.raises(ElLarqError, match="its layer 'b' depends on"):
        check_config({"layers": [image, layer("b", "a", "x"), layer("a", "b")]}, "a file")
    for number in (1, "text", 0.5, None):
        second = layer("b", "a")
        second["inbound_nodes"][0][0][1] = number
        with pytest.raises(ElLarqError, match="its layer 'b' depends on"):
            check_config({"layers": [image, layer("a", "x"), second]}, "a file")


def test_a_nested_sequential_model_without_an_input_can_wait_for_itself() -> None:
    """Its calls are counted from nought, those of one with an input from one; Keras would wait for the call that there is not."""

    def model(first: str, call: int) -> dict[str, Any]:
        inner = {"layers": [{"class_name": first, "config": {}}]}
        sequential = {"name": "s", "class_name": "Sequential", "config": inner, "inbound_nodes": [[["x", 0, 0, {}]]]}
        after = {"name": "a", "class_name": "ReLU", "config": {}, "inbound_nodes": [[["s", call, 0, {}]]]}
        return {"layers": [{"name": "x", "class_name": "InputLayer", "config": {}, "inbound_nodes": []}, sequential, after]}

    check_config(model("ReLU", 0), "a file")
    check_config(model("InputLayer", 1), "a file")
    for first, call in (("ReLU", 1), ("InputLayer", 0)):
        with pytest.raises(ElLarqError, match="its layer 'a' depends on"):
            check_config(model(first, call), "a file")
    circle = model("ReLU", 0)
    circle["layers"][1]["inbound_nodes"] = [[["a", 0, 0, {}]]]
    with pytest.raises(ElLarqError, match=r"its layer '[as]' depends on"):
        check_config(circle, "a file")


def test_calls_on_constants_alone_are_refused() -> None:
    """Keras would compute them while it loads the file, at whatever size."""
    image = {"name": "x", "class_name": "InputLayer", "config": {}, "inbound_nodes": []}
    call = {"name": "op", "class_name": "TFOpLambda", "config": {"function": "broadcast_to"}}
    node = ["_CONSTANT_VALUE", -1, 1.0, {"shape": [40_000, 50_000]}]
    with pytest.raises(ElLarqError, match="calls its layer 'op' with constants only"):
        check_config({"layers": [image, {**call, "inbound_nodes": [node]}]}, "a file")
    node[3]["shape"] = ["x", 0, 0]
    check_config({"layers": [image, {**call, "inbound_nodes": [node]}]}, "a file")


@pytest.mark.parametrize("symbol", ["math.add", "__operators__.getitem", "compat.v1.nn.relu", "concat", "image.resize"])
def test_mathematics_is_harmless(symbol: str) -> None:
    assert is_harmless(symbol)


@pytest.mark.parametrize(
    "symbol",
    ["io.write_file", "py_function", "numpy_function", "raw_ops.WriteFile", "load_op_library", "math", "linalg.experimental.x",
     "compat.v1.py_func", "keras.utils.get_file", "nn.RNNCellDeviceWrapper", "data.TFRecordDataset", "", "nn.", "print",
     "nn.fixed_unigram_candidate_sampler", "nn.raw_rnn", "nn.added_by_a_newer_tensorflow"],
)  # fmt: skip
def test_anything_else_is_not(symbol: str) -> None:
    assert not is_harmless(symbol)


@pytest.mark.parametrize(
    "operator",
    ["Conv2D", "FusedBatchNormGradV3", "ReadVariableOp", "StatefulPartitionedCall", "TensorListStack", "CudnnRNNBackpropV3",
     "SparseTensorDenseMatMul", "SparseMatMul"],
)  # fmt: skip
def test_operators_that_compute_are_allowed(operator: str) -> None:
    assert saved_graphs.is_harmless(operator)


@pytest.mark.parametrize(
    "operator",
    ["WriteFile", "ReadFile", "MatchingFiles", "SaveV2", "RestoreV2", "PyFunc", "PyFuncStateless", "EagerPyFunc", "PrintV2",
     "DebugIdentity", "ImmutableConst", "TFRecordDataset", "InitializeTableFromTextFileV2", "RemoteCall", "_Send", "ReaderReadV2"],
)  # fmt: skip
def test_operators_that_act_are_not(operator: str) -> None:
    assert not saved_graphs.is_harmless(operator)


def _with_lambda(path: Path, canary: Path) -> Path:
    image = keras.Input((4,))
    layer = keras.layers.Lambda(
        lambda x, path: (__import__("pathlib").Path(path).write_text("executed"), x)[1],
        arguments={"path": str(canary)},
        output_shape=lambda shape: shape,
    )
    return _save(keras.Model(image, layer(image)), path)


@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
def test_trust_opens_what_is_refused_otherwise(tmp_path: Path, name: str, one_line: OneLine) -> None:
    canary = tmp_path / "canary"
    path = _with_lambda(tmp_path / name, canary)
    canary.unlink()
    with pytest.raises(ElLarqError, match="--trust, which lets the file run code with your rights") as caught:
        load_model(path)
    assert str(path) in one_line(caught.value)
    assert not canary.exists()
    load_model(path, trust=True)
    assert canary.exists()


def test_weights_larger_than_the_file_allows_are_refused_before_memory_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_line: OneLine
) -> None:
    image = keras.Input((10,))
    path = _save(keras.Model(image, keras.layers.Dense(1000)(image)), tmp_path / "model.h5")
    monkeypatch.setattr(containers, "_FLOOR", 0)
    assert load_model(path).count_params() == 11_000
    with h5py.File(path, "r+") as file:
        config = json.loads(str(file.attrs["model_config"]))
        config["config"]["layers"][1]["config"]["units"] = 10_000
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(ElLarqError, match=r"declare 4\d\d,000 bytes of weights, more than a file of its size") as caught:
        load_model(path)
    assert str(path) in one_line(caught.value)


def test_activations_too_large_for_memory_are_refused(tmp_path: Path) -> None:
    image = keras.Input((1000, 1000, 1))
    path = _save(keras.Model(image, keras.layers.UpSampling2D(20)(image)), tmp_path / "model.h5")
    with pytest.raises(ElLarqError, match="makes 400,000,000 values per image"):
        load_model(path)
    assert load_model(path, trust=True).output_shape == (None, 20_000, 20_000, 1)
    image: Any = keras.Input((2,))
    path = _save(keras.Model(image, tf.broadcast_to(image[0, 0], (20_000, 10_000))), tmp_path / "without_a_batch.keras")
    with pytest.raises(ElLarqError, match="makes 200,000,000 values per image"):
        load_model(path)


def test_a_compressed_h5_loads(small: Any, tmp_path: Path) -> None:
    path = tmp_path / "small.h5"
    with h5py.File(small.h5) as old, h5py.File(path, "w") as new:

        def copy(name: str, entry: Any) -> None:
            if isinstance(entry, h5py.Dataset):
                new.create_dataset(name, data=entry[()], **({"compression": "gzip", "shuffle": True} if entry.shape else {}))
            else:
                new.require_group(name)
            for key, value in entry.attrs.items():
                new[name].attrs[key] = value

        old.visititems(copy)
        for key, value in old.attrs.items():
            new.attrs[key] = value
    assert load_model(path).count_params() == small.model.count_params()


def test_a_file_that_vanishes_while_it_is_read_is_one_line(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_line: OneLine
) -> None:
    path = tmp_path / "model.h5"
    path.write_bytes(small.h5.read_bytes())
    monkeypatch.setattr("el_larq.loading.load.check_config", lambda *_, **__: path.unlink())
    with pytest.raises(ElLarqError) as caught:
        load_model(path)
    assert str(path) in one_line(caught.value)


def test_an_output_of_unknown_rank_is_refused_by_its_layers_name() -> None:
    """Files with such a layer can be made by hand only; tests/fuzz/test_classes.py makes them."""
    unknown: Any = None
    image: Any = keras.Input(type_spec=tf.TensorSpec(unknown, tf.float32))
    model = keras.Model(image, keras.layers.Activation("relu", name="rectified")(image))
    with pytest.raises(ElLarqError, match=r"model\.h5: the output of its layer \w+ has an unknown number of dimensions"):
        check_activations(model, Path("model.h5"))
