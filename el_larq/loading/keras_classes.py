"""The classes and functions of tf-keras and Larq that a model file may name, by full name.

Each was reviewed for what its constructor, ``from_config``, ``build`` and ``call`` do with values from a file: those allowed only
compute. A test compares the tables with the installed tf-keras. Additions in a newer version are in neither table and are rejected
until someone has reviewed them and added them here.
"""

_MODELS = """
    engine.functional Functional
    engine.sequential Sequential
    engine.training Model
"""

_LAYERS = """
    applications.convnext LayerScale StochasticDepth
    applications.inception_resnet_v2 CustomScaleLayer
    engine.base_layer AddLoss AddMetric Layer
    engine.input_layer InputLayer
    engine.input_spec InputSpec
    layers.activation.elu ELU
    layers.activation.leaky_relu LeakyReLU
    layers.activation.prelu PReLU
    layers.activation.relu ReLU
    layers.activation.softmax Softmax
    layers.activation.thresholded_relu ThresholdedReLU
    layers.attention.additive_attention AdditiveAttention
    layers.attention.attention Attention
    layers.attention.multi_head_attention MultiHeadAttention
    layers.convolutional.conv1d Conv1D
    layers.convolutional.conv1d_transpose Conv1DTranspose
    layers.convolutional.conv2d Conv2D
    layers.convolutional.conv2d_transpose Conv2DTranspose
    layers.convolutional.conv3d Conv3D
    layers.convolutional.conv3d_transpose Conv3DTranspose
    layers.convolutional.depthwise_conv1d DepthwiseConv1D
    layers.convolutional.depthwise_conv2d DepthwiseConv2D
    layers.convolutional.separable_conv1d SeparableConv1D
    layers.convolutional.separable_conv2d SeparableConv2D
    layers.core.activation Activation
    layers.core.dense Dense
    layers.core.einsum_dense EinsumDense
    layers.core.embedding Embedding
    layers.core.identity Identity
    layers.core.masking Masking
    layers.core.tf_op_layer SlicingOpLambda TFOpLambda
    layers.kernelized RandomFourierFeatures
    layers.locally_connected.locally_connected1d LocallyConnected1D
    layers.locally_connected.locally_connected2d LocallyConnected2D
    layers.merging.add Add
    layers.merging.average Average
    layers.merging.concatenate Concatenate
    layers.merging.dot Dot
    layers.merging.maximum Maximum
    layers.merging.minimum Minimum
    layers.merging.multiply Multiply
    layers.merging.subtract Subtract
    layers.normalization.batch_normalization BatchNormalization SyncBatchNormalization
    layers.normalization.batch_normalization_v1 BatchNormalization
    layers.normalization.group_normalization GroupNormalization
    layers.normalization.layer_normalization LayerNormalization
    layers.normalization.spectral_normalization SpectralNormalization
    layers.normalization.unit_normalization UnitNormalization
    layers.pooling.average_pooling1d AveragePooling1D
    layers.pooling.average_pooling2d AveragePooling2D
    layers.pooling.average_pooling3d AveragePooling3D
    layers.pooling.global_average_pooling1d GlobalAveragePooling1D
    layers.pooling.global_average_pooling2d GlobalAveragePooling2D
    layers.pooling.global_average_pooling3d GlobalAveragePooling3D
    layers.pooling.global_max_pooling1d GlobalMaxPooling1D
    layers.pooling.global_max_pooling2d GlobalMaxPooling2D
    layers.pooling.global_max_pooling3d GlobalMaxPooling3D
    layers.pooling.max_pooling1d MaxPooling1D
    layers.pooling.max_pooling2d MaxPooling2D
    layers.pooling.max_pooling3d MaxPooling3D
    layers.preprocessing.category_encoding CategoryEncoding
    layers.preprocessing.discretization Discretization
    layers.preprocessing.hashed_crossing HashedCrossing
    layers.preprocessing.hashing Hashing
    layers.preprocessing.image_preprocessing CenterCrop RandomBrightness RandomContrast RandomCrop RandomFlip RandomHeight
    layers.preprocessing.image_preprocessing RandomRotation RandomTranslation RandomWidth RandomZoom Rescaling Resizing
    layers.preprocessing.normalization Normalization
    layers.regularization.activity_regularization ActivityRegularization
    layers.regularization.alpha_dropout AlphaDropout
    layers.regularization.dropout Dropout
    layers.regularization.gaussian_dropout GaussianDropout
    layers.regularization.gaussian_noise GaussianNoise
    layers.regularization.spatial_dropout1d SpatialDropout1D
    layers.regularization.spatial_dropout2d SpatialDropout2D
    layers.regularization.spatial_dropout3d SpatialDropout3D
    layers.reshaping.cropping1d Cropping1D
    layers.reshaping.cropping2d Cropping2D
    layers.reshaping.cropping3d Cropping3D
    layers.reshaping.flatten Flatten
    layers.reshaping.permute Permute
    layers.reshaping.repeat_vector RepeatVector
    layers.reshaping.reshape Reshape
    layers.reshaping.up_sampling1d UpSampling1D
    layers.reshaping.up_sampling2d UpSampling2D
    layers.reshaping.up_sampling3d UpSampling3D
    layers.reshaping.zero_padding1d ZeroPadding1D
    layers.reshaping.zero_padding2d ZeroPadding2D
    layers.reshaping.zero_padding3d ZeroPadding3D
    layers.rnn.base_conv_lstm ConvLSTMCell
    layers.rnn.base_rnn RNN
    layers.rnn.bidirectional Bidirectional
    layers.rnn.conv_lstm1d ConvLSTM1D
    layers.rnn.conv_lstm2d ConvLSTM2D
    layers.rnn.conv_lstm3d ConvLSTM3D
    layers.rnn.cudnn_gru CuDNNGRU
    layers.rnn.cudnn_lstm CuDNNLSTM
    layers.rnn.gru GRU GRUCell
    layers.rnn.gru_v1 GRU GRUCell
    layers.rnn.lstm LSTM LSTMCell
    layers.rnn.lstm_v1 LSTM LSTMCell
    layers.rnn.simple_rnn SimpleRNN SimpleRNNCell
    layers.rnn.stacked_rnn_cells StackedRNNCells
    layers.rnn.time_distributed TimeDistributed
"""

