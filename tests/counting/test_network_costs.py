"""The stored counts of networks against networks that are built and counted."""

import pytest
import tf_keras as keras

from el_larq.counting.counts import count
from el_larq.counting.network_costs import COUNTED, INSTRUCTIONS
from el_larq.inspection.predicted_graph import PredictedGraph
from el_larq.models.build import build
from el_larq.models.network_registry import NETWORKS
from el_larq.tflite.instructions import CORES, predict_cost


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_stored_counts_are_those_of_the_network(network: str) -> None:
    keras.backend.clear_session()
    model = build(network, NETWORKS[network].default_method)
    counts = count(model)
    assert COUNTED[network] == (counts.bops, counts.flops)
    operators = PredictedGraph(model).all_operators
    assert INSTRUCTIONS[network] == {core: predict_cost(operators, core).instructions for core in CORES}
