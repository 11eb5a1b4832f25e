"""Quantizers that Larq lacks, one per file. Importing this package registers them: models load without custom_objects."""

from typing import Any

import larq
import tf_keras as keras

from el_larq.quantizers.balanced_sign import BalancedSign as BalancedSign
from el_larq.quantizers.binary_bases import BinaryBases as BinaryBases
from el_larq.quantizers.binary_bases import HalfSign as HalfSign
from el_larq.quantizers.genetic_sign import GeneticSign as GeneticSign
from el_larq.quantizers.per_channel import PerChannel as PerChannel
from el_larq.quantizers.scaled_sign import ScaledSign as ScaledSign
from el_larq.quantizers.straight_scaled_sign import StraightScaledSign as StraightScaledSign


def _register(names: dict[str, Any]) -> None:
    """Register the quantizers by class name too: for .h5 files, Larq's layers look them up by class name, as they do Larq's own."""
    for name, item in names.items():
        if isinstance(item, type) and issubclass(item, larq.quantizers.Quantizer):
            keras.utils.get_custom_objects()[name] = item


_register(dict(globals()))