_PARTS = """
    constraints MaxNorm MinMaxNorm NonNeg RadialConstraint UnitNorm
    initializers.initializers Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity LecunNormal LecunUniform Ones
    initializers.initializers Orthogonal RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros
    losses BinaryCrossentropy BinaryFocalCrossentropy CategoricalCrossentropy CategoricalFocalCrossentropy CategoricalHinge
    losses CosineSimilarity Hinge Huber KLDivergence LogCosh LossFunctionWrapper MeanAbsoluteError MeanAbsolutePercentageError
    losses MeanSquaredError MeanSquaredLogarithmicError Poisson SparseCategoricalCrossentropy SquaredHinge
    metrics.accuracy_metrics Accuracy BinaryAccuracy CategoricalAccuracy SparseCategoricalAccuracy SparseTopKCategoricalAccuracy
    metrics.accuracy_metrics TopKCategoricalAccuracy
    metrics.base_metric Mean MeanMetricWrapper MeanTensor Reduce Sum SumOverBatchSize SumOverBatchSizeMetricWrapper
    metrics.confusion_metrics AUC FalseNegatives FalsePositives Precision PrecisionAtRecall Recall RecallAtPrecision
    metrics.confusion_metrics SensitivityAtSpecificity SpecificityAtSensitivity TrueNegatives TruePositives
    metrics.f_score_metrics F1Score FBetaScore
    metrics.hinge_metrics CategoricalHinge Hinge SquaredHinge
    metrics.iou_metrics BinaryIoU IoU MeanIoU OneHotIoU OneHotMeanIoU
    metrics.probabilistic_metrics BinaryCrossentropy CategoricalCrossentropy KLDivergence Poisson SparseCategoricalCrossentropy
    metrics.regression_metrics CosineSimilarity LogCoshError MeanAbsoluteError MeanAbsolutePercentageError MeanRelativeError
    metrics.regression_metrics MeanSquaredError MeanSquaredLogarithmicError R2Score RootMeanSquaredError
    mixed_precision.loss_scale_optimizer BaseLossScaleOptimizer LossScaleOptimizer LossScaleOptimizerV3
    mixed_precision.policy Policy
    regularizers L1 L1L2 L2 OrthogonalRegularizer
"""
"""Initializers, regularizers, constraints, losses, metrics, policies."""

