"""Compares the interpreter with LiteRT, layer by layer."""

import numpy as np
from compiling import Compiled

from tinsmith_export.ir.interpret import interpret, tolerance_lsb
from tinsmith_export.ir.ops import Reshape, ZeroPadding2D
from tinsmith_export.ir.quantization import QuantGraph
from tinsmith_export.targets.integers import quant_graph
from tinsmith_export.targets.tflite.target import TfliteTarget
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
    model = quant_graph(made.integers)
    codes = concatenate([made.codes, joined(random)])
    require_same_codes(model, made.files["model.int8.tflite"], codes)


def require_same_codes(model: QuantGraph, data: bytes, codes: Arrays) -> None:
    """Asserts that the interpreter gives LiteRT's codes in every layer of an int8 TFLite file.

    Where a layer that is computed in float differs, what stands behind it is given other codes:
    the comparison ends there.
    """
    found, there = interpret(model, codes), TfliteTarget().layer_outputs(data, model.graph, codes)
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
