"""TensorFlow functions that a model may call by name (``x + y``, ``tf.reshape``): mathematics on tensors.

Keras stores such a call as a layer with the function's public name and resolves any name, even `tf.io.write_file`. Therefore
functions are listed here individually: even mathematical modules contain some that read files
(`tf.nn.fixed_unigram_candidate_sampler`) or call Python (`tf.nn.raw_rnn`).
"""

_MODULES = {
    "math": """
        abs acos acosh add add_n angle approx_max_k approx_min_k argmax argmin asin asinh atan atan2 atanh bessel_i0
        bessel_i0e bessel_i1 bessel_i1e betainc bincount ceil confusion_matrix conj cos cosh count_nonzero cumprod cumsum
        cumulative_logsumexp digamma divide divide_no_nan equal erf erfc erfcinv erfinv exp expm1 floor floordiv floormod
        greater greater_equal igamma igammac imag in_top_k invert_permutation is_finite is_inf is_nan is_non_decreasing
        is_strictly_increasing l2_normalize lbeta less less_equal lgamma log log1p log_sigmoid log_softmax logical_and
        logical_not logical_or logical_xor maximum minimum mod multiply multiply_no_nan ndtri negative nextafter not_equal
        polygamma polyval pow real reciprocal reciprocal_no_nan reduce_all reduce_any reduce_euclidean_norm reduce_logsumexp
        reduce_max reduce_mean reduce_min reduce_prod reduce_std reduce_sum reduce_variance rint round rsqrt scalar_mul
        segment_max segment_mean segment_min segment_prod segment_sum sigmoid sign sin sinh softmax softplus softsign sqrt
        square squared_difference subtract tan tanh top_k truediv unsorted_segment_max unsorted_segment_mean
        unsorted_segment_min unsorted_segment_prod unsorted_segment_sqrt_n unsorted_segment_sum xdivy xlog1py xlogy
        zero_fraction zeta
    """,
    "linalg": """
        adjoint band_part banded_triangular_solve cholesky cholesky_solve cross det diag diag_part eig eigh eigh_tridiagonal
        eigvals eigvalsh einsum expm eye global_norm inv l2_normalize logdet logm lstsq lu lu_matrix_inverse lu_reconstruct
        lu_solve matmul matrix_rank matrix_transpose matvec norm normalize pinv qr set_diag slogdet solve sqrtm svd
        tensor_diag tensor_diag_part tensordot trace transpose triangular_solve tridiagonal_matmul tridiagonal_solve
    """,
    "nn": """
        approx_max_k approx_min_k atrous_conv2d atrous_conv2d_transpose avg_pool avg_pool1d avg_pool2d avg_pool3d
        avg_pool_v2 batch_norm_with_global_normalization batch_normalization bias_add conv1d conv1d_transpose conv2d
        conv2d_backprop_filter conv2d_backprop_input conv2d_transpose conv3d conv3d_backprop_filter
        conv3d_backprop_filter_v2 conv3d_transpose conv_transpose convolution crelu depth_to_space depthwise_conv2d
        depthwise_conv2d_backprop_filter depthwise_conv2d_backprop_input depthwise_conv2d_native
        depthwise_conv2d_native_backprop_filter depthwise_conv2d_native_backprop_input dilation2d dropout elu
        embedding_lookup erosion2d fractional_avg_pool fractional_max_pool fused_batch_norm gelu in_top_k l2_loss
        l2_normalize leaky_relu local_response_normalization log_poisson_loss log_softmax lrn max_pool max_pool1d max_pool2d
        max_pool3d max_pool_v2 max_pool_with_argmax moments normalize_moments pool relu relu6 relu_layer selu
        separable_conv2d sigmoid sigmoid_cross_entropy_with_logits silu softmax softmax_cross_entropy_with_logits
        softmax_cross_entropy_with_logits_v2 softplus softsign space_to_batch space_to_depth
        sparse_softmax_cross_entropy_with_logits sufficient_statistics swish tanh top_k weighted_cross_entropy_with_logits
        weighted_moments xw_plus_b zero_fraction
    """,
    "__operators__": """
        add eq getitem ne
    """,
    "bitwise": """
        bitwise_and bitwise_or bitwise_xor invert left_shift right_shift
    """,
    "signal": """
        dct fft fft2d fft3d fftnd fftshift frame hamming_window hann_window idct ifft ifft2d ifft3d ifftnd ifftshift
        inverse_mdct inverse_stft irfft irfft2d irfft3d irfftnd kaiser_bessel_derived_window kaiser_window
        linear_to_mel_weight_matrix mdct mfccs_from_log_mel_spectrograms overlap_and_add rfft rfft2d rfft3d rfftnd stft
        vorbis_window
    """,
}

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
    shape shape_n sigmoid sign sin sinh size slice sort space_to_batch space_to_batch_nd split sqrt square squeeze stack
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
_FUNCTIONS = frozenset((*_NAMES.split(), *(f"{module}.{name}" for module, names in _MODULES.items() for name in names.split())))


def is_harmless(symbol: str) -> bool:
    """Whether a public name, as written by Keras (with or without ``compat.v1.``), is on the list."""
    return symbol.removeprefix("compat.v1.") in _FUNCTIONS
