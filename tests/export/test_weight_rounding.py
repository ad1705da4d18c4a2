"""Weights rounded by the inputs that they meet, layer by layer."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tinsmith_export.ir.ops import Conv2D, Dense, DepthwiseConv2D, Weighted
from tinsmith_export.quantize.weight_rounding import round_weights
from tinsmith_export.reference.rebuild import built_layer

CHANNELS = 6
RNG = np.random.default_rng(1)
MIX = RNG.normal(size=(2, CHANNELS))


def weights(*shape: int) -> NDArray[np.float32]:
    return RNG.normal(size=shape).astype(np.float32)


LAYERS: dict[str, Weighted] = {
    "dense": Dense("dense", ("x",), (5,), kernel=weights(CHANNELS, 5)),
    "pointwise": Conv2D("pointwise", ("x",), (9, 9, 4), kernel=weights(1, 1, CHANNELS, 4)),
    "valid": Conv2D("valid", ("x",), (7, 7, 4), kernel=weights(3, 3, CHANNELS, 4)),
    "strided": Conv2D(
        "strided", ("x",), (4, 4, 4), kernel=weights(3, 3, CHANNELS, 4), strides=(2, 2)
    ),
    "dilated": Conv2D(
        "dilated", ("x",), (5, 5, 4), kernel=weights(3, 3, CHANNELS, 4), dilation_rate=(2, 2)
    ),
    "grouped": Conv2D(
        "grouped", ("x",), (7, 7, 4), kernel=weights(3, 3, CHANNELS // 2, 4), groups=2
    ),
    "depthwise": DepthwiseConv2D(
        "depthwise", ("x",), (9, 9, CHANNELS), kernel=weights(3, 3, CHANNELS, 1), padding="same"
    ),
    "multiplied": DepthwiseConv2D(
        "multiplied", ("x",), (7, 7, 2 * CHANNELS), kernel=weights(3, 3, CHANNELS, 2)
    ),
}  # fmt: skip


def images(count: int) -> NDArray[np.float32]:
    """Images whose pixels and channels go together, as those of photographs do."""
    shades = RNG.normal(size=(count, 1, 1, 2)) @ MIX
    return (shades + RNG.normal(size=(count, 9, 9, CHANNELS)) / 10).astype(np.float32)


def read(node: Weighted, count: int = 64) -> NDArray[np.float32]:
    found = images(count)
    return found.reshape(-1, CHANNELS) if isinstance(node, Dense) else found


def scale_of(node: Weighted) -> NDArray[np.float32]:
    """Of codes up to 7: what is lost shows."""
    largest = np.abs(node.channel_kernel.reshape(-1, node.channels)).max(axis=0)
    scale: NDArray[np.float32] = largest / np.float32(7)
    return scale


def nearest(node: Weighted) -> NDArray[np.float32]:
    scale = scale_of(node)
    codes = np.round(node.channel_kernel / scale) * scale
    return codes.reshape(node.kernel.shape).astype(np.float32)


def lost(node: Weighted, kernel: NDArray[np.float32], inputs: NDArray[np.float32]) -> float:
    """The variance of what another kernel changes in a layer's output."""
    wanted, found = (
        built_layer(one, inputs.shape)(inputs).numpy()
        for one in (node, replace(node, kernel=kernel))
    )
    return float(np.var((wanted - found).reshape(-1, node.channels), axis=0).sum())


@pytest.mark.parametrize("name", LAYERS)
def test_the_output_changes_less_than_by_the_nearest_codes(name: str) -> None:
    node = LAYERS[name]
    kernel = round_weights(node, read(node), scale_of(node))
    assert kernel is not None
    others = read(node)
    assert lost(node, kernel, others) < 0.6 * lost(node, nearest(node), others)


@pytest.mark.parametrize("name", LAYERS)
def test_codes_fit_and_the_scale_stays(name: str) -> None:
    node, scale = LAYERS[name], scale_of(LAYERS[name])
    kernel = round_weights(node, read(node), scale)
    assert kernel is not None
    assert kernel.dtype == np.float32
    assert kernel.shape == node.kernel.shape
    codes = replace(node, kernel=kernel).channel_kernel / scale
    np.testing.assert_allclose(codes, np.round(codes), atol=1e-4)
    largest = np.abs(codes.reshape(-1, node.channels)).max(axis=0)
    np.testing.assert_allclose(largest, 7, atol=1e-4)


def test_too_few_inputs_for_so_many_weights() -> None:
    node = LAYERS["dense"]
    assert round_weights(node, read(node)[: CHANNELS - 1], scale_of(node)) is None
    assert round_weights(node, read(node)[:CHANNELS], scale_of(node)) is not None


def test_inputs_that_never_vary_leave_the_nearest_codes() -> None:
    node = LAYERS["pointwise"]
    kernel = round_weights(node, np.zeros((2, 9, 9, CHANNELS), np.float32), scale_of(node))
    assert kernel is not None
    np.testing.assert_allclose(kernel, nearest(node), atol=1e-6)


def test_the_same_every_time() -> None:
    node = LAYERS["valid"]
    inputs = read(node)
    one, other = (round_weights(node, inputs, scale_of(node)) for _ in range(2))
    np.testing.assert_array_equal(one, other)
