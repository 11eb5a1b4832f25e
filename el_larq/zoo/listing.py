"""The networks of Larq Zoo, what they cost, and which are on this machine. Does not import TensorFlow."""

from typing import Any

from el_larq.errors import ElLarqError
from el_larq.models.zoo.zoo_macs import MACS
from el_larq.models.zoo.zoo_registry import ZOO, ZooNetwork
from el_larq.zoo.published_files import LICENCE, weights_file
from el_larq.zoo.weights_cache import find_weights

COLUMNS = ("name", "top-1", "top-5", "parameters", "size", "MACs by bits", "here")


def list_zoo() -> list[dict[str, Any]]:
    """One entry per network: published figures with their source, multiply-accumulates by bits, the weights file and its state.

    "macs": by "weights/activations" in bits, for one image of 224x224 pixels. "here": "yes", "no", "other weights" for a file that
    Larq Zoo does not publish, or "damaged".
    """
    return [_entry(network) for network in ZOO.values()]


def row(entry: dict[str, Any]) -> list[Any]:
    """An entry as a row of the table with the headings `COLUMNS`."""
    macs = " + ".join(f"{count:.2e} {bits}".replace("e+0", "e").replace("e+", "e") for bits, count in entry["macs"].items())
    texts = {"MACs by bits": macs, "parameters": f"{entry['parameters']:,}"}
    return [texts.get(heading, entry.get(heading)) for heading in COLUMNS]


def _entry(network: ZooNetwork) -> dict[str, Any]:
    file = weights_file(network.name)
    return {
        "name": network.name,
        "title": network.title,
        **{what: figure for what, (figure, _source) in network.published.items()},
        "source": network.published["top-1"][1],
        "macs": {f"{weights}/{activations}": count for (weights, activations), count in MACS[network.name].items()},
        "here": _state(network.name),
        "summary": network.summary,
        "binary": network.binary,
        "reference": network.reference,
        "licence": LICENCE,
        "file": f"{file.release}/{file.name}",
        "sha256": file.sha256,
        "download": f"about {file.megabytes} MB",
    }


def _state(name: str) -> str:
    try:
        found = find_weights(name)
    except ElLarqError:
        return "damaged"
    return "no" if found is None else "yes" if found.published else "other weights"
