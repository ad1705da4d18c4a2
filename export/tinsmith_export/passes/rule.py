"""A rewrite of a graph by a rule for one node."""

import functools
from collections.abc import Callable
from typing import TypeVar

from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Node

AnyNode = TypeVar("AnyNode", bound=Node)


def for_each(
    kind: type[AnyNode],
) -> Callable[[Callable[[Graph, AnyNode], Graph]], Callable[[Graph], Graph]]:
    """Makes a rewrite of a rule: it goes over the nodes of a class, in the order of computation.

    The rule gets the graph and the node as the nodes before have left both, and gives the graph
    that it makes of it, or the same.
    """

    def rewrite_by(rule: Callable[[Graph, AnyNode], Graph]) -> Callable[[Graph], Graph]:
        @functools.wraps(rule)
        def rewrite(graph: Graph) -> Graph:
            for name in [node.name for node in graph.nodes if isinstance(node, kind)]:
                node = graph.node(name)
                if isinstance(node, kind):
                    graph = rule(graph, node)
            return graph

        return rewrite

    return rewrite_by
