"""How normalizations are written to an ONNX file, float or int8 alike."""

import math

import numpy as np

from tinsmith_export.ir.normalization import GroupNormalization, LayerNormalization
from tinsmith_export.targets.onnx.writer import FloatWriter


def write_layer_normalization(node: LayerNormalization, writer: FloatWriter) -> str:
    """Writes one of each place and gives the tensor of its output."""
    # Over the channels, which ONNX's operator wants last.
    x = writer.channels_last_reals(node)
    if not node.centered:
        return writer.to_channels_first(_by_root_mean_square(writer, node, x), node.shape)
    weights = [
        writer.constant(f"{node.name}.{part}", values)
        for part, values in (("gamma", node.gamma), ("beta", node.beta))
    ]
    normal = writer.compute(
        "LayerNormalization", node, [x, *weights], axis=-1, epsilon=node.epsilon
    )
    return writer.to_channels_first(normal, node.shape)


def _by_root_mean_square(writer: FloatWriter, node: LayerNormalization, x: str) -> str:
    squares = writer.step("Mul", node, "squares", [x, x])
    mean = writer.step("ReduceMean", node, "mean", [squares], axes=[-1])
    names = ("epsilon", "gamma", "beta")
    epsilon, gamma, beta = (
        writer.constant(f"{node.name}.{name}", np.asarray(getattr(node, name), np.float32))
        for name in names
    )
    root = writer.step("Sqrt", node, "root", [writer.step("Add", node, "above", [mean, epsilon])])
    normal = writer.step("Div", node, "normal", [x, root])
    scaled = writer.step("Mul", node, "scaled", [normal, gamma])
    return writer.compute("Add", node, [scaled, beta])


def write_group_normalization(node: GroupNormalization, writer: FloatWriter) -> str:
    """Writes one over all places and gives the tensor of its output."""
    # Each group as one channel of a sequence: the channels come first, so it is one behind another.
    x, image = writer.reals(node), len(node.shape) == 3
    if not image:
        x = writer.step("Transpose", node, "turned", [x], perm=(0, 2, 1))
    *places, channels = node.shape
    shapes: dict[str, tuple[int, ...]] = {
        "groups": (-1, node.groups, math.prod(places) * channels // node.groups),
        "whole": (-1, channels, *places),
    }
    sizes = {
        name: writer.constant(f"{node.name}.{name}_shape", np.array(shape))
        for name, shape in shapes.items()
    }
    ones = writer.constant(f"{node.name}.ones", np.ones(node.groups, np.float32))
    zeros = writer.constant(f"{node.name}.zeros", np.zeros(node.groups, np.float32))
    gamma, beta = (
        writer.constant(f"{node.name}.{name}", getattr(node, name).reshape(-1, *(1,) * len(places)))
        for name in ("gamma", "beta")
    )
    groups = writer.step("Reshape", node, "groups", [x, sizes["groups"]])
    normal = writer.step(
        "InstanceNormalization", node, "normal", [groups, ones, zeros], epsilon=node.epsilon
    )
    whole = writer.step("Reshape", node, "whole", [normal, sizes["whole"]])
    scaled = writer.step("Mul", node, "scaled", [whole, gamma])
    if image:
        return writer.compute("Add", node, [scaled, beta])
    shifted = writer.step("Add", node, "shifted", [scaled, beta])
    return writer.compute("Transpose", node, [shifted], perm=(0, 2, 1))
