"""Checks which TensorFlow operators the graphs in a SavedModel call.

A graph is a program. Operators that compute on tensors and variables are listed here; anything else (files, the network, Python,
other processes, data sets, tables read from files) is rejected before the graph is loaded. Operators that save and restore
variables are allowed only in functions that only the saver's nodes call; loading does not run these.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from el_larq.errors import ElLarqError

TRUST = "or load it with --trust, which lets the graph do so with your rights"

_MATHEMATICS = """
    Abs Acos Acosh Add AddN AddV2 AdjustContrast AdjustContrastv2 AdjustHue AdjustSaturation All Angle Any ApproximateEqual
    ArgMax ArgMin AsString Asin Asinh Atan Atan2 Atanh AvgPool AvgPool3D BatchMatMul BatchMatMulV2 BatchMatMulV3
    BatchNormWithGlobalNormalization BatchToSpace BatchToSpaceND Betainc BiasAdd BiasAddV1 Bincount Bitcast BitwiseAnd BitwiseOr
    BitwiseXor BroadcastArgs BroadcastTo Bucketize Cast Ceil Cholesky
    ClipByValue CombinedNonMaxSuppression Complex ComplexAbs Concat
    ConcatOffset ConcatV2 Conj ConjugateTranspose Const ControlTrigger Conv Conv2D Conv2DBackpropFilter Conv2DBackpropInput
    Conv3D Conv3DBackpropFilterV2 Conv3DBackpropInputV2 Cos Cosh CropAndResize Cross Cumprod Cumsum CumulativeLogsumexp
    DataFormatDimMap DataFormatVecPermute DeepCopy DenseBincount DepthToSpace DepthwiseConv2dNative
    DepthwiseConv2dNativeBackpropFilter DepthwiseConv2dNativeBackpropInput Dequantize Diag DiagPart Digamma Dilation2D
    Div DivNoNan DynamicPartition DynamicStitch Einsum Elu Empty EnsureShape Enter Equal Erf Erfc Erfinv EuclideanNorm Exit Exp
    ExpandDims Expm1 ExtractImagePatches ExtractVolumePatches FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars
    FakeQuantWithMinMaxVarsPerChannel FFT FFT2D Fill Floor FloorDiv FloorMod FractionalAvgPool FractionalMaxPool FusedBatchNorm
    FusedBatchNormV2 FusedBatchNormV3 Gather GatherNd GatherV2 Greater GreaterEqual GuaranteeConst HSVToRGB HistogramFixedWidth
    IFFT IFFT2D IRFFT IRFFT2D Identity IdentityN Igamma Igammac Imag ImageProjectiveTransformV2 ImageProjectiveTransformV3 InTopK
    InTopKV2 Inv Invert InvertPermutation IsFinite IsInf IsNan L2Loss LRN LeakyRelu
    LeftShift Less LessEqual Lgamma LinSpace ListDiff
    Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr LoopCond LowerBound MatMul Max MaxPool MaxPool3D MaxPoolV2
    MaxPoolWithArgmax Maximum Mean Merge Min Minimum MirrorPad Mod Mul MulNoNan Neg NextAfter NextIteration NoOp
    NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5 NotEqual NthElement OneHot
    OnesLike Pack Pad PadV2 ParallelConcat ParallelDynamicStitch Placeholder PlaceholderV2 PlaceholderWithDefault Polygamma
    PopulationCount Pow PreventGradient Prod Qr QuantizeAndDequantize QuantizeAndDequantizeV2 QuantizeAndDequantizeV3
    QuantizeAndDequantizeV4 QuantizeV2 RFFT RFFT2D RGBToHSV Range Rank Real RealDiv Reciprocal Relu Relu6 Reshape ResizeArea
    ResizeBicubic ResizeBilinear ResizeNearestNeighbor Reverse ReverseSequence ReverseV2 RightShift Rint Roll Round Rsqrt
    ScaleAndTranslate ScatterNd SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum Select SelectV2 Selu Shape ShapeN Sigmoid
    Sign Sin Sinh Size Slice Snapshot Softmax SoftmaxCrossEntropyWithLogits Softplus Softsign SpaceToBatch SpaceToBatchND
    SpaceToDepth SparseMatMul SparseSoftmaxCrossEntropyWithLogits SparseTensorDenseMatMul Split SplitV Sqrt Square
    SquaredDifference Squeeze
    StaticRegexFullMatch
    StopGradient StridedSlice StringFormat StringJoin Sub Sum Switch Tan Tanh TensorScatterAdd TensorScatterMax TensorScatterMin
    TensorScatterSub TensorScatterUpdate Tile TopK TopKV2 Transpose TruncateDiv TruncateMod Unique UniqueV2
    UniqueWithCounts UniqueWithCountsV2 Unpack UnravelIndex UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd
    UnsortedSegmentSum UpperBound Where Xdivy Xlog1py Xlogy ZerosLike Zeta
