"""Random damage to files (flipped bits, cut ends, bytes from elsewhere) and to their JSON (values of other types and sizes)."""

import copy
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import h5py
from PIL import Image

# path of the seeds, folder to write to, name, source of chance, number of the file
Maker = Callable[[Path, Path, str, Random, int], Path]

WRONG: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 10**9, 10**30, -(10**12), float("nan"), "", "text", "relu", "Lambda", "x" * 5000, "\0", "\ud800",
    [], {}, [[[]]], [10**9] * 4, {"class_name": "Lambda", "config": {}}, {"class_name": 3}, {"a": {"b": {"c": None}}},
)  # fmt: skip


def of_bytes(content: bytes, chance: Random, number: int) -> bytes:
    """One of: bits flipped anywhere, bits flipped in the first kilobyte, cut, a stretch zeroed, copied or repeated."""
    data = bytearray(content)
    way = number % 6
    if way in (0, 1):
        end = len(data) if way == 0 else min(1024, len(data))
        for _ in range(chance.choice((1, 1, 2, 8, 64))):
            data[chance.randrange(end)] ^= 1 << chance.randrange(8)
    elif way == 2:
        del data[chance.randrange(len(data)) :]
    else:
        size = chance.choice((1, 4, 16, 256))
        to, start = chance.randrange(len(data)), chance.randrange(len(data))
        patch = {3: bytes(size), 4: bytes(data[start : start + size]), 5: chance.randbytes(size)}[way]
        if way == 4 and chance.random() < 0.3:
            data[to:to] = patch
        else:
            data[to : to + len(patch)] = patch
    return bytes(data)


def of_json(content: Any, chance: Random) -> Any:
    """A copy with one to three values replaced, removed or nested deeply, anywhere in it."""
    content = json.loads(json.dumps(content))
    for _ in range(chance.choice((1, 1, 2, 3))):
        places = list(_places(content))
        if not places:
            break
        holder, key = chance.choice(places)
        way = chance.random()
        if way < 0.6:
            holder[key] = copy.deepcopy(chance.choice(WRONG))
        elif way < 0.75 and isinstance(holder, dict):
            del holder[key]
        elif way < 0.85 and isinstance(holder[key], int):
            holder[key] = holder[key] * chance.choice((-1, 1000, 10**8))
        elif way < 0.95:
            other_holder, other_key = chance.choice(places)
            holder[key] = json.loads(json.dumps(other_holder[other_key]))
        else:
            nested: Any = 0
            for _ in range(chance.choice((30, 150))):
                nested = [nested]
            holder[key] = nested
    return content


def _places(node: Any) -> Any:
    stack = [node]
    while stack:
        node = stack.pop()
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in items:
            yield node, key
            stack.append(value)


