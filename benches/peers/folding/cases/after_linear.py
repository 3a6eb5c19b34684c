"""Batch normalization right after a linear map: cases 1 to 9."""

from folding.cases import FOLD, REFUSE, case


@case(1, FOLD)
def conv_no_bias(graph):
    """The convolution gets a bias."""
    x = graph.input(3, 9, 9)
    graph.output(graph.batch_norm(graph.conv(x, 3, 8, strides=[2, 2]), 8))


def plain(graph, **attributes):
    x = graph.input(4, 7, 7)
    graph.output(graph.batch_norm(graph.conv(x, 4, 6), 6, attributes=attributes))


@case(1, FOLD, opset=6, oracle="reference")
def conv_opset_6_is_test(graph):
    """Version 6 with is_test = 1 is inference."""
    plain(graph, is_test=1, spatial=1)


@case(1, FOLD, opset=7)
def conv_opset_7_spatial_1(graph):
    """spatial = 1 is one value per channel."""
    plain(graph, spatial=1)


@case(1, FOLD, opset=9)
def conv_opset_9(graph):
    """momentum has no meaning in inference."""
    plain(graph, momentum=0.7)


@case(1, FOLD, opset=14)
def conv_opset_14_training_mode_0(graph):
    """training_mode = 0 is inference."""
    plain(graph, training_mode=0)


@case(1, FOLD, opset=15)
def conv_opset_15(graph):
    """Version 15 separates types; here they are all f32."""
    plain(graph)


@case(1, REFUSE, opset=7)
def conv_opset_7_spatial_0(graph):
    """spatial = 0 has parameters for each place [C,H,W]: no weight of a convolution can hold them."""
    x = graph.input(4, 7, 7)
    shape = (6, 5, 5)
    y = graph.conv(x, 4, 6)
    values = {
        "gamma": graph.normal(*shape), "beta": graph.normal(*shape), "mean": graph.normal(*shape),
        "variance": graph.variance_values(shape),
    }
    graph.output(graph.batch_norm(y, 6, attributes={"spatial": 0}, **values))


@case(2, FOLD)
def conv_bias_dilation(graph):
    """beta + (b - mean) s is the new bias."""
    x = graph.input(4, 11, 11)
    graph.output(graph.batch_norm(graph.conv(x, 4, 6, bias=True, dilations=[2, 2]), 6))


@case(2, FOLD)
def conv_bias_same_upper(graph):
    """Padding of the input does not matter to what comes after the convolution."""
    x = graph.input(4, 8, 8)
    graph.output(graph.batch_norm(graph.conv(x, 4, 6, bias=True, auto_pad="SAME_UPPER", strides=[2, 2]), 6))


@case(2, FOLD)
def conv_asymmetric_pads(graph):
    """Padding of the input does not matter to what comes after the convolution."""
    x = graph.input(4, 8, 8)
    graph.output(graph.batch_norm(graph.conv(x, 4, 6, bias=True, pads=[0, 1, 2, 1]), 6))


@case(3, FOLD)
def depthwise_conv_1d(graph):
    """One filter for each channel."""
    x = graph.input(6, 12)
    graph.output(graph.batch_norm(graph.conv(x, 6, 6, (3,), group=6, pads=[1, 1]), 6))


@case(3, FOLD)
def depthwise_conv_multiplier_2(graph):
    """Axis 0 of the weight is the output channel, whatever the groups."""
    x = graph.input(4, 7, 7)
    graph.output(graph.batch_norm(graph.conv(x, 4, 8, group=4, bias=True), 8))


@case(3, FOLD)
def grouped_conv_2d(graph):
    """Axis 0 of the weight is the output channel, whatever the groups."""
    x = graph.input(6, 7, 7)
    graph.output(graph.batch_norm(graph.conv(x, 6, 4, group=2, bias=True), 4))


@case(3, FOLD)
def grouped_conv_3d(graph):
    """Axis 0 of the weight is the output channel, whatever the groups."""
    x = graph.input(4, 5, 6, 5)
    graph.output(graph.batch_norm(graph.conv(x, 4, 6, (3, 3, 3), group=2), 6))


@case(4, FOLD)
def conv_transpose(graph):
    """The weight is [Cin, Cout, kH, kW]: its output channels are axis 1."""
    x = graph.input(3, 6, 6)
    y = graph.conv(x, 3, 5, transposed=True, strides=[2, 2], output_padding=[1, 1])
    graph.output(graph.batch_norm(y, 5))


@case(4, FOLD)
def conv_transpose_square(graph):
    """Cin = Cout: scaling the wrong axis gives no error of shape."""
    x = graph.input(4, 6, 6)
    y = graph.conv(x, 4, 4, transposed=True, bias=True, strides=[2, 2], pads=[1, 0, 1, 0])
    graph.output(graph.batch_norm(y, 4))