_OPTIMIZERS = """
    optimizers.adadelta Adadelta
    optimizers.adafactor Adafactor
    optimizers.adagrad Adagrad
    optimizers.adam Adam
    optimizers.adamax Adamax
    optimizers.adamw AdamW
    optimizers.ftrl Ftrl
    optimizers.legacy.adadelta Adadelta
    optimizers.legacy.adagrad Adagrad
    optimizers.legacy.adam Adam
    optimizers.legacy.adamax Adamax
    optimizers.legacy.ftrl Ftrl
    optimizers.legacy.gradient_descent SGD
    optimizers.legacy.nadam Nadam
    optimizers.legacy.rmsprop RMSprop
    optimizers.lion Lion
    optimizers.nadam Nadam
    optimizers.rmsprop RMSprop
    optimizers.schedules.learning_rate_schedule CosineDecay CosineDecayRestarts ExponentialDecay InverseTimeDecay
    optimizers.schedules.learning_rate_schedule LinearCosineDecay NoisyLinearCosineDecay PiecewiseConstantDecay PolynomialDecay
    optimizers.sgd SGD
"""
"""Compiled nested models include their optimizer, with learning rate schedules."""

_FUNCTIONS = """
    activations elu exponential gelu hard_sigmoid linear mish relu selu sigmoid softmax softplus softsign swish tanh
    losses binary_crossentropy binary_focal_crossentropy categorical_crossentropy categorical_focal_crossentropy
    losses categorical_hinge cosine_similarity hinge huber kl_divergence log_cosh mean_absolute_error
    losses mean_absolute_percentage_error mean_squared_error mean_squared_logarithmic_error poisson
    losses sparse_categorical_crossentropy squared_hinge
    metrics.accuracy_metrics accuracy binary_accuracy categorical_accuracy sparse_categorical_accuracy
    metrics.accuracy_metrics sparse_top_k_categorical_accuracy top_k_categorical_accuracy
    metrics.regression_metrics cosine_similarity
    regularizers l1_l2
"""

_OTHERS = """
    larq.quantizers approx_sign ste_heaviside ste_sign ste_tern swish_sign
    tensorflow.python.ops.nn_impl swish
    tensorflow.python.ops.nn_ops leaky_relu log_softmax_v2 relu6
"""
"""Functions outside tf-keras that Keras and Larq look up. Larq's classes are in Keras' registry."""

