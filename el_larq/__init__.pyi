"""The public names of el_larq. At run time they are imported when they are first used."""

from el_larq.comparison.compare import compare as compare
from el_larq.conv import Conv as Conv
from el_larq.converters.pipeline import convert as convert
from el_larq.converters.quantize_model import quantize as quantize
from el_larq.data.dataset_registry import load_dataset as load_dataset
from el_larq.evaluation.detect import detect as detect
from el_larq.evaluation.evaluate import evaluate as evaluate
from el_larq.evaluation.predict import predict as predict
from el_larq.inspection.inspect import inspect as inspect
from el_larq.inspection.weights import read_weights as read_weights
from el_larq.layers.elastic_link import ElasticLink as ElasticLink
from el_larq.methods.method import Method as Method
from el_larq.methods.method_registry import list_methods as list_methods
from el_larq.models.build import build as build
from el_larq.models.network_registry import list_networks as list_networks
from el_larq.training.train import resume as resume
from el_larq.training.train import train as train
from el_larq.zoo.named_models import load_model as load_model

__version__: str

__all__ = [
    "Conv",
    "ElasticLink",
    "Method",
    "__version__",
    "build",
    "compare",
    "convert",
    "detect",
    "evaluate",
    "inspect",
    "list_methods",
    "list_networks",
    "load_dataset",
    "load_model",
    "predict",
    "quantize",
    "read_weights",
    "resume",
    "train",
]
