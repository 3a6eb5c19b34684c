"""Something between the linear map and batch normalization: cases 10 to 15, 28 and 30."""

import numpy

from folding.cases import FOLD, REFUSE, case


def matmul(graph, rows=4, columns=6):
    """[N, rows, 5] times [5, columns]."""
    x = graph.input(rows, 5)
    return graph.node("MatMul", [x, graph.constant(graph.weight_values(5, columns, fan_in=5))])


@case(10, FOLD)
def matmul_transpose(graph):
    """[N,L,C] to [N,C,L]: columns are channels. The weight is scaled, t is added."""
    y = graph.node("Transpose", [matmul(graph)], perm=[0, 2, 1])
    graph.output(graph.batch_norm(y, 6))


@case(10, FOLD)
def matmul_reshape_transpose(graph):
    """[N,L,C] to [N,H,W,C] to [N,C,H,W]: the last axis is whole in the reshape, so columns are channels."""
    y = graph.node("Reshape", [matmul(graph), graph.constant(numpy.array([0, 2, 2, 6]))])
    y = graph.node("Transpose", [y], perm=[0, 3, 1, 2])
    graph.output(graph.batch_norm(y, 6))


def rows_reshape_transpose(graph, shape, perm):
    """A product of [24,5] and [5,6], seen as images."""
    x = graph.input(24, 5, batch=None)
    y = graph.node("MatMul", [x, graph.constant(graph.weight_values(5, 6, fan_in=5))])
    y = graph.node("Reshape", [y, graph.constant(numpy.array(shape))])
    graph.output(graph.batch_norm(graph.node("Transpose", [y], perm=perm), 6))


@case(10, FOLD)
def matmul_of_rows_reshape_transpose(graph):
    """[N H W,C] to [N,H,W,C] to [N,C,H,W]: columns are channels."""
    rows_reshape_transpose(graph, [2, 4, 3, 6], [0, 3, 1, 2])


@case(10, REFUSE)
def matmul_of_rows_reshape_transpose_rows(graph):
    """[N H W,C] to [N,H,W,C] to [N,H,C,W]: axis 1 is rows, and H = C."""
    rows_reshape_transpose(graph, [2, 6, 2, 6], [0, 1, 3, 2])


@case(10, REFUSE)
def matmul_transpose_of_other_axes(graph):
    """[N,L,C] to [L,N,C] to [L,C,N], whose axis 1 is C, then [C,L,N]: axis 1 is L in the end, and L = C."""
    y = graph.node("Transpose", [matmul(graph, rows=6)], perm=[1, 2, 0])
    y = graph.node("Transpose", [y], perm=[1, 0, 2])
    graph.output(graph.batch_norm(y, 6))


@case(10, REFUSE)
def matmul_reshape_that_mixes(graph):
    """[N,4,6] to [N,6,4] by Reshape: a column does not stay in one channel."""
    y = graph.node("Reshape", [matmul(graph), graph.constant(numpy.array([0, 6, 4]))])
    graph.output(graph.batch_norm(y, 6))


@case(10, REFUSE)
def matmul_reshape_that_splits_columns(graph):
    """[N,4,6] to [N,2,2,6] by Reshape without Transpose: axis 1 is rows."""
    y = graph.node("Reshape", [matmul(graph), graph.constant(numpy.array([0, 2, 2, 6]))])
    graph.output(graph.batch_norm(y, 2))


def conv_add(graph, *shape, first=False):
    y = graph.conv(graph.input(4, 7, 7), 4, 6)
    addend = graph.constant(graph.normal(*shape))
    graph.output(graph.batch_norm(graph.node("Add", [addend, y] if first else [y, addend]), 6))


@case(11, FOLD)
def conv_add_per_channel(graph):
    """s (y + k) + t = s y + (s k + t)."""
    conv_add(graph, 1, 6, 1, 1)


@case(11, FOLD)
def conv_add_per_channel_rank_3(graph):
    """As before; the constant comes first, and its axis 0 is the channel."""
    conv_add(graph, 6, 1, 1, first=True)


@case(11, FOLD)
def conv_add_scalar(graph):
    """One number becomes one for each channel."""
    conv_add(graph)


@case(11, FOLD)
def conv_add_per_place(graph):
    """k [H,W] becomes s k + t [C,H,W]."""
    conv_add(graph, 5, 5)


