"""The operators of the graph, and which of them no table for rewritten graphs has."""

from collections.abc import Iterator

from tinsmith_export.ir import attention, embedding, moving, normalization, ops, unrewritten
from tinsmith_export.ir.ops import Node

# Classes that others share their fields by.
BASES = (
    *("Node", "Clipped", "Pointwise", "Joined", "Weighted", "Convolution", "Pooling2D"),
    *("Rearrangement", "Normalization"),
)
ENDS = {
    "InputLayer": "an end of the graph",
    "Ids": "an end of the graph",
    "OutputLayer": "an end of the graph",
}
REWRITTEN = {
    "Affine": "becomes part of a product",
    "AveragePooling2D": "becomes a depthwise convolution",
    "Dense": "becomes a convolution",
    "LeakyReLU": "becomes a sum",
}
READ = {
    "SpaceToBatch": "becomes part of a dilated convolution",
    "Above": "becomes part of a function",
    "Refused": "stays until all that cannot be compiled is known",
}


def operators() -> Iterator[type[Node]]:
    for module in (ops, attention, embedding, moving, normalization, unrewritten):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Node) and value.__name__ not in BASES:
                yield value
