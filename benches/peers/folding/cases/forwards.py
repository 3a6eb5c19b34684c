"""Batch normalization before a linear map: cases 16 to 19."""

from folding.cases import FOLD, REFUSE, case

EXACT = {"what": "an exact map of biases", "batch_norms_after": 0}


def batch_norm_conv(graph, size=8, channels=6, out=5, kernel=(3, 3), values=None, **attributes):
    x = graph.input(channels, size, size)
    graph.output(graph.conv(graph.batch_norm(x, channels, **(values or {})), channels, out, kernel, **attributes))


@case(16, FOLD)
def batch_norm_then_conv(graph):
    """Input channels of the weight are scaled by s; t times the weight, summed, is the bias."""
    batch_norm_conv(graph)


@case(16, FOLD)
def batch_norm_then_conv_bias(graph):
    """The bias is added to."""
    batch_norm_conv(graph, bias=True, strides=[2, 2], pads=[0, 0, 0, 0])


@case(16, FOLD)
def batch_norm_then_grouped_conv(graph):
    """Input channel j of group g is the channel g Cin/group + j."""
    batch_norm_conv(graph, out=4, group=2, bias=True)


@case(16, FOLD)
def batch_norm_then_depthwise_conv(graph):
    """The weight is [C, 1, kH, kW]."""
    batch_norm_conv(graph, out=6, group=6, auto_pad="VALID")


@case(16, REFUSE)
def batch_norm_then_conv_transpose(graph):
    """At the border fewer taps meet: what t adds there is less than inside."""
    batch_norm_conv(graph, transposed=True)


@case(17, REFUSE, on_request=EXACT)
def batch_norm_then_padded_conv(graph):
    """Zeros that pad come after batch normalization: t is not in them. H and W are static: a map of biases is exact."""
    batch_norm_conv(graph, pads=[1, 1, 1, 1])


@case(17, REFUSE, on_request=EXACT)
def batch_norm_then_conv_same_upper(graph):
    """As before: auto_pad pads, too."""
    batch_norm_conv(graph, auto_pad="SAME_UPPER", strides=[2, 2], bias=True)


@case(17, REFUSE)
def batch_norm_then_padded_conv_of_any_size(graph):
    """H and W are not known: there is no map of biases either."""
    batch_norm_conv(graph, size="S", pads=[1, 1, 1, 1])


@case(17, FOLD)
def batch_norm_then_padded_conv_no_shift(graph):
    """t = 0: beta and mean are zero, and zeros stay zeros."""
    batch_norm_conv(graph, pads=[1, 1, 1, 1], bias=True, values={"beta": [0.0] * 6, "mean": [0.0] * 6})


@case(17, FOLD)
def batch_norm_then_conv_same_upper_of_one(graph):
    """A kernel of one by one with stride 1: auto_pad pads nothing."""
    batch_norm_conv(graph, kernel=(1, 1), auto_pad="SAME_UPPER")


@case(18, FOLD)
def batch_norm_flatten_gemm(graph):
    """Sixteen rows of the weight have the same channel."""
    y = graph.node("Flatten", [graph.batch_norm(graph.input(6, 4, 4), 6)])
    weight = graph.constant(graph.weight_values(5, 96, fan_in=96))
    graph.output(graph.node("Gemm", [y, weight, graph.constant(graph.normal(5))], transB=1, alpha=0.5, beta=2.0))


@case(18, FOLD)
def batch_norm_flatten_matmul(graph):
    """MatMul has no place for a bias: it becomes Gemm."""
    y = graph.node("Flatten", [graph.batch_norm(graph.input(6, 2, 2), 6)])
    graph.output(graph.node("MatMul", [y, graph.constant(graph.weight_values(24, 5, fan_in=24))]))


@case(18, FOLD)
def batch_norm_gemm(graph):
    """Rows of the weight are channels; Gemm gets a C."""
    y = graph.batch_norm(graph.input(6), 6)
    graph.output(graph.node("Gemm", [y, graph.constant(graph.weight_values(6, 5, fan_in=6))]))


@case(19, REFUSE)
def batch_norm_relu_conv(graph):
    """ReLU is not linear."""
    y = graph.node("Relu", [graph.batch_norm(graph.input(6, 8, 8), 6)])
    graph.output(graph.conv(y, 6, 5))