"""

_STATE = """
    Assert AssignAddVariableOp AssignSubVariableOp AssignVariableOp Case CheckNumerics CheckNumericsV2 DestroyResourceOp
    DisableCopyOnRead FakeParam For If PartitionedCall ReadVariableOp ResourceGather ResourceGatherNd
    ResourceScatterAdd ResourceScatterUpdate RngReadAndSkip RngSkip ShapeN StatefulPartitionedCall StatelessCase StatelessIf
    StatelessWhile SymbolicGradient VarHandleOp VarIsInitializedOp VariableShape While
    Multinomial RandomGamma RandomPoissonV2 RandomShuffle RandomStandardNormal RandomUniform RandomUniformInt TruncatedNormal
"""
"""Variables, calls of other functions of the same file, and random numbers."""

_FAMILIES = re.compile(
    r"\w+Grad(V\d|Input|Filter|WithArgmax|Grad\w*)?|ResourceApply\w+|ResourceSparseApply\w+|TensorList\w+|TensorArray\w*"
    r"|Stateless(Random|TruncatedNormal|Multinomial|Parameterized|Sample|Shuffle)\w*|Stateful(Standard|Truncated|Uniform)\w*"
    r"|EmptyTensorList\w*|CudnnRNN\w*|Matrix\w+|Quantized(Conv2D|MatMul|Relu|BiasAdd|AvgPool|MaxPool)\w*"
)
"""Gradients, optimizers, lists of tensors, stateless and generator-based random numbers, recurrent layers, matrices,
quantized operators."""

_ALLOWED = frozenset((*_MATHEMATICS.split(), *_STATE.split()))

SAVER = frozenset({"SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename"})


def is_harmless(operator: str) -> bool:
    return operator in _ALLOWED or _FAMILIES.fullmatch(operator) is not None


def check_graphs(content: bytes, source: str, limit: int) -> None:
    """Reject a saved_model.pb whose graphs contain operators not listed above, or constants of more than ``limit`` bytes.

    Raises:
        ElLarqError: one line with ``source`` and the operator, or saying that the file is damaged.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    saved: Any = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString(content)
    except DecodeError as error:
        raise ElLarqError(f"{source}: a damaged or truncated model file (saved_model.pb); save the model again") from error
    if len(saved.meta_graphs) != 1:
        raise ElLarqError(f"{source}: saved_model.pb contains {len(saved.meta_graphs)} graphs instead of one; save the model again")
    graph = saved.meta_graphs[0]
    functions = {function.signature.name: function for function in graph.graph_def.library.function}
    if len(functions) != len(graph.graph_def.library.function):
        raise ElLarqError(f"{source}: a damaged or truncated model file (two functions with the same name); save the model again")
    saver = _saver_functions(graph, functions, source)
    names = set(functions)
    _check_nodes(graph.graph_def.node, source, names)
    for name, function in functions.items():
        _check_nodes(function.node_def, source, names, SAVER if name in saver else frozenset())
    _check_constants(graph, functions.values(), source, limit)


def _check_nodes(nodes: Iterable[Any], source: str, functions: set[str], more: frozenset[str] = frozenset()) -> None:
    for node in nodes:
        # A function can be called by name, like an operator.
        if not (is_harmless(node.op) or node.op in more or node.op in functions):
            raise ElLarqError(
                f"{source}: its graph calls the operator {node.op}, which is not one of the permitted operators; "
                f"build the model from Keras layers, {TRUST}"
            )


def _saver_functions(graph: Any, functions: dict[str, Any], source: str) -> set[str]:
    """The functions that save and restore variables; raises ElLarqError if anything but the saver calls them."""
    nodes = {graph.saver_def.save_tensor_name.split(":")[0], graph.saver_def.restore_op_name.split(":")[0]}
    saver = {name for node in graph.graph_def.node if node.name in nodes for name in _called(node)} & set(functions)
    others = (node for node in graph.graph_def.node if node.name not in nodes)
    called = {name for node in others for name in _called(node)}
    called.update(name for function in functions.values() for node in function.node_def for name in _called(node))
    called.update(graph.object_graph_def.concrete_functions)
    for node in graph.object_graph_def.nodes:
        called.update(node.function.concrete_functions)
        called.add(node.bare_concrete_function.concrete_function_name)
    if saver & called:
        raise ElLarqError(f"{source}: its graph calls the function that saves variables to files; save the model again, {TRUST}")
    return saver


def _called(node: Any) -> Iterator[str]:
    """The functions that a node names: as its operator, or in attributes, which may be nested."""
    yield node.op
    values = list(node.attr.values())
    while values:
        value = values.pop()
        for function in (*([value.func] if value.HasField("func") else []), *value.list.func):
            yield function.name
            values.extend(function.attr.values())


def _check_constants(graph: Any, functions: Iterable[Any], source: str, limit: int) -> None:
    """Reject constants whose shapes take more than ``limit`` bytes in total: a few bytes can declare a shape of gigabytes."""
    total = 0
    for nodes in (graph.graph_def.node, *(function.node_def for function in functions)):
        for node in nodes:
            for value in node.attr.values():
                if value.HasField("tensor"):
                    count = 1
                    for size in value.tensor.tensor_shape.dim:
                        count *= max(1, size.size)
                    total += 4 * count
    if total > limit:
        raise ElLarqError(
            f"{source}: its constants declare {total:,} bytes, more than its size allows; save the model again, {TRUST}"
        )
