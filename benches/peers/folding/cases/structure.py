"""Where weights come from and where layers stand: cases 25, 26, 27 and 29."""

import numpy
from onnx import helper, numpy_helper

from folding.cases import FOLD, REFUSE, case
from folding.graph import BF16, EPS, F16, F32, NUMPY, float_tensor

BOOL, INT64 = 9, 7


def if_of(graph, *bodies):
    """An If whose branches are made by the two functions."""
    condition = graph.input(name="condition", element=BOOL, batch=None)
    branches = {}
    for attribute, body in zip(("then_branch", "else_branch"), bodies, strict=True):
        branch = graph.branch(attribute)
        branch.output(body(branch))
        branches[attribute] = branch.subgraph()
    graph.output(graph.node("If", [condition], **branches))


@case(25, FOLD)
def if_outer_weight(graph):
    """Both branches read a weight of the outer graph: the one with batch normalization gets its own."""
    x = graph.input(4, 7, 7)
    weight = graph.constant(graph.weight_values(6, 4, 3, 3, fan_in=36), name="w")
    if_of(
        graph,
        lambda branch: branch.batch_norm(branch.conv(x, 4, 6, weight=weight), 6),
        lambda branch: branch.conv(x, 4, 6, weight=weight),
    )


@case(25, FOLD)
def if_outer_parameters(graph):
    """Two branches with convolutions of their own share the outer parameters."""
    x, parameters = graph.input(4, 7, 7), graph.parameters(6)
    body = lambda branch: branch.batch_norm(branch.conv(x, 4, 6, bias=True), 6, parameters=parameters)
    if_of(graph, body, body)


@case(25, REFUSE)
def if_around_batch_norm_only(graph):
    """The convolution stands outside, and the other branch reads its output as it is."""
    y = graph.conv(graph.input(4, 7, 7), 4, 6)
    if_of(graph, lambda branch: branch.batch_norm(y, 6), lambda branch: branch.node("Relu", [y]))


@case(25, FOLD)
def loop_outer_weight(graph):
    """The body's convolution reads a weight of the outer graph, which the graph gives out as well."""
    x = graph.input(4, 6, 6)
    weight = graph.constant(graph.weight_values(4, 4, 3, 3, fan_in=36), name="w")
    body = graph.branch("body")
    body.input(name="turn", element=INT64, batch=None)
    going = body.input(name="going", element=BOOL, batch=None)
    carried = body.input(4, 6, 6, name="carried")
    still = body.node("Identity", [going])
    y = body.batch_norm(body.conv(carried, 4, 4, weight=weight, pads=[1] * 4), 4, gamma=0.5 * body.gamma_values(4))
    body.output(still, element=BOOL)
    body.output(y)
    turns, start = graph.constant(numpy.array(3)), graph.constant(numpy.array(True))
    graph.output(graph.node("Loop", [turns, start, x], body=body.subgraph()), shape=["N", 4, 6, 6])
    graph.output(weight)


@case(25, REFUSE)
def runtime_gamma(graph):
    """The scale is an input of the graph."""
    gamma = graph.input(6, name="gamma", batch=None)
    graph.output(graph.batch_norm(graph.conv(graph.input(4, 7, 7), 4, 6), 6, gamma=gamma))


@case(25, REFUSE)
def runtime_weight(graph):
    """The weight is computed at run time."""
    weight = graph.input(6, 4, 3, 3, name="w", batch=None)
    graph.output(graph.batch_norm(graph.conv(graph.input(4, 7, 7), 4, 6, weight=weight), 6))


@case(25, REFUSE)
def quantized_weight(graph):
    """An 8-bit weight with one scale would be rounded again."""
    quantized = graph.constant(graph.random.integers(-127, 128, (6, 4, 3, 3)).astype(numpy.int8))
    weight = graph.node("DequantizeLinear", [quantized, graph.constant(0.01), graph.constant(numpy.int8(0))])
    graph.output(graph.batch_norm(graph.conv(graph.input(4, 7, 7), 4, 6, weight=weight), 6))


def constants(graph, weight, **parameters):
    graph.output(graph.batch_norm(graph.conv(graph.input(4, 7, 7), 4, 6, weight=weight), 6, **parameters))


@case(26, FOLD)
def constant_nodes(graph):
    """All of them are Constant nodes, as old exporters write them."""
    weight = graph.node("Constant", [], value=float_tensor(graph.weight_values(6, 4, 3, 3, fan_in=36)))
    values = {
        "gamma": graph.gamma_values(6), "beta": graph.normal(6), "mean": graph.normal(6),
        "variance": graph.variance_values(6),
    }
    constants(graph, weight, **{name: graph.node("Constant", [], value=float_tensor(of)) for name, of in values.items()})


@case(26, FOLD)
def constant_of_floats(graph):
    """gamma is a Constant by value_floats."""
    weight = graph.constant(graph.weight_values(6, 4, 3, 3, fan_in=36))
    constants(graph, weight, gamma=graph.node("Constant", [], value_floats=graph.gamma_values(6).tolist()))


@case(26, FOLD)
def constant_of_shape(graph):
    """The weight is one value many times."""
    shape = graph.constant(numpy.array([6, 4, 3, 3]))
    constants(graph, graph.node("ConstantOfShape", [shape], value=float_tensor([0.02])))


