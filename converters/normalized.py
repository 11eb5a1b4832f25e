"""One spelling for what Keras computes in several ways, before anything looks at the graph. Exact in every number."""

from el_larq.converters.dilations import with_dilations
from el_larq.converters.duplicates import without_duplicates
from el_larq.converters.factors import with_norms_by_row
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.layer_normalization import with_moments
from el_larq.converters.one_dimensional import with_two_dimensions
from el_larq.converters.pooled_signs import with_signs_of_pooling
from el_larq.converters.precision import with_single_precision
from el_larq.converters.random_numbers import with_drawn_numbers
from el_larq.converters.signs import with_signs
from el_larq.converters.static_shapes import with_static_shapes
from el_larq.converters.unsupported import without_softsign


def normalized(model: FrozenModel) -> FrozenModel:
    """The model as the further steps expect it."""
    for normalize in (
        with_static_shapes,  # first, as it inlines the branches of conditions, whose functions keep their types
        with_drawn_numbers,
        with_single_precision,
        without_duplicates,
        with_dilations,
        with_two_dimensions,
        with_norms_by_row,
        with_signs,
        with_signs_of_pooling,
        with_moments,
        without_softsign,
    ):
        model = normalize(model)
    return model
