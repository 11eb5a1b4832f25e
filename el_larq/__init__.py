"""el-larq: binary neural networks with Elastic-Links, from a published method to a measured latency.

Importing this package only selects Keras 2 (``tf-keras``), which Larq needs: TensorFlow is imported when a name that needs it
is first used, so that the command line starts at once.
"""

import importlib
import os
import sys
from typing import Any

from el_larq._version import VERSION
from el_larq.native_output import QuietStart

__version__ = VERSION

_HOME = {
    "Conv": "el_larq.conv",
    "ElasticLink": "el_larq.layers.elastic_link",
    "Method": "el_larq.methods.method",
    "build": "el_larq.models.build",
    "compare": "el_larq.comparison.compare",
    "convert": "el_larq.converters.pipeline",
    "detect": "el_larq.evaluation.detect",
    "evaluate": "el_larq.evaluation.evaluate",
    "inspect": "el_larq.inspection.inspect",
    "list_methods": "el_larq.methods.method_registry",
    "list_networks": "el_larq.models.network_registry",
    "load_dataset": "el_larq.data.dataset_registry",
    "load_model": "el_larq.zoo.named_models",
    "predict": "el_larq.evaluation.predict",
    "quantize": "el_larq.converters.quantize_model",
    "read_weights": "el_larq.inspection.weights",
    "resume": "el_larq.training.train",
    "train": "el_larq.training.train",
}
"""Public names and their modules; `__init__.pyi` lists the same for type checkers and editors, and a test compares them."""

__all__ = ["__version__", *_HOME]  # pyright: ignore[reportUnsupportedDunderAll]


def _select_keras_2() -> None:
    """Set ``TF_USE_LEGACY_KERAS``, or raise ImportError if it is too late: TensorFlow and Keras read it on their first import."""
    setting = os.environ.get("TF_USE_LEGACY_KERAS")
    if setting is not None and setting.lower() not in ("1", "true"):
        raise ImportError(
            f"el-larq needs Keras 2, but TF_USE_LEGACY_KERAS is {setting!r}: unset it, or set it to 1, before Python starts"
        )
    if setting is None and ("tensorflow" in sys.modules or "tf_keras" in sys.modules):
        raise ImportError(
            "TensorFlow was imported before el_larq, without the setting that Larq needs for Keras 2: import el_larq first, "
            "or set TF_USE_LEGACY_KERAS=1 before Python starts"
        )
    os.environ["TF_USE_LEGACY_KERAS"] = "1"


_select_keras_2()
QuietStart.install()


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'el_larq' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOME]
