"""Hostile files: code that would write a file EXECUTED to the working directory, sizes and depths that exceed any memory.

What each would do to a program that trusts it is in its name.
"""

import base64
import hashlib
import json
import marshal
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import damage
import h5py
import numpy as np
from hostile_flatbuffer import flatbuffer_files

MODULE = "module_of_a_stranger"
CANARY = "EXECUTED"

Made = Iterator[tuple[str, str, Path]]


def write_module(folder: Path) -> None:
    """A module that must not be imported."""
    (folder / f"{MODULE}.py").write_text(f"open({CANARY!r}, 'w').close()\ndef start(shape, dtype=None): ...\n")


def write_all(seeds: Path, data: Path, folder: Path, kinds: Sequence[str] | None = None) -> Made:
    """Kind, name and path of each file, or of those of some kinds. Files that once caused a fault are of kind ``found``."""
    for made, makers in MAKERS.items():
        if kinds is None or made in kinds:
            for make in makers:
                yield from make(seeds, data, folder)


# Configurations, as .h5 and as .keras.


def _code() -> str:
    function = eval(f"lambda x: (open({CANARY!r}, 'w').close(), x)[1]")
    return base64.encodebytes(marshal.dumps(function.__code__)).decode("ascii")


def make_layer(name: str, **config: Any) -> dict[str, Any]:
    return {
        "class_name": name,
        "module": "keras.layers",
        "registered_name": None,
        "config": {"name": "added", "trainable": True, "dtype": "float32", **config},
        "name": "added",
        "inbound_nodes": [[["image", 0, 0, {}]]],
    }


def _lambda() -> dict[str, Any]:
    return make_layer(
        "Lambda", function=[_code(), None, None], function_type="lambda", module="x", output_shape=None, output_shape_type="raw",
        output_shape_module=None, arguments={},
    )  # fmt: skip


def _functional(layer: dict[str, Any], calls: int = 1) -> dict[str, Any]:
    """A nested model of an input and a layer, called several times."""
    layer = {**layer, "name": "inner", "config": {**layer["config"], "name": "inner"}}
    layer["inbound_nodes"] = [[["input", 0, 0, {}]]] + [[["inner", n, 0, {}]] for n in range(calls - 1)]
    start = make_layer("InputLayer", batch_input_shape=[None, 16, 16, 1], sparse=False, ragged=False)
    start = {**start, "name": "input", "config": {**start["config"], "name": "input"}, "inbound_nodes": []}
    del start["config"]["trainable"]
    model = make_layer("Functional", layers=[start, layer], input_layers=[["input", 0, 0]], output_layers=[["inner", calls - 1, 0]])
    return {**model, "module": "keras.src.engine.functional"}


def _doubling() -> dict[str, Any]:
    model = make_layer("Activation", activation="relu")
    for _ in range(30):
        model = _functional(model, calls=2)
    return model


def _operator(function: str, *arguments: Any) -> dict[str, Any]:
    layer = make_layer("TFOpLambda", function=function)
    layer["inbound_nodes"] = [[["image", 0, 0, dict(enumerate(arguments))]]]
    return layer


def _object(name: str, module: str, **config: Any) -> dict[str, Any]:
    return {"class_name": name, "config": config, "module": module, "registered_name": None}


def _function(name: str, module: str) -> dict[str, Any]:
    return {"class_name": "function", "config": name, "module": module, "registered_name": name}


def _as_initializer(value: Any) -> dict[str, Any]:
    return make_layer("Dense", units=1, kernel_initializer=value)


def _as_constant(value: Any) -> dict[str, Any]:
    return _as_initializer(_object("Constant", "keras.initializers", value=value))


