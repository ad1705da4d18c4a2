"""Rewrites of the graph into the few layers that quantize well; none changes the outputs."""

from dataclasses import replace

from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.ir.attention import Softmax
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Clip, Function, Node, Reshape
from tinsmith_export.ir.shapes import require_shapes
from tinsmith_export.ir.unrewritten import Refused
from tinsmith_export.passes.affine import (
    affine_by_convolution,
    fold_affine,
    fold_affine_forward,
    hoist_factor,
    merge_affines,
)
from tinsmith_export.passes.channels import fold_channel_order
from tinsmith_export.passes.clips import fuse_clips, hoist_clips, split_clips, swap_affine
from tinsmith_export.passes.convolutions import (
    dense_by_convolution,
    identity,
    pool_by_convolution,
    spread_dilation,
)
from tinsmith_export.passes.patterns import (
    find_gelu,
    join_upsamplings,
    limit_masks,
    split_leaky_relu,
    square_before_reshape,
)
from tinsmith_export.passes.rule import for_each
from tinsmith_export.passes.transpositions import move_transpositions

# Functions that stay an operator of their own: the engines have a kernel for them on integers, or
# compute them in float between two roundings.
FUNCTIONS = (
    *("sigmoid", "tanh", "gelu", "elu", "softplus", "selu", "softsign"),
    *("exp", "log", "sqrt", "rsqrt", "reciprocal", "thresholded"),
)
# In this order: each finds what those before have left.
REWRITES = (
    join_upsamplings,
    merge_affines,
    find_gelu,
    split_leaky_relu,
    pool_by_convolution,
    spread_dilation,
)
FOLDS = (merge_affines, swap_affine, hoist_factor, hoist_clips, fold_affine)
LAST = (
    fold_channel_order,
    fold_affine_forward,
    affine_by_convolution,
    hoist_clips,
    fuse_clips,
    split_clips,
    dense_by_convolution,
    square_before_reshape,
)


def rewrite(graph: Graph) -> Graph:
    """Brings a graph to the form that is quantized.

    Returns:
        The graph, whose outputs are now logits or values; the `activation` of each says what made
        an answer of them: `softmax`, `sigmoid` or `none`.

    Raises:
        UnsupportedLayerError: layers could not be read, or stand where no rewrite can deal with
            them: all of them, each by name.
        ConversionError: a rewrite made of a layer something else.
    """
    graph = join_reshapes(move_transpositions(graph))
    graph = strip_output_activations(graph)
    for step in REWRITES:
        graph = step(graph)
    graph = limit_masks(graph)
    before = None
    while graph != before:  # a fold can make room for another
        before = graph
        for step in FOLDS:
            graph = step(graph)
    for step in LAST:
        graph = step(graph)
    graph = part_shared(part_outputs(join_reshapes(move_transpositions(graph))))
    _require_compiled(graph)
    if not graph.weighted:
        raise UnsupportedLayerError("the model multiplies by no weights: nothing to quantize")
    require_shapes(graph)
    return graph


def _require_compiled(graph: Graph) -> None:
    """Refuses the layers that were not read, and those that are left without an integer form."""
    reasons: dict[str, str] = {}
    for node in graph.layers:
        layer = node.name.partition("/")[0]
        reason = node.reason if isinstance(node, Refused) else _formless(node, layer)
        if reason:
            reasons.setdefault(layer, reason)
    if reasons:
        raise UnsupportedLayerError(*reasons.values())


def _formless(node: Node, layer: str) -> str:
    """Why a node has no integer form; nothing if it has one."""
    has_codes = node.requantizes or node.moves_codes or isinstance(node, Clip)
    function = node.function if isinstance(node, Function) else None
    if has_codes and function in (None, *FUNCTIONS):
        return ""
    what = function or node.kind
    return (
        f"layer `{layer}` cannot be compiled there: {what} has no integer form "
        "(docs/reference/layers.md lists the layers that compile)"
    )


def strip_output_activations(graph: Graph) -> Graph:
    """Takes off a last softmax or sigmoid: the runtime applies it in float (FP32) instead."""
    for output in graph.answers:
        if output.activation != "none":
            continue
        last = graph.node(output.inputs[0])
        function = last.function if isinstance(last, Function) else None
        function = "softmax" if isinstance(last, Softmax) else function
        # A sigmoid runs on integers too; of more than a row of numbers it is left to the engine.
        if function == "softmax" or (function == "sigmoid" and len(last.shape) == 1):
            graph = graph.replaced(replace(output, inputs=last.inputs, activation=function))
    return graph.pruned()


def part_outputs(graph: Graph) -> Graph:
    """Requantizes what is an output already, or an input: each output is a tensor of its own.

    And what a layer reads that computes in float: TensorFlow's converter takes the DEQUANTIZE away
    from that layer where it makes the output integer.
    """
    taken = {(node.name, node.shape) for node in graph.inputs}
    states = [output for output in graph.outputs if output not in graph.answers]
    for output in (*states, *graph.answers):  # rounded once more, a state would be so in each step
        (source,) = output.inputs
        tensor = _unshaped(graph, source), output.shape
        if tensor in taken or source in _read_in_float(graph):
            copy = identity(replace(output, name=f"{output.title}/copy"))
            graph = graph.replaced(replace(output, inputs=(copy[-1].name,)), *copy)
        taken.add(tensor)
    return graph


def _unshaped(graph: Graph, name: str) -> str:
    """What a node is a reshape of, or of a reshape."""
    while isinstance(node := graph.node(name), Reshape):
        (name,) = node.inputs
    return name


def part_shared(graph: Graph) -> Graph:
    """Takes apart products that shared weights until a fold gave some of them others.

    What stands behind the gates of a recurrent layer's first step may not stand behind all.
    """
    known: dict[str, list[tuple[bytes, bytes]]] = {}
    for node in graph.weighted:
        if node.shared:
            bias = b"" if node.bias is None else node.bias.tobytes()
            found, weights = known.setdefault(node.shared, []), (node.kernel.tobytes(), bias)
            if weights not in found:
                found.append(weights)
            shared = f"{node.shared}/{found.index(weights)}"
            graph = graph.replaced(replace(node, shared=shared))
    return graph


def _read_in_float(graph: Graph) -> set[str]:
    """The nodes whose codes a node reads that may compute in float."""
    found: set[str] = set()
    for node in reversed(graph.nodes):
        if node.may_compute_in_float or (node.moves_codes and node.name in found):
            found.update(node.inputs)
    return found


@for_each(Reshape)
def join_reshapes(graph: Graph, node: Reshape) -> Graph:
    """Makes one of several reshapes in a row, and none of one that changes nothing."""
    source = graph.node(node.inputs[0])
    if isinstance(source, Reshape) and graph.only_reader(source.name) is not None:
        graph = graph.without(source.name)
        source = graph.node(graph.node(node.name).inputs[0])
    if source.shape == node.shape:
        graph = graph.without(node.name)
    return graph