@case(11, FOLD)
def conv_add_full(graph):
    """k [1,C,H,W] becomes s k + t."""
    conv_add(graph, 1, 6, 5, 5)


@case(11, REFUSE)
def conv_add_runtime(graph):
    """The addend is another map of the input: it would have to be scaled as well."""
    x = graph.input(6, 5, 5)
    y = graph.node("Add", [graph.conv(x, 6, 6, pads=[1] * 4), x])
    graph.output(graph.batch_norm(y, 6))


@case(12, REFUSE)
def conv_relu_batch_norm(graph):
    """ReLU is not linear, and no linear map follows."""
    y = graph.node("Relu", [graph.conv(graph.input(4, 7, 7), 4, 6, bias=True)])
    graph.output(graph.batch_norm(y, 6))


@case(12, FOLD)
def conv_relu_batch_norm_conv(graph):
    """Not backwards through ReLU, but forwards into the convolution without padding."""
    y = graph.node("Relu", [graph.conv(graph.input(4, 9, 9), 4, 6, bias=True)])
    graph.output(graph.conv(graph.batch_norm(y, 6), 6, 5))


def conv_pool(graph, op="AveragePool", size=8, outputs=1, signs=(1, -1), gamma=None, **attributes):
    y = graph.conv(graph.input(4, size, size), 4, 6, bias=True)
    y = graph.node(op, [y], outputs, kernel_shape=[2, 2], strides=[2, 2], **attributes)
    pooled, *others = y if outputs > 1 else [y]
    gamma = graph.gamma_values(6, signs) if gamma is None else gamma
    graph.output(graph.batch_norm(pooled, 6, gamma=gamma))
    return others


@case(13, FOLD)
def conv_average_pool(graph):
    """A mean of values whose weights sum to one."""
    conv_pool(graph)


@case(13, FOLD)
def conv_average_pool_padded(graph):
    """count_include_pad = 0: only what is there is averaged."""
    conv_pool(graph, pads=[1, 1, 1, 1], count_include_pad=0)


@case(13, REFUSE)
def conv_average_pool_padded_counted(graph):
    """count_include_pad = 1 averages zeros in, so that t does not come through at the border."""
    conv_pool(graph, pads=[1, 1, 1, 1], count_include_pad=1)


@case(13, FOLD)
def conv_average_pool_same_upper(graph):
    """Padding by auto_pad is not counted either by default."""
    conv_pool(graph, size=9, auto_pad="SAME_UPPER")


@case(13, FOLD)
def conv_average_pool_ceil(graph):
    """ceil_mode = 1 with count_include_pad = 0: the last window has fewer values, all of them there."""
    conv_pool(graph, size=9, ceil_mode=1)


@case(13, REFUSE)
def conv_average_pool_ceil_counted(graph):
    """ceil_mode = 1 with count_include_pad = 1: what runtimes count beyond the border differs."""
    conv_pool(graph, size=9, ceil_mode=1, count_include_pad=1)


@case(13, FOLD)
def conv_max_pool_positive(graph):
    """All s >= 0: the largest stays the largest."""
    conv_pool(graph, "MaxPool", signs=[1])


@case(13, FOLD)
def conv_max_pool_padded_positive(graph):
    """Padding never wins."""
    conv_pool(graph, "MaxPool", signs=[1], pads=[1, 1, 1, 1])


@case(13, FOLD)
def conv_max_pool_gamma_zero(graph):
    """s = 0 makes a channel constant: its largest is that constant."""
    conv_pool(graph, "MaxPool", gamma=graph.gamma_values(6, [1]) * [1, 0, 1, 1, 1, 1])


@case(13, REFUSE)
def conv_max_pool_both_signs(graph):
    """s < 0 makes the largest the smallest."""
    conv_pool(graph, "MaxPool")


@case(13, FOLD)
def conv_max_pool_indices_positive(graph):
    """All s > 0: the place of the largest stays."""
    others = conv_pool(graph, "MaxPool", outputs=2, signs=[1])
    graph.output(*others, element=7)