LAYERS: dict[str, Callable[[], dict[str, Any]]] = {
    "lambda": _lambda,
    "lambda-in-a-wrapper": lambda: make_layer("TimeDistributed", layer=_lambda()),
    "lambda-in-a-model": lambda: _functional(_lambda()),
    "lambda-as-initializer": lambda: _as_initializer({"class_name": "__lambda__", "config": {"value": [_code(), None, None]}}),
    "module-of-a-function": lambda: _as_initializer(_function("start", MODULE)),
    "module-of-a-class": lambda: _as_initializer(_object("Start", MODULE)),
    "module-named-like-keras": lambda: _as_initializer(_object("Start", "keras_of_a_stranger")),
    "module-of-a-layer": lambda: {**make_layer("Mine"), "module": MODULE, "registered_name": "Mine"},
    "module-of-a-known-layer": lambda: {**make_layer("Dense", units=1), "module": MODULE},
    "module-beside-a-registered-name": lambda: _as_initializer(
        {**_function("start", MODULE), "registered_name": "el_larq>ElasticLink"}
    ),
    "module-beside-a-word": lambda: _as_constant({**_object("TensorShape", MODULE), "registered_name": "Start"}),
    "module-beside-no-name": lambda: _as_constant({**_object("Start", MODULE), "class_name": None, "registered_name": "Start"}),
    "write-file": lambda: _operator("io.write_file", "EXECUTED"),
    "load-library": lambda: _operator("load_op_library"),
    "python-function": lambda: _operator("py_function"),
    "raw-operator": lambda: _operator("raw_ops.WriteFile"),
    "any-operator": lambda: make_layer("TensorFlowOpLayer", node_def={"name": "w", "op": "WriteFile"}, constants={}),
    "any-method": lambda: make_layer("ClassMethod", cls_symbol="io.TFRecordWriter", method_name="__init__"),
    "download": lambda: make_layer("Activation", activation=_function("get_file", "keras.utils")),
    "download-as-class": lambda: _as_initializer(_object("get_file", "keras.utils", fname="x", origin="file:///etc/passwd")),
    "load-code": lambda: _as_initializer(_object("func_load", "keras.src.utils.generic_utils", code=_code())),
    "deserialize": lambda: make_layer("Activation", activation="deserialize"),
    "any-class": lambda: _as_initializer({"class_name": "__typespec__", "spec_name": "Start", "module": MODULE, "config": []}),
    "cell-with-code": lambda: make_layer(
        "TimeDistributed", layer=make_layer("ResidualWrapper", residual_fn=[_code(), None, None], residual_fn_type="lambda")
    ),
    "operator-by-registered-name": lambda: (
        _operator("io.write_file", "EXECUTED")
        | {"class_name": "Mine", "registered_name": "TFOpLambda", "module": "keras.src.layers.core.tf_op_layer"}
    ),
    "read-vocabulary-as-sampler": lambda: _operator("nn.fixed_unigram_candidate_sampler", "/etc/passwd"),
    "huge-type": lambda: _as_constant({"class_name": "__numpy__", "config": {"value": 0, "dtype": "S2000000000"}}),
    "read-vocabulary": lambda: make_layer("StringLookup", vocabulary="/etc/passwd"),
    "huge-dense": lambda: make_layer("Dense", units=10**9),
    "huge-convolution": lambda: make_layer("Conv2D", filters=10**7, kernel_size=[99, 99]),
    "huge-embedding": lambda: make_layer("Embedding", input_dim=10**10, output_dim=10**4),
    "huge-upsampling": lambda: make_layer("UpSampling2D", size=[10**4, 10**4]),
    "huge-padding": lambda: make_layer("ZeroPadding2D", padding=[[10**6, 10**6], [10**6, 10**6]]),
    "huge-repeat": lambda: make_layer("Reshape", target_shape=[10**12]),
    "models-that-double": _doubling,
}
"""A layer that is added to a valid model."""


def with_layer(config: Any, layer: dict[str, Any]) -> Any:
    config = json.loads(json.dumps(config))
    config["config"]["layers"].append(layer)
    config["config"]["output_layers"].append([layer["name"], 0, 0])
    return config


