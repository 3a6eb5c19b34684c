"""Values that cannot be folded, types, and what the numbered list leaves out: case 24 and the others."""

import numpy

from folding.cases import ALSO, FOLD, REFUSE, case
from folding.graph import BF16, EPS, F16, F32, F64


def conv(graph, bias=False, **values):
    x = graph.input(4, 7, 7)
    graph.output(graph.batch_norm(graph.conv(x, 4, 6, bias=bias), 6, **values))


def with_first(values, first):
    values[0] = first
    return values


@case(24, REFUSE)
def variance_nan(graph):
    """A channel of NaN stays where it can be seen."""
    conv(graph, variance=with_first(graph.variance_values(6), numpy.nan))


@case(24, REFUSE)
def variance_negative(graph):
    """The root of a negative number."""
    conv(graph, variance=with_first(graph.variance_values(6), -0.5))


@case(24, REFUSE)
def variance_negative_above_minus_eps(graph):
    """var + eps > 0, but no data have that variance."""
    conv(graph, variance=with_first(graph.variance_values(6), -EPS / 2))


@case(24, REFUSE)
def variance_infinite(graph):
    """No data have that variance."""
    conv(graph, variance=with_first(graph.variance_values(6), numpy.inf))


@case(24, REFUSE)
def mean_nan(graph):
    """A channel of NaN stays where it can be seen."""
    conv(graph, mean=with_first(graph.normal(6), numpy.nan))


@case(24, FOLD)
def variance_zero(graph):
    """s = gamma / sqrt(eps): finite, with a warning."""
    conv(graph, variance=with_first(graph.variance_values(6), 0.0), gamma=with_first(graph.gamma_values(6), 0.02))


@case(24, REFUSE)
def variance_and_eps_zero(graph):
    """Division by zero."""
    conv(graph, variance=with_first(graph.variance_values(6), 0.0), eps=0.0)


@case(24, FOLD)
def gamma_zero(graph):
    """s = 0: the channel is constant."""
    conv(graph, gamma=with_first(graph.gamma_values(6), 0.0))


@case(24, REFUSE)
def overflow_f32(graph):
    """Outputs are finite, for inputs are small; the folded weight 1e30 * 1e12 is not."""
    x = graph.node("Mul", [graph.input(4, 7, 7), graph.constant(1e-30)])
    y = graph.conv(x, 4, 6, weight=graph.constant(1e30 * graph.normal(6, 4, 3, 3)))
    graph.output(graph.batch_norm(y, 6, gamma=1e12 * graph.gamma_values(6), mean=[0.0] * 6))


@case(24, REFUSE, opset=15)
def overflow_f16(graph):
    """Outputs are within f16, for inputs are small; the folded weight 250 * 1000 is not."""
    graph.element, graph.parameter_element = F16, F32
    x = graph.node("Mul", [graph.input(4, 7, 7), graph.constant(2.0**-12)])
    y = graph.conv(x, 4, 6, weight=graph.constant(250 * graph.gamma_values((6, 4, 3, 3))))
    graph.output(graph.batch_norm(y, 6, gamma=1000 * graph.gamma_values(6), mean=[0.0] * 6))


@case(24, FOLD, opset=15)
def subnormal_f16(graph):
    """s w is below the smallest normal f16 and is flushed to zero; what it adds to t is below f16's rounding of it."""
    graph.element, graph.parameter_element = F16, F32
    gamma = graph.gamma_values(6)
    gamma[0] = 1e-6
    conv(graph, gamma=gamma)


def typed(graph, element, parameters=None, bias=False):
    graph.element, graph.parameter_element = element, parameters
    conv(graph, bias=bias)


@case(ALSO, FOLD, opset=14)
def f16(graph):
    """All f16: computed in f64, rounded once."""
    typed(graph, F16, bias=True)


@case(ALSO, FOLD, opset=15)
def f16_weight_f32_parameters(graph):
    """Version 15 allows two types: the weight stays f16, and so is the new bias."""
    typed(graph, F16, F32)


@case(ALSO, FOLD, opset=15)
def f16_gemm_f32_parameters(graph):
    """As before, with Gemm."""
    graph.element, graph.parameter_element = F16, F32
    weight = graph.constant(graph.weight_values(6, 5, fan_in=5))
    y = graph.node("Gemm", [graph.input(5), weight, graph.constant(graph.normal(6))], transB=1)
    graph.output(graph.batch_norm(y, 6))


