"""What is left of batch normalization in a model: layers, and layers that were only written out as arithmetic."""

from collections import Counter

LAYER = "BatchNormalization"
# A layer written out as s x + t has one of these on the way of the data.
ARITHMETIC = ("Mul", "Div", "Sub", "Sqrt", "Pow", "Reciprocal")
RANDOM = ("Dropout", "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli")


def graphs_of(node):
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def all_nodes(nodes):
    for node in nodes:
        yield node
        for graph in graphs_of(node):
            yield from all_nodes(graph.node)


def every_node(model):
    """Nodes of the graph, its subgraphs, and functions (once, however often they are called)."""
    yield from all_nodes(model.graph.node)
    for function in model.functions:
        yield from all_nodes(function.node)


def layers(model):
    return sum(node.op_type == LAYER for node in every_node(model))


def at_run_time(model):
    """How many nodes of each type the data go through, and how many compute constants."""
    data, constant = Counter(), Counter()
    given = {value.name for value in model.graph.initializer}
    fixed = given if model.ir_version <= 3 else given - {value.name for value in model.graph.input}
    walk(model.graph.node, fixed, data, constant)
    for function in model.functions:
        walk(function.node, set(), data, constant)
    return data, constant


def walk(nodes, fixed, data, constant):
    fixed = set(fixed)
    for node in nodes:
        inner = list(graphs_of(node))
        for graph in inner:
            walk(graph.node, fixed | {value.name for value in graph.initializer}, data, constant)
        if not inner and node.op_type not in RANDOM and all(name in fixed for name in node.input if name):
            fixed |= set(node.output)
            # These two are a way of storing a constant.
            constant[node.op_type] += node.op_type not in ("Constant", "Identity")
        else:
            data[node.op_type] += 1


def written_out(before, after):
    """Arithmetic on the data that was not there before."""
    (old, _), (new, _) = at_run_time(before), at_run_time(after)
    return {op: new[op] - old[op] for op in ARITHMETIC if new[op] > old[op]}


def constants_left(before, after):
    (_, old), (_, new) = at_run_time(before), at_run_time(after)
    return {op: new[op] - old[op] for op in new if new[op] > old[op]}