@case(13, REFUSE)
def conv_max_pool_indices_gamma_zero(graph):
    """s = 0 makes all values equal, and the indices, which are an output, would change."""
    others = conv_pool(graph, "MaxPool", outputs=2, gamma=graph.gamma_values(6, [1]) * [1, 1, 0, 1, 1, 1])
    graph.output(*others, element=7)


def conv_flatten(graph, repeated):
    y = graph.node("Flatten", [graph.conv(graph.input(4, 5, 5), 4, 6)])
    values = {}
    if repeated:
        values = dict(gamma=graph.gamma_values(6), beta=graph.normal(6), mean=graph.normal(6),
                      variance=graph.variance_values(6))
        values = {name: numpy.repeat(of_channel, 9) for name, of_channel in values.items()}
    graph.output(graph.batch_norm(y, 54, **values))


@case(14, REFUSE)
def conv_flatten_batch_norm(graph):
    """Parameters for each of C H W places: no weight of a convolution can hold them."""
    conv_flatten(graph, repeated=False)


@case(14, FOLD)
def conv_flatten_batch_norm_constant_per_channel(graph):
    """As before, but all H W values of a channel are equal."""
    conv_flatten(graph, repeated=True)


@case(15, FOLD)
def gemm_reshape(graph):
    """[N,48] to [N,3,4,4]: 16 columns have the same channel."""
    x = graph.input(5)
    weight = graph.constant(graph.weight_values(48, 5, fan_in=5))
    y = graph.node("Gemm", [x, weight, graph.constant(graph.normal(48))], transB=1)
    y = graph.node("Reshape", [y, graph.constant(numpy.array([-1, 3, 4, 4]))])
    graph.output(graph.batch_norm(y, 3))


@case(15, FOLD)
def gemm_no_bias_reshape_0(graph):
    """0 in the shape keeps the batch."""
    x = graph.input(5)
    y = graph.node("Gemm", [x, graph.constant(graph.weight_values(5, 24, fan_in=5))], alpha=2.0)
    y = graph.node("Reshape", [y, graph.constant(numpy.array([0, 6, 2, -1]))])
    graph.output(graph.batch_norm(y, 6))


@case(28, FOLD)
def conv_identity(graph):
    """Identity passes through."""
    y = graph.node("Identity", [graph.conv(graph.input(4, 7, 7), 4, 6)])
    graph.output(graph.batch_norm(y, 6))


@case(28, FOLD)
def conv_dropout(graph):
    """Dropout without training_mode is inference."""
    y = graph.node("Dropout", [graph.conv(graph.input(4, 7, 7), 4, 6)])
    graph.output(graph.batch_norm(y, 6))


@case(28, FOLD)
def conv_dropout_training_mode_false(graph):
    """training_mode is a constant false."""
    ratio, training = graph.constant(numpy.float32(0.3)), graph.constant(numpy.array(False))
    y = graph.node("Dropout", [graph.conv(graph.input(4, 7, 7), 4, 6), ratio, training])
    graph.output(graph.batch_norm(y, 6))


@case(28, FOLD, opset=9)
def conv_dropout_opset_9(graph):
    """ratio is an attribute and has no meaning in inference."""
    y = graph.node("Dropout", [graph.conv(graph.input(4, 7, 7), 4, 6)], ratio=0.3)
    graph.output(graph.batch_norm(y, 6))


@case(28, REFUSE, oracle="reference")
def conv_dropout_training(graph):
    """training_mode is true: values are dropped at random, and dropped ones would not get t."""
    ratio, training = graph.constant(numpy.float32(0.3)), graph.constant(numpy.array(True))
    y = graph.node("Dropout", [graph.conv(graph.input(4, 7, 7), 4, 6), ratio, training], seed=5)
    graph.output(graph.batch_norm(y, 6))


@case(30, FOLD)
def conv_global_average_pool(graph):
    """A mean of values whose weights sum to one."""
    y = graph.node("GlobalAveragePool", [graph.conv(graph.input(4, 7, 7), 4, 6)])
    graph.output(graph.batch_norm(y, 6))


@case(30, FOLD)
def conv_global_average_pool_flatten(graph):
    """As before, and [N,C,1,1] to [N,C] moves no channel."""
    y = graph.node("GlobalAveragePool", [graph.conv(graph.input(4, 7, 7), 4, 6, bias=True)])
    graph.output(graph.batch_norm(graph.node("Flatten", [y]), 6))