def _h5_configurations(seeds: Path, _data: Path, folder: Path) -> Made:
    for name, make in LAYERS.items():
        layer = make()
        path = folder / f"h5-{name}.h5"
        rewrite_h5(seeds, path, lambda text, layer=layer: json.dumps(with_layer(json.loads(text), layer)))
        yield "h5", path.stem, path
    for name, text in (("deep-list", "[" * 100_000), ("deep-object", '{"a":' * 100_000), ("number", "7"), ("null", "null")):
        path = folder / f"h5-{name}.h5"
        rewrite_h5(seeds, path, lambda _, text=text: text)
        yield "h5", path.stem, path


def _keras_configurations(seeds: Path, _data: Path, folder: Path) -> Made:
    for name, make in LAYERS.items():
        layer = make()
        path = folder / f"keras-{name}.keras"
        damage.rewrite_keras(seeds / "model.keras", path, lambda config, layer=layer: with_layer(config, layer))
        yield "keras", path.stem, path


def rewrite_h5(seeds: Path, path: Path, change: Callable[[str], str]) -> None:
    shutil.copy(seeds / "model.h5", path)
    with h5py.File(path, "r+") as file:
        text = change(str(file.attrs["model_config"]))
        del file.attrs["model_config"]
        file.attrs["model_config"] = text


# Containers.


def _hdf5(seeds: Path, _data: Path, folder: Path) -> Made:
    def external_link(file: h5py.File) -> None:
        file["model_weights/other"] = h5py.ExternalLink("/etc/passwd", "/")

    def soft_link(file: h5py.File) -> None:
        file["model_weights/other"] = h5py.SoftLink("/model_weights")

    def external_storage(file: h5py.File) -> None:
        file.create_dataset("model_weights/other", (100,), np.uint8, external=[("/etc/passwd", 0, 100)])

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((100,), np.float32)
        layout[:] = h5py.VirtualSource("/etc/passwd", "data", (100,))
        file.create_virtual_dataset("model_weights/other", layout)

    def claimed(file: h5py.File) -> None:
        file.create_dataset("model_weights/other", (10**12,), np.float32, chunks=(1000,))

    def claimed_weight(file: h5py.File) -> None:
        del file["model_weights/logits/logits/kernel:0"]
        file.create_dataset("model_weights/logits/logits/kernel:0", (10**6, 10**6), np.float32, chunks=(100, 100))

    def bomb(file: h5py.File) -> None:
        file.create_dataset("model_weights/other", data=np.zeros(2**26, np.uint8), compression="gzip")

    def cycle(file: h5py.File) -> None:
        file["model_weights/stem/back"] = file["model_weights"]

    def strings(file: h5py.File) -> None:
        file.create_dataset("model_weights/other", data=["a", "b"], dtype=h5py.string_dtype())

    for change in (external_link, soft_link, external_storage, virtual, claimed, claimed_weight, bomb, cycle, strings):
        path = folder / f"h5-{change.__name__.replace('_', '-')}.h5"
        shutil.copy(seeds / "model.h5", path)
        with h5py.File(path, "r+") as file:
            change(file)
        yield "h5", path.stem, path


def _archives(seeds: Path, _data: Path, folder: Path) -> Made:
    def add(name: str, content: bytes, method: int = zipfile.ZIP_STORED) -> Callable[[zipfile.ZipFile], None]:
        return lambda archive: archive.writestr(zipfile.ZipInfo(name), content, method)

    big = bytes(300 * 2**20)
    added = {
        "leads-out": add("../EXECUTED", b"executed"),
        "absolute": add("/EXECUTED", b"executed"),
        "backslash": add("..\\EXECUTED", b"executed"),
        "bomb": add("assets/zeros", big, zipfile.ZIP_DEFLATED),
    }
    for name, change in added.items():
        path = folder / f"keras-{name}.keras"
        shutil.copy(seeds / "model.keras", path)
        with zipfile.ZipFile(path, "a") as archive:
            change(archive)
        yield "keras", path.stem, path
    for name in ("config.json", "model.weights.h5", "metadata.json"):
        path = folder / f"keras-without-{name.split('.')[0]}.keras"
        with zipfile.ZipFile(seeds / "model.keras") as old, zipfile.ZipFile(path, "w") as new:
            for member in old.namelist():
                if member != name:
                    new.writestr(zipfile.ZipInfo(member), old.read(member))
        yield "keras", path.stem, path
    path = folder / "keras-bomb-of-configuration.keras"
    with zipfile.ZipFile(seeds / "model.keras") as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.namelist():
            new.writestr(member, b" " * (60 * 2**20) + b"{}" if member == "config.json" else old.read(member))
    yield "keras", path.stem, path