@case(ALSO, FOLD, opset=17, oracle="widened")
def bf16_gemm(graph):
    """All bf16."""
    graph.element = BF16
    weight = graph.constant(graph.weight_values(5, 6, fan_in=5))
    graph.output(graph.batch_norm(graph.node("Gemm", [graph.input(5), weight]), 6))


@case(ALSO, FOLD, opset=17, oracle="widened")
def bf16_gemm_f32_parameters(graph):
    """bf16 weights, f32 parameters: the weight stays bf16."""
    graph.element, graph.parameter_element = BF16, F32
    weight = graph.constant(graph.weight_values(6, 5, fan_in=5))
    y = graph.node("Gemm", [graph.input(5), weight, graph.constant(graph.normal(6))], transB=1)
    graph.output(graph.batch_norm(y, 6))


@case(ALSO, FOLD, oracle="reference")
def f64(graph):
    """All f64."""
    typed(graph, F64, bias=True)


@case(ALSO, FOLD)
def missing_epsilon(graph):
    """No epsilon means 1e-5, not 0: the variances are so small that it shows."""
    conv(graph, eps=None, variance=1e-4 * graph.variance_values(6))


@case(ALSO, FOLD)
def empty_optional_bias(graph):
    """An input named "" is no bias."""
    y = graph.conv(graph.input(4, 7, 7), 4, 6, bias="")
    graph.output(graph.batch_norm(y, 6))


@case(ALSO, FOLD, after=1)
def batch_norm_batch_norm(graph):
    """No linear map, but two layers become one."""
    graph.output(graph.batch_norm(graph.batch_norm(graph.input(6, 5, 5), 6), 6))


@case(ALSO, FOLD)
def conv_batch_norm_batch_norm(graph):
    """Both go into the convolution."""
    y = graph.conv(graph.input(4, 7, 7), 4, 6)
    graph.output(graph.batch_norm(graph.batch_norm(y, 6), 6))


@case(ALSO, FOLD)
def concat_of_convs(graph):
    """Concat along channels: each convolution takes its part of the channels."""
    x = graph.input(4, 7, 7)
    y = graph.node("Concat", [graph.conv(x, 4, 2), graph.conv(x, 4, 5, bias=True)], axis=1)
    graph.output(graph.batch_norm(y, 7))


@case(ALSO, REFUSE)
def concat_of_conv_and_input(graph):
    """The second part has no linear map to go into."""
    x = graph.input(4, 7, 7)
    y = graph.node("Concat", [graph.conv(x, 4, 6, pads=[1] * 4), x], axis=1)
    graph.output(graph.batch_norm(y, 10))


@case(ALSO, REFUSE)
def batch_norm_alone(graph):
    """No linear map anywhere."""
    graph.output(graph.batch_norm(graph.input(6, 5, 5), 6))


@case(ALSO, FOLD)
def chain(graph):
    """Three layers, one after the other."""
    y, channels = graph.input(3, 12, 12), 3
    for out in (8, 8, 4):
        y = graph.node("Relu", [graph.batch_norm(graph.conv(y, channels, out, pads=[1] * 4), out)])
        channels = out
    graph.output(y)


@case(ALSO, FOLD)
def chain_both_ways(graph):
    """BN -> Conv -> BN -> Gemm's kind of net: the first goes forwards, the second backwards, into one weight."""
    y = graph.conv(graph.batch_norm(graph.input(4, 8, 8), 4), 4, 6, bias=True)
    graph.output(graph.batch_norm(y, 6))


@case(ALSO, FOLD, after=1)
def chain_pre_activation(graph):
    """A block of a pre-activation net: the second layer goes backwards, the first one, before ReLU, stays."""
    x = graph.input(4, 8, 8)
    y = graph.node("Relu", [graph.batch_norm(x, 4)])
    y = graph.node("Relu", [graph.batch_norm(graph.conv(y, 4, 6, pads=[1] * 4), 6)])
    graph.output(graph.node("Add", [graph.conv(y, 6, 4, pads=[1] * 4), x]))