_REFUSED = {
    "is code": """
    layers.core.lambda_layer Lambda
    """,
    "runs code that the file contains": """
    layers.rnn.cell_wrappers DeviceWrapper DropoutWrapper ResidualWrapper _RNNCellWrapper
    """,
    "is any operator of TensorFlow": """
    engine.base_layer TensorFlowOpLayer
    """,
    "calls any method of TensorFlow": """
    layers.core.tf_op_layer ClassMethod
    """,
    "calls any method": """
    layers.core.tf_op_layer InstanceMethod
    """,
    "reads any attribute": """
    layers.core.tf_op_layer InstanceProperty
    """,
    "may read files that it names": """
    feature_column.base_feature_layer _BaseFeaturesLayer
    feature_column.dense_features DenseFeatures
    feature_column.dense_features_v2 DenseFeatures
    feature_column.sequence_feature_column SequenceFeatures
    layers.experimental.dynamic_embedding DynamicEmbedding
    layers.experimental.dynamic_lookup DynamicLookup
    layers.preprocessing.index_lookup IndexLookup
    layers.preprocessing.integer_lookup IntegerLookup
    layers.preprocessing.string_lookup StringLookup
    layers.preprocessing.text_vectorization TextVectorization
    utils.feature_space FeatureSpace
    """,
    "loads another model that it names": """
    export.export_lib ReloadedLayer
    """,
    "is an experimental model": """
    models.sharpness_aware_minimization SharpnessAwareMinimization
    premade_models.linear LinearModel
    premade_models.wide_deep WideDeepModel
    """,
    "is only a base class": """
    constraints Constraint
    engine.base_layer BaseRandomLayer
    engine.base_preprocessing_layer PreprocessingLayer
    initializers.initializers Initializer
    layers.attention.base_dense_attention BaseDenseAttention
    layers.normalization.batch_normalization BatchNormalizationBase
    layers.rnn.abstract_rnn_cell AbstractRNNCell
    layers.rnn.base_wrapper Wrapper
    losses Loss
    metrics.base_metric Metric
    metrics.py_metric PyMetric
    optimizers.legacy.optimizer_v2 OptimizerV2
    optimizers.optimizer Optimizer
    optimizers.schedules.learning_rate_schedule LearningRateSchedule
    regularizers Regularizer
    """,
    "is of TensorFlow 1": """
    initializers.initializers_v1 HeNormal HeUniform LecunNormal LecunUniform RandomNormal RandomUniform TruncatedNormal
    """,
    "is a tool and not part of a model": """
    callbacks BackupAndRestore BackupAndRestoreExperimental BaseLogger CSVLogger Callback CallbackList EarlyStopping History
    callbacks LambdaCallback LearningRateScheduler ModelCheckpoint ProgbarLogger ReduceLROnPlateau RemoteMonitor TensorBoard
    callbacks TerminateOnNaN UpdateEmbeddingCallback
    dtensor.layout_map LayoutMap
    engine.keras_tensor KerasTensor RaggedKerasTensor SparseKerasTensor
    export.export_lib ExportArchive
    preprocessing.image DirectoryIterator ImageDataGenerator Iterator NumpyArrayIterator
    preprocessing.sequence TimeseriesGenerator
    preprocessing.text Tokenizer
    saving.object_registration CustomObjectScope
    utils.data_utils GeneratorEnqueuer OrderedEnqueuer Sequence SequenceEnqueuer
    utils.dataset_creator DatasetCreator
    utils.generic_utils Progbar
    utils.losses_utils ReductionV2
    utils.sidecar_evaluator SidecarEvaluator SidecarEvaluatorExperimental SidecarEvaluatorModelExport
    utils.steps_per_execution_tuning StepsPerExecutionTuner
    utils.timed_threads TimedThread
    """,
}
"""Reasons for rejection and the classes they apply to: all public ones, and others for which the reason is helpful."""


def _names(lines: str, root: str = "tf_keras.src.") -> frozenset[str]:
    """The full names in lines that list a module and names it defines."""
    rows = (line.split() for line in lines.strip().splitlines())
    return frozenset(f"{root}{module}.{name}" for module, *names in rows for name in names)


MODELS = _names(_MODELS)
"""Allowed classes of the outermost object of a file, in addition to registered subclasses of Model."""

ALLOWED = MODELS | _names(_LAYERS) | _names(_PARTS) | _names(_OPTIMIZERS) | _names(_FUNCTIONS) | _names(_OTHERS, "")

REFUSED = {name: reason for reason, lines in _REFUSED.items() for name in _names(lines)}
"""Maps full names to reasons, worded to complete a message: "contains a Lambda layer, which is code"."""
