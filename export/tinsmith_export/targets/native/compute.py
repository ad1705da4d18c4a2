"""A plan in numpy, in an arena as libtinsmith has it: what checks a plan where that is missing."""

import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.ir.interpret.operands import Codes
from tinsmith_export.ir.interpret.rounding import quantize, requantize, scaled_sum
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.targets.native.copies import LOOPS
from tinsmith_export.targets.native.plan import Kind, Plan, PlanOperator, PlanTensor, read_plan
from tinsmith_runtime.backends import Backend, Operator, TensorInfo, signed
from tinsmith_runtime.batch import Arrays, count, joined, parts

Tensors = tuple[PlanTensor, ...]


class PlanBackend(Backend):
    """A plan, whatever the number of threads."""

    code_dtype, max_lsb, version = np.dtype(np.int8), 0, f"numpy {np.__version__}"

    def __init__(self, model: bytes, threads: int) -> None:
        plan = self._plan = read_plan(model)
        self.inputs, self.outputs = (
            tuple(_info(plan.tensors[end.tensor], end.name) for end in ends)
            for ends in (plan.inputs, plan.outputs)
        )

    def run(self, batch: Arrays) -> Arrays:
        """See `Backend.run`."""
        *_, arena = _steps(self._plan, batch)
        ends = (self._plan.tensors[end.tensor] for end in self._plan.outputs)
        return joined([_codes(one, arena).copy() for one in ends])

    def profile(self, batch: Arrays) -> tuple[Operator, ...]:
        """See `Backend.profile`: it times nothing."""
        plan = self._plan
        return tuple(
            Operator(plan.tensors[one.output].name, one.kind.name.lower(), "integer", None)
            for one in plan.operators
        )


def layer_outputs(plan: Plan, batch: Arrays) -> dict[str, Codes]:
    """The codes of every tensor that an operator computes, `int8 (N, …)`, by its name."""
    written = [plan.tensors[operator.output] for operator in plan.operators]
    steps = zip(written, _steps(plan, batch), strict=True)
    return {tensor.name: _codes(tensor, arena).copy() for tensor, arena in steps}


def _info(tensor: PlanTensor, name: str) -> TensorInfo:
    return TensorInfo(name, tensor.shape, np.dtype(np.int8), tensor.scale, tensor.zero_point)


def _steps(plan: Plan, batch: Arrays) -> Iterator[Codes]:
    """Computes one operator after the other; gives the arena behind each, `int8 (N, bytes)`."""
    arena = np.zeros((count(batch), plan.arena_bytes), np.int8)
    for end, codes in zip(plan.inputs, parts(batch), strict=True):
        _codes(plan.tensors[end.tensor], arena)[:] = signed(codes)
    for operator in plan.operators:
        tensors = tuple(plan.tensors[i] for i in operator.inputs)
        output = plan.tensors[operator.output]
        inputs = [_codes(tensor, arena) for tensor in tensors]
        found = _COMPUTE[operator.kind](operator, inputs, tensors, output)
        _codes(output, arena)[:] = found.reshape(-1, *output.shape)
        yield arena


def _codes(tensor: PlanTensor, arena: Codes) -> Codes:
    """What lies at a tensor's place, `int8 (N, …)`, or a constant."""
    if tensor.data is not None:
        return np.frombuffer(tensor.data, np.int8).reshape(1, *tensor.shape)
    size = int(np.prod(tensor.shape))
    return arena[:, tensor.offset : tensor.offset + size].reshape(-1, *tensor.shape)


def _params(tensor: PlanTensor) -> QuantParams:
    return QuantParams(tensor.scale, tensor.zero_point)


def _centered(inputs: list[Codes], tensors: Tensors) -> list[NDArray[np.int32]]:
    """Codes less their zero points."""
    pairs = zip(inputs, tensors, strict=True)
    return [codes.astype(np.int32) - np.int32(tensor.zero_point) for codes, tensor in pairs]


