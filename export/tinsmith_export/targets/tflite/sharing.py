"""Weights that several products of a TFLite file share, stored once."""

from typing import Any

from tensorflow.lite.python import schema_py_generated as schema

from tinsmith_export.ir.graph import Graph
from tinsmith_export.targets.tflite.convert import PRODUCTS, layer_of, operator_name, packed


def share_weights(data: bytes, graph: Graph) -> bytes:
    """Lets products with shared weights read those of the first, and takes the others out.

    Args:
        data: a TFLite file, int8 or with layers kept float.
        graph: what it was made of.
    """
    shared = {node.name: node.shared for node in graph.weighted if node.shared}
    if not shared:
        return data
    model, first = schema.ModelT.InitFromPackedBuf(data, 0), dict[tuple[str, int], list[int]]()
    (subgraph,) = model.subgraphs
    for operator in subgraph.operators:
        layer = layer_of(subgraph.tensors[operator.outputs[0]].name.decode())
        if layer in shared and operator_name(model, operator) in PRODUCTS:
            source, *weights = operator.inputs
            key = shared[layer], subgraph.tensors[weights[0]].type
            operator.inputs = [source, *first.setdefault(key, weights)]
    _drop_unread(model, subgraph)
    return packed(model, len(data))


def _drop_unread(model: Any, subgraph: Any) -> None:
    """Takes out the tensors that nothing reads or gives, and their buffers."""
    ends = [subgraph.inputs, subgraph.outputs]
    ends += [side for one in subgraph.operators for side in (one.inputs, one.outputs)]
    used = sorted({index for end in ends for index in end if index >= 0})
    place = {-1: -1, **{index: number for number, index in enumerate(used)}}
    subgraph.tensors = [subgraph.tensors[index] for index in used]
    subgraph.inputs, subgraph.outputs = (_placed(end, place) for end in ends[:2])
    for operator in subgraph.operators:
        operator.inputs, operator.outputs = (
            _placed(side, place) for side in (operator.inputs, operator.outputs)
        )
    for signature in model.signatureDefs or ():
        for end in (*signature.inputs, *signature.outputs):
            end.tensorIndex = place[end.tensorIndex]
    holders = [*subgraph.tensors, *(model.metadata or ())]
    kept = sorted({0, *(one.buffer for one in holders)})  # the first is that of no data
    number = {index: count for count, index in enumerate(kept)}
    model.buffers = [model.buffers[index] for index in kept]
    for one in holders:
        one.buffer = number[one.buffer]


def _placed(indices: Any, place: dict[int, int]) -> list[int]:
    return [place[int(index)] for index in indices]
