"""The flat list of layers: what it finds, and how fast."""

import time

import numpy as np
import pytest

from tinsmith_export.graph import Graph, Node
from tinsmith_export.ranges import Range, separate, share_ranges
from tinsmith_export.rewrite import part_outputs


def nested(depth: int) -> Graph:
    """A layer, and concatenations of a tensor with itself and with its pooling."""
    weights = {"kernel": np.ones((1, 1, 1, 1), np.float32)}
    nodes = [
        Node("input", "InputLayer", (), (1, 1, 1)),
        Node("first", "Conv2D", ("input",), (1, 1, 1), {}, weights),
    ]
    for level in range(depth):
        last = nodes[-1].name
        pooled = Node(f"pool{level}", "MaxPooling2D", (last,), (1, 1, 1))
        joined = Node(f"join{level}", "Concatenate", (last, pooled.name, last), (1, 1, 1))
        nodes += [pooled, joined]
    config = {"name": "out", "activation": "none"}
    return Graph((*nodes, Node("out", "Output", (nodes[-1].name,), (1, 1, 1), config)))


def test_nested_concatenations_take_no_time() -> None:
    graph, start = nested(60), time.process_time()
    assert graph.sources("join59") == {"first"}
    assert separate(part_outputs(graph)) == graph
    ranges = share_ranges(graph, {"first": (0.0, 1.0)}, {"input": Range(1.0, -128)})
    assert ranges["join59"] == ranges["first"] != ranges["input"]
    # Each way through the graph, one by one, would be 3^60 of them.
    assert time.process_time() - start < 5


def test_an_unknown_layer_is_named() -> None:
    for find in (nested(1).node, nested(1).sources):
        with pytest.raises(KeyError, match="nobody"):
            find("nobody")