def _windows(
    image: NDArray[Any], output: PlanTensor, words: tuple[int, ...], outside: int = 0
) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """For each row and column of a window, the pixels that all windows have there."""
    size, strides, dilation, pads = (words[i : i + 2] for i in (0, 2, 4, 6))
    around, spans = [(0, 0)], []
    for axis in (0, 1):
        spans.append((output.shape[axis] - 1) * strides[axis] + 1)
        reach = spans[axis] + (size[axis] - 1) * dilation[axis]
        around.append((pads[axis], max(reach - pads[axis] - image.shape[1 + axis], 0)))
    image = np.pad(image, (*around, (0, 0)), constant_values=outside)
    for row, column in np.ndindex(size):
        top, left = row * dilation[0], column * dilation[1]
        yield (
            row,
            column,
            image[
                :,
                top : top + spans[0] : strides[0],
                left : left + spans[1] : strides[1],
            ],
        )


def _sums(
    image: NDArray[Any], kernel: NDArray[Any], operator: PlanOperator, output: PlanTensor
) -> Any:
    """Sums of products, `float64 (N, H, W, M)`; those of integers are exact."""
    groups, channels = operator.words[8], output.shape[-1]
    image = image.astype(np.float64)
    weights = kernel.astype(np.float64).reshape(groups, channels // groups, *operator.words[:2], -1)
    sums = np.zeros((*output.shape[:2], len(image), groups, channels // groups))
    sums = np.moveaxis(sums, 2, 0)
    for row, column, pixels in _windows(image, output, operator.words):
        split = pixels.reshape(*pixels.shape[:3], groups, 1, -1)
        sums = sums + (split @ weights[:, :, row, column].transpose(0, 2, 1))[..., 0, :]
    return sums.reshape(len(image), *output.shape)


def _product(
    operator: PlanOperator, inputs: list[Codes], tensors: Tensors, output: PlanTensor
) -> Codes:
    kernel, bias, scale = (
        np.frombuffer(data, dtype)
        for data, dtype in zip(operator.constants, ("i1", "<i4", "<f4"), strict=True)
    )
    (image,) = _centered(inputs, tensors)
    sums = _sums(image, kernel, operator, output) + bias
    return requantize(sums.astype(np.int32), scale, _params(output))


def _float_product(
    operator: PlanOperator, inputs: list[Codes], tensors: Tensors, output: PlanTensor
) -> Codes:
    kernel, bias = (np.frombuffer(data, "<f4") for data in operator.constants)
    sums = _sums(_params(tensors[0]).reals(inputs[0]), kernel, operator, output)
    return quantize(sums + bias, _params(output))


def _add(
    operator: PlanOperator, inputs: list[Codes], tensors: Tensors, output: PlanTensor
) -> Codes:
    one, other = _centered(inputs, tensors)
    return scaled_sum(one, other, operator.words, _params(output))


def _multiply(
    operator: PlanOperator, inputs: list[Codes], tensors: Tensors, output: PlanTensor
) -> Codes:
    one, other = _centered(inputs, tensors)
    scale = np.array(operator.words[0], np.uint32).view(np.float32)
    return requantize(one * other, scale, _params(output))


def _maximum(
    operator: PlanOperator, inputs: list[Codes], tensors: Tensors, output: PlanTensor
) -> Codes:
    one, other = _centered(inputs, tensors)
    return (np.maximum(one, other) + tensors[0].zero_point).astype(np.int8)


def _table(
    operator: PlanOperator, inputs: list[Codes], tensors: Tensors, output: PlanTensor
) -> Codes:
    return np.frombuffer(operator.constants[0], np.int8)[inputs[0].astype(np.int16) + 128]


def _max_pool(
    operator: PlanOperator, inputs: list[Codes], tensors: Tensors, output: PlanTensor
) -> Codes:
    words = *operator.words[:4], 1, 1, *operator.words[4:]
    found: Codes = np.max([p for *_, p in _windows(inputs[0], output, words, -128)], axis=0)
    return found


def _pad(
    operator: PlanOperator, inputs: list[Codes], tensors: Tensors, output: PlanTensor
) -> Codes:
    (top, left), (height, width) = operator.words, inputs[0].shape[1:3]
    found = np.full((len(inputs[0]), *output.shape), output.zero_point, np.int8)
    found[:, top : top + height, left : left + width] = inputs[0]
    return found


def _crop(
    operator: PlanOperator, inputs: list[Codes], tensors: Tensors, output: PlanTensor
) -> Codes:
    (top, left), (height, width) = operator.words, output.shape[:2]
    return inputs[0][:, top : top + height, left : left + width]


def _upsample(
    operator: PlanOperator, inputs: list[Codes], tensors: Tensors, output: PlanTensor
) -> Codes:
    rows, columns = operator.words
    return inputs[0].repeat(rows, axis=1).repeat(columns, axis=2)


def _depth_to_space(
    operator: PlanOperator, inputs: list[Codes], tensors: Tensors, output: PlanTensor
) -> Codes:
    (block,), (height, width) = operator.words, inputs[0].shape[1:3]
    blocks = inputs[0].reshape(-1, height, width, block, block, output.shape[-1])
    return blocks.transpose(0, 1, 3, 2, 4, 5)


def _concatenate(
    operator: PlanOperator, inputs: list[Codes], tensors: Tensors, output: PlanTensor
) -> Codes:
    return np.concatenate(inputs, axis=-1 - operator.words[0])


def _reshape(
    operator: PlanOperator, inputs: list[Codes], tensors: Tensors, output: PlanTensor
) -> Codes:
    return inputs[0].copy()


def _normalize(
    operator: PlanOperator, inputs: list[Codes], tensors: Tensors, output: PlanTensor
) -> Codes:
    gamma, beta = (np.frombuffer(data, "<f4") for data in operator.constants)
    (epsilon,) = struct.unpack("<d", struct.pack("<2I", *operator.words[:2]))
    rows, groups, centered = operator.words[2:] or (1, 1, 1)
    x = _params(tensors[0]).reals(inputs[0]).astype(np.float64)
    x = x.reshape(-1, rows, groups, len(gamma) // groups)
    if centered:
        x = x - x.mean((1, 3), keepdims=True)
    x = x / np.sqrt(np.square(x).mean((1, 3), keepdims=True) + epsilon)
    return quantize(x.reshape(-1, len(gamma)) * gamma + beta, _params(output))


def _embedding(
    operator: PlanOperator, inputs: list[Codes], tensors: Tensors, output: PlanTensor
) -> Codes:
    rows = np.frombuffer(operator.constants[0], np.int8).reshape(-1, output.shape[-1])
    low, high = np.moveaxis(inputs[0].astype(np.int32) + 128, -1, 0)
    found: Codes = rows[np.minimum(low + 256 * high, len(rows) - 1)]
    return found


def _copy(
    operator: PlanOperator, inputs: list[Codes], tensors: Tensors, output: PlanTensor
) -> Codes:
    *words, offset = np.array(operator.words, np.uint32).astype(np.int32)
    places = np.array(offset)
    for times, step in zip(words[:LOOPS], words[LOOPS:], strict=True):
        places = np.add.outer(places, np.arange(times) * step)
    return inputs[0].reshape(len(inputs[0]), -1)[:, places]


def _gather(
    operator: PlanOperator, inputs: list[Codes], tensors: Tensors, output: PlanTensor
) -> Codes:
    indices = np.frombuffer(operator.constants[0], "<u4")
    return inputs[0].take(indices, axis=-1 - operator.words[0])


_COMPUTE: dict[Kind, Callable[[PlanOperator, list[Codes], Tensors, PlanTensor], Codes]] = {
    Kind.PRODUCT: _product,
    Kind.FLOAT_PRODUCT: _float_product,
    Kind.ADD: _add,
    Kind.MULTIPLY: _multiply,
    Kind.MAXIMUM: _maximum,
    Kind.TABLE: _table,
    Kind.MAX_POOL: _max_pool,
    Kind.PAD: _pad,
    Kind.CROP: _crop,
    Kind.UPSAMPLE: _upsample,
    Kind.DEPTH_TO_SPACE: _depth_to_space,
    Kind.CONCATENATE: _concatenate,
    Kind.RESHAPE: _reshape,
    Kind.LAYER_NORM: _normalize,
    Kind.NORMALIZE: _normalize,
    Kind.EMBEDDING: _embedding,
    Kind.COPY: _copy,
    Kind.GATHER: _gather,
}