@case(5, FOLD)
def grouped_conv_transpose(graph):
    """Column j of group g is the channel g Cout/group + j."""
    x = graph.input(4, 6, 6)
    graph.output(graph.batch_norm(graph.conv(x, 4, 6, group=2, transposed=True, bias=True), 6))


@case(5, FOLD)
def grouped_conv_transpose_no_bias(graph):
    """As before, and the ends of the output, which fewer taps reach, have the same bias."""
    x = graph.input(6, 5)
    y = graph.conv(x, 6, 4, (4,), group=2, transposed=True, strides=[2], pads=[1, 2])
    graph.output(graph.batch_norm(y, 4))


@case(6, FOLD)
def depthwise_conv_transpose(graph):
    """The weight is [C, 1, kH, kW]: its channels are axis 0."""
    x = graph.input(5, 6, 6)
    graph.output(graph.batch_norm(graph.conv(x, 5, 5, group=5, transposed=True, strides=[2, 2]), 5))


def gemm(graph, c=None, rows=None, trans_b=0, **attributes):
    """Gemm of [rows or N, 5] and a constant [5, 6], then batch normalization."""
    x = graph.input(5, batch=rows or "N")
    shape = (6, 5) if trans_b else (5, 6)
    weight = graph.constant(graph.weight_values(*shape, fan_in=5), name=graph.name("w"))
    inputs = [x, weight] + ([] if c is None else [graph.constant(c, name=graph.name("b"))])
    if trans_b:
        attributes["transB"] = trans_b
    graph.output(graph.batch_norm(graph.node("Gemm", inputs, **attributes), 6))


@case(7, FOLD)
def gemm_bias(graph):
    """Columns are channels."""
    gemm(graph, graph.normal(6))


@case(7, FOLD)
def gemm_transB_alpha_beta(graph):
    """s alpha x W^T + (beta c - mean) s + t: beta becomes 1."""
    gemm(graph, graph.normal(6), trans_b=1, alpha=0.5, beta=2.0)


@case(7, FOLD)
def gemm_alpha_beta(graph):
    """As before, with columns of the weight as they are."""
    gemm(graph, graph.normal(6), alpha=1.5, beta=0.25)


@case(7, FOLD)
def gemm_no_c(graph):
    """Gemm gets a C."""
    gemm(graph, trans_b=1, alpha=0.5)


@case(7, FOLD)
def gemm_scalar_c(graph):
    """One number becomes one for each column."""
    gemm(graph, graph.normal(), beta=0.5)


@case(7, FOLD)
def gemm_c_of_rows_and_columns(graph):
    """C [M,N] stays [M,N], each column scaled."""
    gemm(graph, graph.normal(3, 6), rows=3, beta=0.5)


@case(7, FOLD)
def gemm_c_of_rows(graph):
    """C [M,1] becomes [M,N]."""
    gemm(graph, graph.normal(3, 1), rows=3, beta=2.0)


@case(7, REFUSE)
def gemm_runtime_c(graph):
    """C is an input: it cannot be scaled beforehand."""
    x, c = graph.input(5), graph.input(6)
    weight = graph.constant(graph.weight_values(5, 6, fan_in=5))
    graph.output(graph.batch_norm(graph.node("Gemm", [x, weight, c]), 6))


@case(7, REFUSE)
def gemm_constant_left_operand(graph):
    """The constant operand holds the rows, the channels are columns of the other one."""
    x = graph.input(5, 6, batch=None)
    weight = graph.constant(graph.weight_values(4, 5, fan_in=5))
    graph.output(graph.batch_norm(graph.node("Gemm", [weight, x]), 6))


@case(8, FOLD)
def matmul(graph):
    """MatMul has no place for a bias: it becomes Gemm."""
    x = graph.input(5)
    weight = graph.constant(graph.weight_values(5, 6, fan_in=5))
    graph.output(graph.batch_norm(graph.node("MatMul", [x, weight]), 6))


@case(8, REFUSE)
def matmul_constant_left_operand(graph):
    """The constant operand holds the rows, the channels are columns of the other one."""
    x = graph.input(5, 6, batch=None)
    weight = graph.constant(graph.weight_values(6, 5, fan_in=5))
    graph.output(graph.batch_norm(graph.node("MatMul", [weight, x]), 6))


@case(9, REFUSE)
def matmul_of_sequences(graph):
    """[N,L,C]: batch normalization goes over L, the weight's columns are C."""
    x = graph.input(4, 5)
    weight = graph.constant(graph.weight_values(5, 6, fan_in=5))
    graph.output(graph.batch_norm(graph.node("MatMul", [x, weight]), 4))


@case(9, REFUSE)
def matmul_of_sequences_as_long_as_wide(graph):
    """As before, and L = C: no shape tells them apart."""
    x = graph.input(6, 5)
    weight = graph.constant(graph.weight_values(5, 6, fan_in=5))
    graph.output(graph.batch_norm(graph.node("MatMul", [x, weight]), 6))