@case(26, FOLD)
def identity_of_initializer(graph):
    """PyTorch writes Identity where two layers share a parameter."""
    gamma = graph.node("Identity", [graph.constant(graph.gamma_values(6))])
    constants(graph, graph.node("Identity", [graph.constant(graph.weight_values(6, 4, 3, 3, fan_in=36))]), gamma=gamma)


@case(26, FOLD)
def cast_of_f16_initializer(graph):
    """The weight is stored as f16 and computed with as f32: the folded one is f32."""
    weight = graph.constant(graph.weight_values(6, 4, 3, 3, fan_in=36), F16)
    constants(graph, graph.node("Cast", [weight], to=F32))


@case(26, FOLD)
def cast_of_bf16_parameters(graph):
    """Parameters are stored as bf16."""
    gamma = graph.node("Cast", [graph.constant(graph.gamma_values(6), BF16)], to=F32)
    weight = graph.constant(graph.weight_values(6, 4, 3, 3, fan_in=36))
    constants(graph, weight, gamma=gamma)


@case(26, FOLD)
def unsqueeze_of_initializer(graph):
    """A weight [6,4] becomes [6,4,1,1] by Unsqueeze."""
    weight = graph.constant(graph.weight_values(6, 4, fan_in=4))
    constants(graph, graph.node("Unsqueeze", [weight, graph.constant(numpy.array([2, 3]))]))


@case(26, FOLD)
def identity_of_cast_of_constant(graph):
    """Three nodes deep."""
    weight = graph.node("Constant", [], value=float_tensor(graph.weight_values(6, 4, 3, 3, fan_in=36), F16))
    constants(graph, graph.node("Identity", [graph.node("Cast", [weight], to=F32)]))


def affine(graph, x, *shape):
    y = graph.node("Mul", [x, graph.constant(graph.normal(*shape))])
    return graph.node("Add", [y, graph.constant(graph.normal(*shape))])


@case(27, FOLD)
def batch_norm_mul_add(graph):
    """Caffe2's scale and shift, one per channel, are absorbed first."""
    y = graph.batch_norm(graph.conv(graph.input(4, 7, 7), 4, 6), 6)
    graph.output(affine(graph, y, 6, 1, 1))


@case(27, FOLD)
def batch_norm_mul_add_conv(graph):
    """As before, then forwards into a convolution without padding."""
    y = affine(graph, graph.batch_norm(graph.input(4, 7, 7), 4), 1, 4, 1, 1)
    graph.output(graph.conv(y, 4, 6))


@case(27, FOLD)
def batch_norm_mul_per_place(graph):
    """A factor for each place [C,H,W] stays as it is, and batch normalization goes into the convolution."""
    y = graph.batch_norm(graph.conv(graph.input(4, 7, 7), 4, 6), 6)
    graph.output(affine(graph, y, 6, 5, 5))


DOMAIN = "batchnorm.cases"


def function(graph, name, inputs, nodes, output):
    imports = [helper.make_opsetid("", graph.opset)]
    graph.functions.append(helper.make_function(DOMAIN, name, inputs, [output], nodes, imports))


def block_of_constants(graph):
    """Conv -> BN with all constants inside."""
    values = {"w": graph.weight_values(6, 4, 3, 3, fan_in=36), "gamma": graph.gamma_values(6), "beta": graph.normal(6),
              "mean": graph.normal(6), "var": graph.variance_values(6)}
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(of.astype(NUMPY[F32])))
        for name, of in values.items()
    ]
    function(graph, "Block", ["x"], [
        *nodes,
        helper.make_node("Conv", ["x", "w"], ["conv"]),
        helper.make_node("BatchNormalization", ["conv", "gamma", "beta", "mean", "var"], ["y"], epsilon=EPS),
    ], "y")


def block_of_parameters(graph):
    """Conv -> BN whose constants the caller gives."""
    names = ["gamma", "beta", "mean", "var"]
    function(graph, "Block", ["x", "w", *names], [
        helper.make_node("Conv", ["x", "w"], ["conv"]),
        helper.make_node("BatchNormalization", ["conv", *names], ["y"], epsilon=EPS),
    ], "y")


def call(graph, x, *constants):
    return graph.node("Block", [x, *constants], domain=DOMAIN)


@case(29, FOLD)
def function_called_once(graph):
    """Constants are inside the function."""
    block_of_constants(graph)
    graph.output(call(graph, graph.input(4, 7, 7)))


@case(29, FOLD)
def function_called_once_with_parameters(graph):
    """Constants come from the only caller."""
    block_of_parameters(graph)
    weight = graph.constant(graph.weight_values(6, 4, 3, 3, fan_in=36))
    graph.output(call(graph, graph.input(4, 7, 7), weight, *graph.parameters(6)))


@case(29, REFUSE)
def function_called_twice(graph):
    """The callers give different parameters: the function cannot hold both."""
    block_of_parameters(graph)
    x = graph.input(4, 7, 7)
    for _ in range(2):
        weight = graph.constant(graph.weight_values(6, 4, 3, 3, fan_in=36))
        graph.output(call(graph, x, weight, *graph.parameters(6)))
