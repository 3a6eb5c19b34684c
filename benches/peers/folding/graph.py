"""A small ONNX graph being built: names are drawn, weights are random and seeded, and what IR 3 asks for is added."""

import ml_dtypes
import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

F32, F16, BF16, F64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE
NUMPY = {F32: numpy.float32, F16: numpy.float16, BF16: ml_dtypes.bfloat16, F64: numpy.float64}

# Large enough that an eps that was forgotten, or taken to be the default, shows in the outputs.
EPS = 1e-3
IR_OF_OPSET = {6: 3, 7: 3, 9: 4, 12: 6, 14: 7, 15: 8, 17: 8}


class Graph:
    """Nodes, constants, inputs and outputs. Methods that add a node return the name of its first output."""

    def __init__(self, seed, opset=17, ir=None, outer=None):
        self.opset, self.ir = opset, ir or IR_OF_OPSET[opset]
        self.element = F32
        self.parameter_element = None
        self.nodes, self.constants, self.inputs, self.outputs, self.functions = [], [], [], [], []
        self.overridable = set()
        self.random = outer.random if outer else numpy.random.default_rng(seed)
        self.used = outer.used if outer else {}

    def name(self, stem):
        """conv1, conv2, ...: over all subgraphs, since an inner name must not hide an outer one."""
        self.used[stem] = self.used.get(stem, 0) + 1
        return f"{stem}{self.used[stem]}"

    def input(self, *shape, name=None, element=None, batch="N"):
        """An input of shape [batch, *shape]; batch None leaves that axis out."""
        name = name or self.name("x")
        shape = list(shape) if batch is None else [batch, *shape]
        self.inputs.append(helper.make_tensor_value_info(name, element or self.element, shape))
        return name

    def output(self, *names, element=None, shape=None):
        # Inference finds shapes, but for constants and what old versions of operators leave out.
        shapes = {constant.name: constant.dims for constant in self.constants}
        for name in names:
            self.outputs.append(helper.make_tensor_value_info(name, element or self.element, shapes.get(name, shape)))

    def constant(self, values, element=None, name=None, overridable=False):
        """An initializer; one that is overridable is a graph input as well."""
        name = name or self.name("c")
        array = numpy.asarray(values)
        if array.dtype.kind == "f":
            array = array.astype(NUMPY[element or self.element])
        self.constants.append(numpy_helper.from_array(array, name))
        if overridable:
            self.overridable.add(name)
        return name

    def node(self, op, inputs, outputs=1, names=None, domain=None, **attributes):
        name = self.name(op.lower())
        if names is None:
            names = [f"{name}_out"] if outputs == 1 else [f"{name}_out{place}" for place in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=name, domain=domain, **attributes))
        return names[0] if len(names) == 1 else names

    # Random values

    def normal(self, *shape, scale=1.0):
        return self.random.normal(0, scale, shape)

    def weight_values(self, *shape, fan_in):
        return self.normal(*shape, scale=fan_in**-0.5)

    def gamma_values(self, channels, signs=(1, -1)):
        return self.random.uniform(0.5, 1.5, channels) * numpy.resize(signs, channels)

    def variance_values(self, channels):
        return self.random.uniform(0.5, 2.0, channels)

    # Layers

    def conv(self, x, channels, out, kernel=(3, 3), group=1, bias=False, transposed=False, weight=None, **attributes):
        """`weight` and `bias` may be names of what is there already."""
        if weight is None:
            rows, columns = (channels, out // group) if transposed else (out, channels // group)
            fan_in = channels // group * int(numpy.prod(kernel))
            weight = self.constant(self.weight_values(rows, columns, *kernel, fan_in=fan_in), name=self.name("w"))
        inputs = [x, weight]
        if isinstance(bias, str):
            inputs.append(bias)
        elif bias:
            inputs.append(self.constant(self.normal(out), name=self.name("b")))
        if group > 1:
            attributes["group"] = group
        return self.node("ConvTranspose" if transposed else "Conv", inputs, **attributes)

    def parameters(self, channels, gamma=None, beta=None, mean=None, variance=None):
        """Names of scale, B, mean and variance. Each may be given as values or as a name."""
        values = {
            "gamma": self.gamma_values(channels) if gamma is None else gamma,
            "beta": self.normal(channels) if beta is None else beta,
            "mean": self.normal(channels) if mean is None else mean,
            "variance": self.variance_values(channels) if variance is None else variance,
        }
        element = self.parameter_element or self.element
        return [
            given if isinstance(given, str) else self.constant(given, element, self.name(stem))
            for stem, given in values.items()
        ]

    def batch_norm(self, x, channels, eps=EPS, outputs=1, parameters=None, attributes=None, **values):
        attributes = dict(attributes or {})
        if eps is not None:
            attributes["epsilon"] = eps
        names = parameters or self.parameters(channels, **values)
        return self.node("BatchNormalization", [x, *names], outputs, **attributes)

    # Results

    def branch(self, name):
        """A subgraph that sees this graph's names."""
        inner = Graph(None, self.opset, self.ir, outer=self)
        inner.title, inner.element = name, self.element
        return inner

    def proto(self, name):
        inputs = list(self.inputs)
        given = {value.name for value in inputs}
        for constant in self.constants:
            # IR 3 lists every initializer as an input; later ones only what the caller may override.
            if constant.name not in given and (constant.name in self.overridable or self.ir <= 3):
                inputs.append(helper.make_tensor_value_info(constant.name, constant.data_type, constant.dims))
        return helper.make_graph(self.nodes, name, inputs, self.outputs, self.constants)

    def subgraph(self):
        return helper.make_graph(self.nodes, self.title, self.inputs, self.outputs, self.constants)

    def model(self, name):
        imports = [helper.make_opsetid("", self.opset)]
        imports += [helper.make_opsetid(domain, 1) for domain in sorted({f.domain for f in self.functions})]
        model = helper.make_model(
            self.proto(name), opset_imports=imports, ir_version=self.ir, functions=self.functions,
            producer_name="batchnorm fold cases",
        )
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        for place, output in enumerate(inferred.graph.output):
            if not output.type.tensor_type.HasField("shape"):
                raise ValueError(f"{name}: no shape was inferred for the output {output.name}")
            model.graph.output[place].CopyFrom(output)
        return model


def float_tensor(values, element=F32):
    """For attributes."""
    return numpy_helper.from_array(numpy.asarray(values).astype(NUMPY[element]))
