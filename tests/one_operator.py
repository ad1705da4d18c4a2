"""TFLite files of one operator on int8 tensors, made without TensorFlow's converter."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import compiling  # noqa: F401  # TensorFlow without its noise
import numpy as np
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema

from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.targets.tflite.convert import packed

_TYPES = {"int8": schema.TensorType.INT8, "int32": schema.TensorType.INT32}


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of the file: an input, the output or, with values, a constant.

    Attributes:
        shape: with the batch.
        scale: one, or one for each place of the first dimension.
        zero_point: of all.
        values: `int8` or `int32`.
    """

    shape: tuple[int, ...]
    scale: NDArray[np.float32]
    zero_point: int = 0
    values: NDArray[Any] | None = None


def computed(shape: tuple[int, ...], params: QuantParams) -> Tensor:
    """An input or the output."""
    return Tensor(shape, np.array([params.scale], np.float32), params.zero_point)


def constant(values: NDArray[Any], scale: NDArray[np.float32]) -> Tensor:
    """Weights or biases."""
    return Tensor(values.shape, scale, 0, values)


def one_operator(name: str, inputs: Sequence[Tensor], output: Tensor, options: Any = None) -> bytes:
    """Makes a file whose one operator is TFLite's `name`, `ADD` for example.

    Args:
        name: what TFLite calls it.
        inputs: in the operator's order, constants among them.
        output: what it gives.
        options: those of the operator, `schema.AddOptionsT()` for example.
    """
    model, graph, operator = schema.ModelT(), schema.SubGraphT(), schema.OperatorT()
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    # The second version of most knows int8; of a convolution the third, a scale for each channel.
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = 3 if name == "CONV_2D" else 2
    model.version, model.operatorCodes, model.buffers = 3, [code], [schema.BufferT()]
    graph.tensors = [_tensor(model, one, place) for place, one in enumerate((*inputs, output))]
    graph.inputs = [place for place, one in enumerate(inputs) if one.values is None]
    operator.inputs, operator.outputs = list(range(len(inputs))), [len(inputs)]
    graph.outputs, graph.operators, model.subgraphs = operator.outputs, [operator], [graph]
    if options is not None:
        operator.builtinOptions = options
        kind = type(options).__name__.removesuffix("T")
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
    return packed(model, 1 << 16)


def _tensor(model: Any, one: Tensor, place: int) -> Any:
    tensor, params = schema.TensorT(), schema.QuantizationParametersT()
    params.scale = one.scale
    params.zeroPoint = np.full(len(one.scale), one.zero_point, np.int64)
    tensor.name, tensor.shape, tensor.quantization = f"tensor{place}".encode(), one.shape, params
    tensor.type = _TYPES["int8" if one.values is None else one.values.dtype.name]
    if one.values is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(one.values.tobytes(), np.uint8)
        model.buffers.append(buffer)
        tensor.buffer = len(model.buffers) - 1
    return tensor
