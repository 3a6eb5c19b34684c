"""Who else reads a value, who may change it, and training: cases 20 to 23."""

from folding.cases import FOLD, REFUSE, case

ALLOWED = {"what": "that defaults of overridable inputs be taken for constants", "batch_norms_after": 0}


@case(20, REFUSE)
def conv_used_twice(graph):
    """The convolution's output is read by another node, too."""
    y = graph.conv(graph.input(4, 7, 7), 4, 6)
    graph.output(graph.batch_norm(y, 6), graph.node("Relu", [y]))


@case(20, REFUSE)
def conv_is_an_output(graph):
    """The convolution's output is an output of the graph."""
    y = graph.conv(graph.input(4, 7, 7), 4, 6)
    graph.output(graph.batch_norm(y, 6), y)


@case(20, REFUSE)
def conv_used_in_a_branch(graph):
    """The convolution's output is read inside an If, by its outer name."""
    y = graph.conv(graph.input(4, 7, 7), 4, 6)
    condition = graph.input(name="condition", element=9, batch=None)
    branches = {}
    for attribute, op in (("then_branch", "Relu"), ("else_branch", "Abs")):
        branch = graph.branch(attribute)
        branch.output(branch.node(op, [y]))
        branches[attribute] = branch.subgraph()
    graph.output(graph.batch_norm(y, 6), graph.node("If", [condition], **branches))


@case(20, REFUSE)
def batch_norm_is_an_output_before_conv(graph):
    """Forwards: what batch normalization gives is an output of the graph."""
    y = graph.batch_norm(graph.input(4, 7, 7), 4)
    graph.output(graph.conv(y, 4, 6), y)


def shared(graph, *batch_norms, bias=None):
    """Two convolutions with one weight, those that are named followed by batch normalization."""
    weight = graph.constant(graph.weight_values(6, 4, 3, 3, fan_in=36), name="w")
    for which in ("first", "second"):
        y = graph.conv(graph.input(4, 7, 7), 4, 6, weight=weight, bias=bias or False)
        graph.output(graph.batch_norm(y, 6) if which in batch_norms else y)


@case(21, FOLD)
def shared_weight_one_batch_norm(graph):
    """The folded weight is a new initializer; the other convolution keeps the old one."""
    shared(graph, "first")


@case(21, FOLD)
def shared_weight_and_bias_two_batch_norms(graph):
    """Each convolution gets a weight and a bias of its own."""
    shared(graph, "first", "second", bias=graph.constant(graph.normal(6), name="b"))


@case(21, FOLD)
def shared_parameters(graph):
    """Two layers with the same parameters, each after its own convolution."""
    parameters = graph.parameters(6)
    for _ in range(2):
        y = graph.conv(graph.input(4, 7, 7), 4, 6, bias=True)
        graph.output(graph.batch_norm(y, 6, parameters=parameters))


@case(21, FOLD)
def weight_is_an_output(graph):
    """The old weight stays, for the graph gives it out."""
    weight = graph.constant(graph.weight_values(6, 4, 3, 3, fan_in=36), name="w")
    graph.output(graph.batch_norm(graph.conv(graph.input(4, 7, 7), 4, 6, weight=weight), 6), weight)


def overridable(graph, which):
    """The one that is named is a graph input with a default; under IR 3 all are, which means nothing."""
    x = graph.input(4, 7, 7)
    weight = graph.constant(graph.weight_values(6, 4, 3, 3, fan_in=36), name="w", overridable=which == "w")
    gamma = graph.constant(graph.gamma_values(6), name="gamma", overridable=which == "gamma")
    graph.output(graph.batch_norm(graph.conv(x, 4, 6, weight=weight), 6, gamma=gamma))


@case(22, REFUSE, on_request=ALLOWED)
def overridable_gamma_ir_8(graph):
    """From IR 4 a caller may give another scale."""
    overridable(graph, "gamma")


@case(22, REFUSE, opset=9, ir=4, on_request=ALLOWED)
def overridable_weight_ir_4(graph):
    """From IR 4 a caller may give another weight."""
    overridable(graph, "w")


@case(22, FOLD, opset=7, ir=3)
def initializers_are_inputs_ir_3(graph):
    """Up to IR 3 every initializer is listed as an input, and may not be overridden."""
    overridable(graph, None)


@case(22, FOLD, opset=9, ir=3)
def initializers_are_inputs_ir_3_bias(graph):
    """As before; here the old bias becomes unused, and both of its entries go."""
    x = graph.input(4, 7, 7)
    graph.output(graph.batch_norm(graph.conv(x, 4, 6, bias=True), 6))


def training(graph, outputs=1, used=0, **attributes):
    y = graph.conv(graph.input(4, 7, 7), 4, 6)
    names = graph.batch_norm(y, 6, outputs=outputs, attributes=attributes)
    names = [names] if outputs == 1 else names
    graph.output(names[0])
    graph.output(*names[1 : 1 + used], shape=[6])


@case(23, REFUSE, opset=17, oracle="reference")
def training_mode(graph):
    """training_mode = 1: the statistics are the batch's. Nobody reads the running ones."""
    training(graph, outputs=3, training_mode=1)


@case(23, REFUSE, opset=14, oracle="reference")
def training_mode_outputs_used(graph):
    """As before, and the running statistics are outputs of the graph."""
    training(graph, outputs=3, used=2, training_mode=1)


@case(23, REFUSE, opset=9, oracle="reference")
def opset_9_outputs_used(graph):
    """Until version 13, more outputs mean training."""
    training(graph, outputs=5, used=4)


@case(23, REFUSE, opset=7, oracle="reference")
def opset_7_outputs_unused(graph):
    """Until version 13, more outputs mean training, whether read or not."""
    training(graph, outputs=5)


@case(23, REFUSE, opset=6, oracle="reference")
def opset_6_not_is_test(graph):
    """Version 6 without is_test is training."""
    training(graph)


@case(23, REFUSE, oracle="reference")
def training_mode_before_conv(graph):
    """Forwards, too: the statistics are the batch's."""
    y = graph.batch_norm(graph.input(4, 7, 7), 4, outputs=3, attributes={"training_mode": 1})
    graph.output(graph.conv(y[0], 4, 6))