def _saved_models(seeds: Path, _data: Path, folder: Path) -> Made:
    from tensorflow.core.protobuf import saved_model_pb2
    from tf_keras.protobuf import saved_metadata_pb2

    def functions(graph: Any) -> Any:
        return graph.graph_def.library.function

    def traced(graph: Any) -> Any:
        return next(f for f in functions(graph) if any(node.op == "Conv2D" for node in f.node_def))

    def in_a_function(operator: str) -> Callable[[Any], None]:
        return lambda graph: traced(graph).node_def.add(name="added", op=operator)

    def in_the_graph(graph: Any) -> None:
        graph.graph_def.node.add(name="added", op="WriteFile")

    def calls_the_saver(graph: Any) -> None:
        saver = next(f.signature.name for f in functions(graph) if any(node.op == "SaveV2" for node in f.node_def))
        traced(graph).node_def.add(name="added", op="StatefulPartitionedCall").attr["f"].func.name = saver

    def is_the_saver(graph: Any) -> None:
        traced(graph).node_def.add(name="added", op="SaveV2")

    def huge_constant(graph: Any) -> None:
        value = traced(graph).node_def.add(name="added", op="Const").attr["value"].tensor
        value.dtype = 1
        value.tensor_shape.dim.add(size=10**12)
        value.float_val.append(0.0)

    def two_graphs(graph: Any) -> None:
        pass

    changes = {
        "write-file": in_a_function("WriteFile"),
        "read-file": in_a_function("ReadFile"),
        "matching-files": in_a_function("MatchingFiles"),
        "python": in_a_function("EagerPyFunc"),
        "python-stateless": in_a_function("PyFuncStateless"),
        "print-to-file": in_a_function("PrintV2"),
        "debug": in_a_function("DebugIdentity"),
        "unknown": in_a_function("OperatorOfAStranger"),
        "data-set": in_a_function("TextLineDataset"),
        "remote": in_a_function("RemoteCall"),
        "write-file-in-the-graph": in_the_graph,
        "calls-the-saver": calls_the_saver,
        "is-the-saver": is_the_saver,
        "huge-constant": huge_constant,
        "two-graphs": two_graphs,
    }
    for name, change in changes.items():
        path = _copy(seeds, folder / f"saved_model-{name}")
        saved: Any = saved_model_pb2.SavedModel()
        saved.ParseFromString((path / "saved_model.pb").read_bytes())
        change(saved.meta_graphs[0])
        if name == "two-graphs":
            saved.meta_graphs.add().CopyFrom(saved.meta_graphs[0])
        (path / "saved_model.pb").write_bytes(saved.SerializeToString())
        yield "saved_model", path.name, path
    texts: dict[str, Callable[[dict[str, Any]], str]] = {
        "lambda": lambda node: json.dumps({**node, **_lambda()}),
        "module": lambda node: json.dumps({**node, "config": {**node["config"], "kernel_initializer": _function("start", MODULE)}}),
        "deep": lambda _: "[" * 100_000,
        "number": lambda _: "7",
        "huge-dense": lambda node: json.dumps({**node, **make_layer("Dense", units=10**9)}),
    }
    for name, text in texts.items():
        path = _copy(seeds, folder / f"saved_model-metadata-{name}")
        metadata: Any = saved_metadata_pb2.SavedMetadata()  # pyright: ignore[reportAttributeAccessIssue]
        metadata.ParseFromString((path / "keras_metadata.pb").read_bytes())
        node = next(node for node in metadata.nodes if json.loads(node.metadata)["name"] == "logits")
        node.metadata = text(json.loads(node.metadata))
        (path / "keras_metadata.pb").write_bytes(metadata.SerializeToString())
        yield "saved_model", path.name, path
    path = _copy(seeds, folder / "saved_model-in-text-too")
    (path / "saved_model.pbtxt").write_text("saved_model_schema_version: 1\n")
    yield "saved_model", path.name, path
    path = _copy(seeds, folder / "saved_model-empty")
    for file in ("saved_model.pb", "keras_metadata.pb"):
        (path / file).write_bytes(b"")
    yield "saved_model", path.name, path


