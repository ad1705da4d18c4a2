"""Compares the interpreter and the plan with LiteRT, layer by layer."""

from collections.abc import Mapping

import numpy as np
from compiling import Compiled

from tinsmith_export.ir.interpret import interpret, tolerance_lsb
from tinsmith_export.ir.moving import Transpose
from tinsmith_export.ir.ops import Function, Reshape, ZeroPadding2D
from tinsmith_export.ir.quantization import QuantGraph
from tinsmith_export.targets.integers import quant_graph
from tinsmith_export.targets.native.target import NativeTarget
from tinsmith_export.targets.target import IntegerModel
from tinsmith_export.targets.tflite.target import TfliteTarget
from tinsmith_runtime.batch import Array, Arrays, concatenate, joined, parts

RANDOM_COUNT = 32


def require_interpreted(made: Compiled) -> None:
    """Asserts that interpreter and plan give LiteRT's codes in every layer of a model.

    On the inputs that it was calibrated on, and on random codes.
    """
    rng = np.random.default_rng(2)
    random = [
        rng.integers(-128, 128, (RANDOM_COUNT, *array.shape[1:])).astype(np.int8)
        for array in parts(made.codes)
    ]
    data, codes = made.files["model.int8.tflite"], concatenate([made.codes, joined(random)])
    require_same_codes(quant_graph(made.integers), data, codes)
    require_same_plan(made.integers, data, codes)


def require_same_codes(model: QuantGraph, data: bytes, codes: Arrays) -> None:
    """Asserts that the interpreter gives LiteRT's codes in every layer of an int8 TFLite file."""
    _compare(model, interpret(model, codes), data, codes)


def require_same_plan(integers: IntegerModel, data: bytes, codes: Arrays) -> None:
    """Asserts that a plan gives LiteRT's codes: on libtinsmith, in numpy where that is missing."""
    model, target = quant_graph(integers), NativeTarget()
    plan = target.emit(integers)
    assert plan == target.emit(integers)
    found = target.layer_outputs(plan, model.graph, codes)
    # What is missing is part of a convolution.
    missing = {node.name for node in model.graph.layers} - found.keys()
    assert all(isinstance(model.graph.node(name), ZeroPadding2D) for name in missing)
    _compare(model, found, data, codes, tables=True)


def _compare(
    model: QuantGraph, found: Mapping[str, Array], data: bytes, codes: Arrays, tables: bool = False
) -> None:
    """Compares every layer with LiteRT's.

    Where a layer that is computed in float differs, what stands behind it is given other codes:
    the comparison ends there. With LiteRT's `tables`, a function gives its codes.
    """
    there = TfliteTarget().layer_outputs(data, model.graph, codes)
    for node in model.graph.layers:
        if node.name not in there or node.name not in found:
            # The converter names a reshape after its neighbours, and makes a padding part of the
            # convolution behind it, and a transposition of a matrix part of the product behind it.
            # What is not rounded has no codes.
            known = (
                isinstance(node, Reshape | Transpose | ZeroPadding2D)
                or node.name in model.unrounded
            )
            assert known, node.name
            continue
        wanted = there[node.name].reshape(found[node.name].shape).astype(np.int16)
        lsb = int(np.abs(found[node.name] - wanted).max())
        exact = tables and isinstance(node, Function)
        allowed = 0 if exact else tolerance_lsb(node, model.weights.get(node.name))
        assert lsb <= allowed, node.name
        if lsb:
            return
