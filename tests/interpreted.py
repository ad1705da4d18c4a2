"""Compares the interpreter with LiteRT, layer by layer."""

from collections.abc import Mapping

import numpy as np
from compiling import Compiled
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema

from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.interpret import interpret, tolerance_lsb
from tinsmith_export.ir.ops import Reshape, ZeroPadding2D
from tinsmith_export.ir.quantization import QuantGraph
from tinsmith_export.targets.integers import quant_graph
from tinsmith_export.targets.tflite import layer_of, packed
from tinsmith_runtime.backends import litert
from tinsmith_runtime.batch import Arrays, concatenate, joined, parts

RANDOM_COUNT = 32


def require_interpreted(made: Compiled) -> None:
    """Asserts that the interpreter gives LiteRT's codes in every layer of a model.

    On the inputs that it was calibrated on, and on random codes.
    """
    rng = np.random.default_rng(2)
    random = [
        rng.integers(-128, 128, (RANDOM_COUNT, *array.shape[1:])).astype(np.int8)
        for array in parts(made.codes)
    ]
    model = quant_graph(made.quantized, made.products)
    codes = concatenate([made.codes, joined(random)])
    require_same_codes(model, made.files["model.int8.tflite"], codes)


def require_same_codes(model: QuantGraph, data: bytes, codes: Arrays) -> None:
    """Asserts that the interpreter gives LiteRT's codes in every layer of an int8 TFLite file.

    Where a layer that is computed in float differs, what stands behind it is given other codes:
    the comparison ends there.
    """
    found, there = interpret(model, codes), litert_layers(data, model.graph, codes)
    for node in model.graph.layers:
        if node.name not in there:
            # The converter names a reshape after its neighbours, and makes a padding part of the
            # convolution behind it.
            assert isinstance(node, Reshape | ZeroPadding2D), node.name
            continue
        wanted = there[node.name].reshape(found[node.name].shape).astype(np.int16)
        lsb = int(np.abs(found[node.name] - wanted).max())
        assert lsb <= tolerance_lsb(node, model.weights.get(node.name)), node.name
        if lsb:
            return


def litert_layers(data: bytes, graph: Graph, codes: Arrays) -> Mapping[str, NDArray[np.int8]]:
    """What LiteRT gives for each layer of an int8 file, `(N, …)`, by the layer's name."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    (subgraph,) = model.subgraphs
    known, last = {node.name for node in graph.nodes}, {}
    for operator in subgraph.operators:
        (target,) = operator.outputs
        if subgraph.tensors[target].type != schema.TensorType.INT8:
            continue
        name = layer_of(subgraph.tensors[target].name.decode())
        while name and name not in known:  # it goes on with a scope inside the layer
            name = name.rpartition("/")[0]
        last[name] = target  # of several operators of a layer the last
    subgraph.outputs = sorted(set(last.values()))
    model.signatureDefs = []
    found = litert.run_outputs(packed(model, len(data)), codes)
    return {
        layer: found[subgraph.tensors[index].name.decode()]
        for layer, index in last.items()
        if layer
    }
