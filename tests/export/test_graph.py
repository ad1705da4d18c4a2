"""The flat list of layers: what it finds, and how fast."""

import time

import numpy as np
import pytest

from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Concatenate, Conv2D, InputLayer, MaxPooling2D, Node, OutputLayer
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.passes.rewrite import part_outputs
from tinsmith_export.quantize.ranges import share_ranges
from tinsmith_export.quantize.separate import separate


def nested(depth: int) -> Graph:
    """A layer, and concatenations of a tensor with itself and with its pooling."""
    shape = (1, 1, 1)
    nodes: list[Node] = [
        InputLayer("input", (), shape),
        Conv2D("first", ("input",), shape, kernel=np.ones((1, *shape), np.float32)),
    ]
    for level in range(depth):
        last = nodes[-1].name
        pooled = MaxPooling2D(
            f"pool{level}", (last,), shape, pool_size=(1, 1), strides=(1, 1), padding="valid"
        )
        joined = Concatenate(f"join{level}", (last, pooled.name, last), shape, axis=len(shape) - 1)
        nodes += [pooled, joined]
    return Graph((*nodes, OutputLayer("out", (nodes[-1].name,), shape, title="out")))


def test_nested_concatenations_take_no_time() -> None:
    graph, start = nested(60), time.process_time()
    assert graph.sources("join59") == {"first"}
    observed, inputs = {"first": (0.0, 1.0)}, {"input": QuantParams(1.0, -128)}
    assert separate(part_outputs(graph), observed, inputs) == (graph, observed)
    ranges = share_ranges(graph, observed, inputs)
    assert ranges["join59"] == ranges["first"] != ranges["input"]
    # Each way through the graph, one by one, would be 3^60 of them.
    assert time.process_time() - start < 5


def test_an_unknown_layer_is_named() -> None:
    for find in (nested(1).node, nested(1).sources):
        with pytest.raises(KeyError, match="nobody"):
            find("nobody")
