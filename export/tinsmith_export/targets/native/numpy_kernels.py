"""Each kind of a plan's operators in numpy."""

import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.ir.interpret.operands import Codes
from tinsmith_export.ir.interpret.rounding import quantize, requantize, scaled_sum
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.ir.softmax import softmax_codes
from tinsmith_export.targets.native.copies import LOOPS
from tinsmith_export.targets.native.plan import Kind, PlanOperator, PlanTensor

Tensors = tuple[PlanTensor, ...]


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


def _minimum(
    operator: PlanOperator, inputs: list[Codes], tensors: Tensors, output: PlanTensor
) -> Codes:
    return np.minimum(*inputs)


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


def _matrix_product(
    operator: PlanOperator, inputs: list[Codes], tensors: Tensors, output: PlanTensor
) -> Codes:
    one, other = (codes.astype(np.float64) for codes in _centered(inputs, tensors))
    scale = np.array(operator.words[0], np.uint32).view(np.float32)
    return requantize((one @ other).astype(np.int32), scale, _params(output))


def _softmax(
    operator: PlanOperator, inputs: list[Codes], tensors: Tensors, output: PlanTensor
) -> Codes:
    return softmax_codes(inputs[0], np.frombuffer(operator.constants[0], "<u4"))


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


COMPUTE: dict[Kind, Callable[[PlanOperator, list[Codes], Tensors, PlanTensor], Codes]] = {
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
    Kind.COPY: _copy,
    Kind.GATHER: _gather,
    Kind.MATRIX_PRODUCT: _matrix_product,
    Kind.SOFTMAX: _softmax,
    Kind.MINIMUM: _minimum,
    Kind.NORMALIZE: _normalize,
    Kind.EMBEDDING: _embedding,
}
