"""Regions: layers kept float that follow each other, with what lies between them not rounded."""

from collections.abc import Mapping

from tinsmith_export.ir.bits import FLOAT_BITS
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import MaxPooling2D, Node, Rearrangement, Weighted, ZeroPadding2D

# They give numbers that they read, or zeros: float or codes, as they come.
_MOVING = (Rearrangement, MaxPooling2D, ZeroPadding2D)


def region(graph: Graph, name: str) -> tuple[str, ...]:
    """The layers that must be float so that the output of one of them is not rounded.

    Args:
        graph: a rewritten graph.
        name: of a layer with weights.

    Returns:
        That layer, and all that read its output; none if anything without weights computes with it,
        or if the model gives it.
    """
    readers = [node for node in _behind(graph, name) if not isinstance(node, _MOVING)]
    if not readers or not all(isinstance(node, Weighted) for node in readers):
        return ()
    return name, *(node.name for node in readers)


def unrounded(graph: Graph, bits: Mapping[str, int]) -> frozenset[str]:
    """The nodes whose output is not rounded: kept float, or a view of such, and read by such alone.

    Args:
        graph: a rewritten graph.
        bits: of the weights of each layer that has some.
    """
    found: set[str] = set()
    for node in graph.weighted:
        names = region(graph, node.name)
        if names and all(bits[name] == FLOAT_BITS for name in names):
            moved = (one.name for one in _behind(graph, node.name) if isinstance(one, _MOVING))
            found.update((node.name, *moved))
    return frozenset(found)


def _behind(graph: Graph, name: str) -> list[Node]:
    """The nodes that a node's output reaches before anything computes with it, each once."""
    found = list(graph.readers(name))
    for node in found:  # it grows
        if isinstance(node, _MOVING):
            found += [reader for reader in graph.readers(node.name) if reader not in found]
    return found
