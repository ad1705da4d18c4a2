"""Rewrites of clips: ReLU is one at 0, ReLU6 one at 0 and 6."""

from dataclasses import replace

from tinsmith_export.affine import scalars_of
from tinsmith_export.convolutions import identity
from tinsmith_export.graph import RANGED, RELU, WEIGHTED, Graph, Node

_MONOTONE = ("MaxPooling2D", "Reshape", "Cropping2D", "UpSampling2D", "DepthToSpace")
_CLIPPING = (*WEIGHTED, "Add", "Multiply", "LayerNormalization")


def swap_affine(graph: Graph) -> Graph:
    """Moves a positive affine layer before the clip that it follows: `relu6(x) / 6` is a clip at 1.

    There it can be folded into what comes before.
    """
    for name in [node.name for node in graph.nodes if node.kind == "Affine"]:
        affine = graph.node(name)
        clip = graph.node(affine.inputs[0])
        scalars = scalars_of(affine)
        if clip.kind != "Clip" or scalars is None or graph.only_reader(clip.name) is None:
            continue
        factor, offset = scalars
        if factor > 0:
            limits = tuple(None if v is None else v * factor + offset for v in clip.clip)
            graph = _swapped(graph, clip.configured(clip=limits), affine)
    return graph


def hoist_clips(graph: Graph) -> Graph:
    """Moves a clip before the max-pooling or reshaping it follows: `relu(max(x)) = max(relu(x))`.

    There it can be fused into the layer that computes.
    """
    moved = True
    while moved:
        moved = False
        for clip in graph.nodes:
            before = graph.node(clip.inputs[0]) if clip.kind == "Clip" else None
            if before and before.kind in _MONOTONE and graph.only_reader(before.name):
                graph = _swapped(graph, before, clip)
                moved = True
                break
    return graph


def fuse_clips(graph: Graph) -> Graph:
    """Makes a clip part of the layer that computes before it, and merges clips in a row."""
    for name in [node.name for node in graph.nodes if node.kind == "Clip"]:
        clip = graph.node(name)
        layer = graph.node(clip.inputs[0])
        if layer.kind in (*_CLIPPING, "Clip") and graph.only_reader(layer.name) is not None:
            graph = graph.replaced(layer.configured(clip=_both(layer, clip))).without(name)
    return graph


def split_clips(graph: Graph) -> Graph:
    """Gives a clip that nothing could take a convolution of its own, but for a ReLU.

    A ReLU takes the codes as they are: it is the maximum with the code of 0.
    """
    for node in graph.nodes:
        coded = node.kind == "Clip" and all(
            graph.node(name).kind in RANGED for name in graph.sources(node.name)
        )
        if node.kind == "Clip" and not (coded and node.clip == RELU):
            *before, last = identity(node)
            graph = graph.replaced(last, *before)
    return graph


def _both(first: Node, second: Node) -> tuple[float | None, float | None]:
    """The limits that two clips, one after the other, set."""
    (low1, high1), (low2, high2) = first.clip, second.clip
    lows, highs = ([v for v in pair if v is not None] for pair in ((low1, low2), (high1, high2)))
    return (max(lows) if lows else None), (min(highs) if highs else None)


def _swapped(graph: Graph, first: Node, second: Node) -> Graph:
    """Exchanges two neighbours, each the only one at its side, whose shapes may differ."""
    shape = graph.node(first.inputs[0]).shape if second.kind == "Clip" else second.shape
    early = replace(second, inputs=first.inputs, shape=shape)
    late = replace(first, inputs=(second.name,))
    return graph.without(first.name).replaced(early).inserted(early, late)
