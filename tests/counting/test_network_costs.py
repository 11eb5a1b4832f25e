"""The stored counts of networks against networks that are built and counted."""

import pytest
import tf_keras as keras

from el_larq.counting.counts import count
from el_larq.counting.network_costs import COUNTED
from el_larq.models.build import build
from el_larq.models.network_registry import NETWORKS


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_stored_counts_are_those_of_the_network(network: str) -> None:
    keras.backend.clear_session()
    counts = count(build(network, "el"))
    assert COUNTED[network] == (counts.bops, counts.flops)
