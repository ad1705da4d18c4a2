"""Readers of the operators that move numbers along any dimension."""

from tinsmith_export.frontend.reader import Reader
from tinsmith_export.frontend.trace import Operator
from tinsmith_export.ir.moving import Transpose
from tinsmith_export.ir.ops import Node


def transpose(reader: Reader, operator: Operator) -> Node:
    """The dimensions of each image in another order."""
    source, perm = reader.source(operator), reader.known(operator, 1).tolist()
    if len(perm) != len(source.shape) + 1 or perm[0] != 0:
        raise reader.unsupported(operator, "an order of dimensions that leaves the images apart")
    axes = tuple(axis - 1 for axis in perm[1:])
    if axes == tuple(range(len(axes))):
        return source
    return reader.add(Transpose(*reader.place(operator), axes=axes))