def _copy(seeds: Path, path: Path) -> Path:
    shutil.copytree(seeds / "saved_model", path)
    return path


# Images and run folders.


def _images(seeds: Path, _data: Path, folder: Path) -> Made:
    def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
        header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        parts = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in (header, *chunks))
        return b"\x89PNG\r\n\x1a\n" + b"".join(parts)

    made = {
        "huge.png": png(2**31 - 1, 2**31 - 1, (b"IDAT", zlib.compress(bytes(10)))),
        "large.png": png(9000, 9000, (b"IDAT", zlib.compress(bytes(10)))),
        "text-bomb.png": png(8, 8, (b"zTXt", b"k\0\0" + zlib.compress(bytes(2**27))), (b"IDAT", b"")),
        "empty.png": b"",
        "text.png": b"no image\n",
        "script.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>",
        "program.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(EXECUTED) (w) file closefile\n",
        "huge.bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, 2**30, 2**30, 1, 24, 0, 0, 0, 0, 0, 0),
    }
    for name, content in made.items():
        path = folder / f"image-{name}"
        path.write_bytes(content)
        yield "image", path.name, path
    path = folder / "image-folder.png"
    path.mkdir()
    yield "image", path.name, path


def _runs(seeds: Path, _data: Path, folder: Path) -> Made:
    files: dict[str, tuple[str, bytes]] = {
        "deep-config": ("config.json", b"[" * 100_000),
        "config-list": ("config.json", b"[]"),
        "config-text": ("config.json", b"\xff\xfe"),
        "config-markup": ("config.json", b'{"network": "<script>alert(1)</script>", "seed": [1]}'),
        "metrics-binary": ("metrics.jsonl", bytes(range(256))),
        "metrics-deep": ("metrics.jsonl", b"[" * 100_000 + b"\n"),
        "metrics-huge": (
            "metrics.jsonl",
            b'{"epoch": 1e308, "loss": 1e308}\n{"epoch": 1, "loss": NaN}\n{"epoch": -5, "loss": Infinity}\n',
        ),
        "metrics-integer": ("metrics.jsonl", b'{"epoch": 1, "loss": 1' + b"0" * 400 + b"}\n"),
        "metrics-long": ("metrics.jsonl", b'{"epoch": 1, "loss": 1}\n' * 20_000),
        "result-text": ("result.json", b'{"accuracy": "good"}'),
        "result-list": ("result.json", b'{"accuracy": [1]}'),
        "environment-list": ("environment.json", b'{"command": {"a": 1}, "packages": ["larq"]}'),
        "environment-number": ("environment.json", b'{"command": 5, "packages": 5}'),
    }
    for name, (file, content) in files.items():
        path = folder / f"run-{name}"
        shutil.copytree(seeds / "run", path)
        (path / file).write_bytes(content)
        yield "run", path.name, path
    for file in ("config.json", "metrics.jsonl", "result.json", "model.tflite"):
        path = folder / f"run-folder-for-{file.split('.')[0]}"
        shutil.copytree(seeds / "run", path)
        (path / file).unlink()
        (path / file).mkdir()
        yield "run", path.name, path
    path = folder / "run-pipe"
    shutil.copytree(seeds / "run", path)
    (path / "result.json").unlink()
    os.mkfifo(path / "result.json")
    yield "run", path.name, path


