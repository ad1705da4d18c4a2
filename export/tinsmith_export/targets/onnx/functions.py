"""How functions of one number are written to an ONNX file."""

import numpy as np

from tinsmith_export.ir.ops import Function
from tinsmith_export.targets.onnx.writer import FloatWriter

# The operators of each, one behind the other; `Add` adds the smallest float32.
_OPERATORS = {
    "sigmoid": ("Sigmoid",),
    "tanh": ("Tanh",),
    "elu": ("Elu",),
    "softplus": ("Softplus",),
    "selu": ("Selu",),
    "softsign": ("Softsign",),
    "exp": ("Exp",),
    "log": ("Relu", "Add", "Log"),
    "sqrt": ("Relu", "Sqrt"),
    "rsqrt": ("Relu", "Add", "Sqrt", "Reciprocal"),
    "reciprocal": ("Reciprocal",),
}


def write_function(node: Function, writer: FloatWriter) -> str:
    """Writes a function and gives the tensor of its output."""
    x = writer.reals(node)
    if node.function == "gelu":
        return _gelu(node, writer, x)
    if node.function == "thresholded":
        return _thresholded(node, writer, x)
    *before, last = _OPERATORS[node.function]
    for kind in before:
        inputs = [x]
        if kind == "Add":
            inputs.append(writer.constant(f"{node.name}.tiny", np.float32(2.0**-126)))
        x = writer.step(kind, node, kind.lower(), inputs)
    attributes = {"alpha": node.parameter} if node.function == "elu" else {}
    return writer.compute(last, node, [x], **attributes)


def _thresholded(node: Function, writer: FloatWriter, x: str) -> str:
    limit = writer.constant(f"{node.name}.threshold", np.float32(node.parameter))
    beyond = writer.step("Sub", node, "beyond", [x, limit])
    positive = writer.step("Relu", node, "positive", [beyond])
    return writer.compute("Mul", node, [x, writer.step("Sign", node, "sign", [positive])])


def _gelu(node: Function, writer: FloatWriter, x: str) -> str:
    half, one, root = (
        writer.constant(f"{node.name}.{name}", np.float32(value))
        for name, value in (("half", 0.5), ("one", 1), ("root", np.sqrt(2)))
    )
    scaled = writer.step("Div", node, "scaled", [x, root])
    error = writer.step("Erf", node, "erf", [scaled])
    gate = writer.step("Add", node, "gate", [error, one])
    product = writer.step("Mul", node, "product", [x, gate])
    return writer.compute("Mul", node, [product, half])
