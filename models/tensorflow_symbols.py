"""TensorFlow functions that a model may call by name (``x + y``, ``tf.reshape``): mathematics on tensors.

Keras keeps such a call as a layer with the function's public name and finds it again by that name, whatever it is: also
`tf.io.write_file`. So functions are listed here: whole modules that hold nothing but mathematics, and single ones.
"""

_MODULES = ("__operators__", "bitwise", "linalg", "math", "nn", "signal")

_NAMES = """
    abs acos acosh add add_n argmax argmin argsort asin asinh atan atan2 atanh batch_to_space bitcast broadcast_to cast
    ceil clip_by_norm clip_by_value concat cos cosh cumsum debugging.check_numerics divide einsum ensure_shape equal exp
    expand_dims expm1 extract_volume_patches eye fill fingerprint floor floordiv floormod gather gather_nd greater greater_equal
    identity identity_n less less_equal linspace log log1p log_sigmoid logical_and logical_not logical_or
    matmul maximum meshgrid minimum mod multiply negative no_op norm not_equal one_hot ones ones_like pad pow
    quantization.fake_quant_with_min_max_args quantization.fake_quant_with_min_max_vars
    quantization.fake_quant_with_min_max_vars_per_channel quantization.quantize_and_dequantize_v2
    range rank realdiv reduce_all reduce_any reduce_max reduce_mean reduce_min reduce_prod reduce_sum
    repeat reshape reverse reverse_sequence roll round rsqrt saturate_cast scalar_mul scatter_nd searchsorted sequence_mask
    shape shape_n sigmoid sign sin sinh size slice sort space_to_batch space_to_batch_nd split split_v sqrt square squeeze stack
    stop_gradient strided_slice subtract tan tanh tensor_scatter_nd_add tensor_scatter_nd_update tensordot tile transpose
    truncatediv truncatemod unstack where where_v2 zeros zeros_like
    image.adjust_brightness image.adjust_contrast image.adjust_gamma image.adjust_hue image.adjust_saturation
    image.central_crop image.convert_image_dtype image.crop_and_resize image.crop_to_bounding_box image.extract_patches
    image.flip_left_right image.flip_up_down image.grayscale_to_rgb image.non_max_suppression image.per_image_standardization
    image.pad_to_bounding_box image.resize image.resize_with_crop_or_pad image.resize_with_pad image.rgb_to_grayscale image.rot90
    image.transpose image.resize_bilinear image.resize_nearest_neighbor
    keras.activations.elu keras.activations.exponential keras.activations.gelu keras.activations.hard_sigmoid
    keras.activations.linear keras.activations.mish keras.activations.relu keras.activations.selu keras.activations.sigmoid
    keras.activations.softmax keras.activations.softplus keras.activations.softsign keras.activations.swish keras.activations.tanh
"""
_FUNCTIONS = frozenset(_NAMES.split())


def is_harmless(symbol: str) -> bool:
    """Whether a public name, as Keras writes it (with or without ``compat.v1.``), is on the list."""
    symbol = symbol.removeprefix("compat.v1.")
    module, _, name = symbol.rpartition(".")
    return symbol in _FUNCTIONS or (module in _MODULES and name.isidentifier() and name.islower())
