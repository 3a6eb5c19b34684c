"""ONNX Runtime: a model of one BatchNormalization node, with bound input and output. It evaluates only."""

import onnx
import onnxruntime
from onnx import TensorProto, helper

from contest.problem import EPS
from contest.worker import Call


class Framework:
    def __init__(self, threads):
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.options.inter_op_num_threads = 1
        self.options.log_severity_level = 3

    def version(self):
        return onnxruntime.__version__

    def prepare(self, peer, problem, row):
        if row.op != "eval":
            raise ValueError("evaluates only")
        if row.layout != "channels_first":
            raise ValueError("no channels-last layout")
        if row.dtype != "f32":
            raise ValueError("timed in f32 only")
        model = model_of(problem).SerializeToString()
        session = onnxruntime.InferenceSession(model, self.options, providers=["CPUExecutionProvider"])
        x = onnxruntime.OrtValue.ortvalue_from_numpy(problem.x)
        y = onnxruntime.OrtValue.ortvalue_from_shape_and_type(problem.dims, problem.x.dtype.type)
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", x)
        binding.bind_ortvalue_output("y", y)

        def answer():
            session.run_with_iobinding(binding)
            return y.numpy()

        return Call(lambda: session.run_with_iobinding(binding), answer, "bound output")


def model_of(problem):
    parameters = {
        "gamma": problem.gamma,
        "beta": problem.beta,
        "mean": problem.running_mean,
        "variance": problem.running_variance,
    }
    node = helper.make_node("BatchNormalization", ["x", *parameters], ["y"], epsilon=EPS)
    graph = helper.make_graph(
        [node],
        "batch_normalization",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, problem.dims)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, problem.dims)],
        [onnx.numpy_helper.from_array(array, name) for name, array in parameters.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=10)