def _states(seeds: Path, _data: Path, folder: Path) -> Made:
    """States of a training with valid checksums, which anyone can write."""

    def state(header: bytes, content: bytes = b"") -> bytes:
        body = b"el-larq training state 1\n" + len(header).to_bytes(8, "little") + header + content
        return body + hashlib.sha256(body).digest()

    made = {
        "empty": state(b""),
        "deep": state(b"[" * 100_000),
        "list": state(b"[]"),
        "claims": state(json.dumps({"step": 1, "facts": {}, "arrays": [["a", "float32", [10**12]]]}).encode()),
        "claims-nothing": state(json.dumps({"step": 1, "facts": {}, "arrays": [["a", "float32", [0, 10**12]]]}).encode()),
        "objects": state(json.dumps({"step": 1, "facts": {}, "arrays": [["a", "object", [1]]]}).encode(), bytes(8)),
        "other": state(json.dumps({"step": 10**9, "facts": {"epoch": "x"}, "arrays": [["a", "float32", [1]]]}).encode(), bytes(4)),
        "long-header": b"el-larq training state 1\n" + b"\xff" * 8 + bytes(64),
    }
    for name, content in made.items():
        path = folder / f"resume-state-{name}"
        shutil.copytree(seeds / "unfinished", path)
        (path / "checkpoints").mkdir()
        (path / "checkpoints" / "state-000000001.ckpt").write_bytes(content)
        yield "resume", path.name, path
    path = folder / "resume-state-huge"
    shutil.copytree(seeds / "unfinished", path)
    (path / "checkpoints").mkdir()
    with open(path / "checkpoints" / "state-000000001.ckpt", "wb") as file:
        file.truncate(2**35)  # which takes no place on the disk
    (path / "checkpoints" / "state-of-mine.ckpt").touch()
    yield "resume", path.name, path


# What the corpus has found: each of these once led a command astray.


def _found(seeds: Path, _data: Path, folder: Path) -> Made:
    def change(name: str, edit: Callable[[list[dict[str, Any]]], None]) -> tuple[str, str, Path]:
        path = folder / f"found-{name}.h5"

        def apply(text: str) -> str:
            config = json.loads(text)
            edit(config["config"]["layers"])
            return json.dumps(config)

        rewrite_h5(seeds, path, apply)
        return "h5", path.stem, path

    def wait_in_a_circle(layers: list[dict[str, Any]]) -> None:
        layers[1]["inbound_nodes"][0][0][0] = layers[3]["name"]

    def wait_for_no_number(layers: list[dict[str, Any]]) -> None:
        layers[4]["inbound_nodes"][0][0][1] = "text"

    def long_name(layers: list[dict[str, Any]]) -> None:
        layers[1]["class_name"] = "x" * 5000

    yield change("layers-that-wait-for-each-other", wait_in_a_circle)
    yield change("call-without-a-number", wait_for_no_number)
    yield change("long-name", long_name)
    path = folder / "found-kernel-larger-than-its-data.tflite"
    content = bytearray((seeds / "model.tflite").read_bytes())
    position = content.index(struct.pack("<5i", 4, 32, 1, 1, 1))  # the shape of the binary kernel
    content[position + 19] = 1
    path.write_bytes(content)
    yield "tflite", path.stem, path
    path = folder / "found-run-beyond-all-axes"
    shutil.copytree(seeds / "run", path)
    (path / "metrics.jsonl").write_text('{"epoch": 1e308, "loss": 1e308}\n{"epoch": 1, "loss": -1e308}\n')
    yield "run", path.name, path
    path = _copy(seeds, folder / "found-metadata-that-is-no-json")
    content = (path / "keras_metadata.pb").read_bytes()
    (path / "keras_metadata.pb").write_bytes(content.replace(b'"class_name": "Dense"', b'"class_name"! "Dense"'))
    yield "saved_model", path.name, path


MAKERS: dict[str, tuple[Callable[[Path, Path, Path], Made], ...]] = {
    "h5": (_h5_configurations, _hdf5),
    "keras": (_keras_configurations, _archives),
    "saved_model": (_saved_models,),
    "tflite": (flatbuffer_files,),
    "image": (_images,),
    "run": (_runs,),
    "resume": (_states,),
    "found": (_found,),
}