def h5(seeds: Path, folder: Path, name: str, chance: Random, number: int) -> Path:
    path = folder / f"{name}.h5"
    if number % 2:
        path.write_bytes(of_bytes((seeds / "model.h5").read_bytes(), chance, number // 2))
        return path
    shutil.copy(seeds / "model.h5", path)
    with h5py.File(path, "r+") as file:
        config = of_json(json.loads(str(file.attrs["model_config"])), chance)
        if number % 20 == 0:
            attribute, value = chance.choice((("el_larq_card", "[" * 5000), ("el_larq_card", 3.5), ("keras_version", [1, 2])))
            file.attrs[attribute] = value
        # Surrogates are not UTF-8: HDF5 rejects them.
        file.attrs["model_config"] = json.dumps(config).encode("ascii", "replace")
    return path


def keras(seeds: Path, folder: Path, name: str, chance: Random, number: int) -> Path:
    path = folder / f"{name}.keras"
    if number % 2:
        path.write_bytes(of_bytes((seeds / "model.keras").read_bytes(), chance, number // 2))
        return path
    rewrite_keras(
        seeds / "model.keras",
        path,
        lambda config: of_json(config, chance),
        weights=lambda content: of_bytes(content, chance, number // 2) if number % 8 == 0 else content,
    )
    return path


def rewrite_keras(
    source: Path,
    path: Path,
    config: Callable[[Any], Any] = lambda config: config,
    weights: Callable[[bytes], bytes] = lambda content: content,
) -> None:
    """A .keras archive with another configuration or other weights."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for member in old.namelist():
            content = old.read(member)
            if member == "config.json":
                content = json.dumps(config(json.loads(content))).encode()
            elif member == "model.weights.h5":
                content = weights(content)
            new.writestr(zipfile.ZipInfo(member), content)


def saved_model(seeds: Path, folder: Path, name: str, chance: Random, number: int) -> Path:
    path = folder / name
    shutil.copytree(seeds / "saved_model", path)
    files = ("saved_model.pb", "keras_metadata.pb", "variables/variables.index", "variables/variables.data-00000-of-00001")
    file = path / files[number % 4]
    if number % 12 == 5:
        file.unlink()
    else:
        file.write_bytes(of_bytes(file.read_bytes(), chance, number // 4))
    return path


def tflite(seeds: Path, folder: Path, name: str, chance: Random, number: int) -> Path:
    path = folder / f"{name}.tflite"
    path.write_bytes(of_bytes((seeds / "model.tflite").read_bytes(), chance, number))
    return path


def image(seeds: Path, folder: Path, name: str, chance: Random, number: int) -> Path:
    source = sorted(seeds.glob("image.*"))[number % 6]
    path = folder / f"{name}{source.suffix}"
    path.write_bytes(of_bytes(source.read_bytes(), chance, number // 6))
    return path


def run(seeds: Path, folder: Path, name: str, chance: Random, number: int) -> Path:
    path = folder / name
    shutil.copytree(seeds / "run", path)
    file = path / ("config.json", "metrics.jsonl", "result.json", "environment.json", "model.tflite")[number % 5]
    content = file.read_bytes()
    if file.suffix == ".json" and number % 2:
        file.write_text(json.dumps(of_json(json.loads(content), chance)), encoding="utf-8")
    elif file.suffix == ".jsonl" and number % 2:
        lines = [json.dumps(of_json(json.loads(line), chance)) for line in content.splitlines()]
        file.write_text("\n".join(lines), encoding="utf-8")
    else:
        file.write_bytes(of_bytes(content, chance, number // 5))
    return path


def resume(seeds: Path, folder: Path, name: str, chance: Random, number: int) -> Path:
    """A run that was killed before its first state was written."""
    path = folder / name
    shutil.copytree(seeds / "unfinished", path)
    file = path / "config.json"
    content = file.read_bytes()
    if number % 4:
        file.write_text(json.dumps(of_json(json.loads(content), chance)), encoding="utf-8")
    else:
        file.write_bytes(of_bytes(content, chance, number // 4))
    return path


_XML = """<annotation><filename>{0}.png</filename><size><width>16</width><height>16</height></size>
<object><name>cat</name><difficult>0</difficult><bndbox><xmin>3</xmin><ymin>3</ymin><xmax>12</xmax><ymax>14</ymax></bndbox></object>
</annotation>
"""


def annotations(seeds: Path, folder: Path, name: str, chance: Random, number: int) -> Path:
    """Six images with a box each: XML of VOC, JSON of COCO, and YOLO's text and data.yaml in turn, of which one file is damaged."""
    kind = ("voc", "coco", "yolo", "yaml")[number % 4]
    path = folder / f"{name}-{kind}"
    images = path / ("JPEGImages" if kind == "voc" else "images")
    images.mkdir(parents=True)
    texts: dict[str, str] = {}
    for index in range(6):
        Image.new("RGB", (16, 16), (40 * index, 90, 200)).save(images / f"{index}.png")
        texts[f"Annotations/{index}.xml"] = _XML.format(index)
        texts[f"labels/{index}.txt"] = "0 0.5 0.5 0.25 0.5\n0 0.1 0.1 0.4 0.1 0.4 0.4\n"
    boxes = [{"id": index, "image_id": index, "category_id": 1, "bbox": [2, 2, 9, 11], "iscrowd": 0} for index in range(6)]
    files = [{"id": index, "file_name": f"{index}.png", "width": 16, "height": 16} for index in range(6)]
    content = {"images": files, "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}
    texts |= {"annotations.json": json.dumps(content), "data.yaml": "names: {0: cat}\ntrain: images\n"}
    used = {"voc": "Annotations/", "coco": "annotations.json", "yolo": "labels/", "yaml": "data.yaml"}[kind]
    for file, text in texts.items():
        if file.startswith(used) or (kind in ("yolo", "yaml") and file.startswith(("labels/", "data.yaml"))):
            (path / file).parent.mkdir(exist_ok=True)
            (path / file).write_text(text)
    chosen = path / chance.choice([file for file in texts if file.startswith(used)])
    if kind == "coco" and number % 8 < 4:
        chosen.write_text(json.dumps(of_json(content, chance)), encoding="utf-8")
    else:
        chosen.write_bytes(of_bytes(chosen.read_bytes(), chance, number // 4))
    return path


MAKERS: dict[str, Maker] = {
    "h5": h5,
    "keras": keras,
    "saved_model": saved_model,
    "tflite": tflite,
    "image": image,
    "run": run,
    "resume": resume,
    "annotations": annotations,
}
