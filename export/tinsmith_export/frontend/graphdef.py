"""The check of a SavedModel's graph, before TensorFlow imports it.

TensorFlow unpacks constants, puts the body of a function wherever it is called, and computes what
does not depend on the input while it imports. So what would be unpacked is counted first.
"""

import math
from collections.abc import Iterable, Mapping, Set
from typing import Any

import numpy as np
import tensorflow as tf

from tinsmith_export.frontend.container import MAX_ELEMENTS
from tinsmith_runtime.errors import TinsmithError

_MAX_NODES = 200_000  # the largest model of keras.applications has about 20,000
_MAX_FILLED = 64 << 20  # bytes of constants of which one value stands for all
_MAX_KNOWN = 1 << 16
# Operators that make much of little, each with the input that says how much.
_GROWING = {"Fill": 0, "Tile": 1, "BroadcastTo": 1, "Pad": 1, "PadV2": 1, "Conv2DBackpropInput": 0}
_GROWING |= {
    "ResizeNearestNeighbor": 1,
    "ResizeBilinear": 1,
    "BatchToSpaceND": 1,
    "SpaceToBatchND": 1,
    "Range": 1,
}


def check_graph(graph: Any) -> None:
    """Refuses a graph that would take more memory or time than it has a right to.

    Args:
        graph: a `GraphDef`.

    Raises:
        TinsmithError: a constant, or what is made of one, is too large; functions call themselves,
            or each other too often.
    """
    functions = {one.signature.name: one.node_def for one in graph.library.function}
    counts: dict[str, int | None] = {}
    if _count(graph.node, functions, counts) > _MAX_NODES:
        raise TinsmithError(f"its functions call each other: more than {_MAX_NODES} operators")
    filled = 0
    for nodes in (graph.node, *functions.values()):
        known: dict[str, Any] = {}
        for node in nodes:
            for setting in node.attr.values():
                for tensor in (setting.tensor, *setting.list.tensor):
                    filled += _filled(node.name, tensor)
            if filled > _MAX_FILLED:
                raise TinsmithError(
                    f"operator `{node.name}` ends {filled} bytes of constants that are not stored: "
                    f"expected at most {_MAX_FILLED}"
                )
            if node.op == "Const":
                known[node.name] = _value(node.attr["value"].tensor)
        for node in nodes:
            _check_growth(node, known)


def _count(nodes: Any, functions: Mapping[str, Any], counts: dict[str, int | None]) -> int:
    """How many operators there are with every function in the place of its calls."""
    total = len(nodes)
    for node in nodes:
        for setting in node.attr.values():
            for called in (setting.func, *setting.list.func):
                name = called.name
                if name not in functions:
                    continue
                if name not in counts:
                    if len(counts) > 500:
                        raise TinsmithError("its functions are more than 500")
                    counts[name] = None
                    counts[name] = _count(functions[name], functions, counts)
                found = counts[name]
                if found is None:
                    raise TinsmithError(f"function `{name}` calls itself: save the model again")
                total += found
    return total


def _filled(name: str, tensor: Any) -> int:
    """The bytes of a constant that the file does not hold."""
    sizes = [axis.size for axis in tensor.tensor_shape.dim]
    if min(sizes, default=0) < 0 or tensor.tensor_shape.unknown_rank:
        raise TinsmithError(f"operator `{name}` holds a constant of no size: {sizes}")
    try:
        width = max(1, tf.as_dtype(tensor.dtype).size) if tensor.dtype else 0
    except TypeError as error:
        raise TinsmithError(f"operator `{name}` holds a constant of no known type") from error
    return int(max(0, math.prod(sizes) * width - len(tensor.tensor_content)))


def _value(tensor: Any) -> Any:
    """The numbers of a small constant."""
    sizes = [axis.size for axis in tensor.tensor_shape.dim]
    if math.prod(sizes) > _MAX_KNOWN or not tf.as_dtype(tensor.dtype).is_integer:
        return None
    try:
        return tf.make_ndarray(tensor).astype(object)
    except (TypeError, ValueError) as error:
        raise TinsmithError(f"it holds a damaged constant: {error}") from error


def _check_growth(node: Any, known: Mapping[str, Any]) -> None:
    place = _GROWING.get(node.op)
    if place is None or len(node.input) <= place:
        return
    value = known.get(node.input[place].partition(":")[0])
    if value is None:
        return  # what is computed is looked at when its size is known: `trace`
    numbers = [abs(int(number)) for number in np.ravel(value)]
    size = sum(numbers) if node.op in ("Pad", "PadV2", "Range") else math.prod(numbers)
    if size > MAX_ELEMENTS:
        raise TinsmithError(
            f"operator `{node.name}` ({node.op}) asks for {size} numbers: expected at most "
            f"{MAX_ELEMENTS}"
        )


def require_small_constants(operations: Iterable[Any], reached: Set[str]) -> None:
    """Refuses constants that no machine could hold, before they are computed."""
    waiting, seen, total = list(operations), set[str](), 0
    while waiting:
        operation = waiting.pop()
        if operation.name in seen:
            continue
        seen.add(operation.name)
        total += sum(t.shape.num_elements() or 0 for t in operation.outputs)
        if total > MAX_ELEMENTS and operation.type != "Const":
            raise TinsmithError(
                f"operator `{operation.name}` ({operation.type}) makes constants of more than "
                f"{MAX_ELEMENTS} numbers"
            )
        if operation.type not in (
            "Shape",
            "Size",
            "Rank",
        ):  # known without computing what they read
            waiting += [tensor.op for tensor in operation.inputs if tensor.name not in reached]
