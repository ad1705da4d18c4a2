"""Rewrites of clips: ReLU is one at 0, ReLU6 one at 0 and 6."""

from dataclasses import replace

from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import RELU, Affine, Clip, Clipped, Clipping, Node
from tinsmith_export.passes.affine import scalars_of
from tinsmith_export.passes.convolutions import identity
from tinsmith_export.passes.rule import for_each


@for_each(Affine)
def swap_affine(graph: Graph, affine: Affine) -> Graph:
    """Moves a positive affine layer before the clip that it follows: `relu6(x) / 6` is a clip at 1.

    There it can be folded into what comes before.
    """
    clip, scalars = graph.node(affine.inputs[0]), scalars_of(affine)
    if not isinstance(clip, Clip) or scalars is None or graph.only_reader(clip.name) is None:
        return graph
    factor, offset = scalars
    if factor > 0:
        low, high = (None if v is None else v * factor + offset for v in clip.clip)
        graph = _swapped(graph, replace(clip, clip=(low, high)), affine)
    return graph


def hoist_clips(graph: Graph) -> Graph:
    """Moves a clip before the max-pooling or reshaping it follows: `relu(max(x)) = max(relu(x))`.

    There it can be fused into the layer that computes.
    """
    moved = True
    while moved:
        moved = False
        for clip in graph.nodes:
            before = graph.node(clip.inputs[0]) if isinstance(clip, Clip) else None
            if before and before.monotone and graph.only_reader(before.name):
                graph = _swapped(graph, before, clip)
                moved = True
                break
    return graph


@for_each(Clip)
def fuse_clips(graph: Graph, clip: Clip) -> Graph:
    """Makes a clip part of the layer that computes before it, and merges clips in a row."""
    layer = graph.node(clip.inputs[0])
    if isinstance(layer, Clipped) and graph.only_reader(layer.name) is not None:
        both = replace(layer, clip=_both(layer.clip, clip.clip))
        graph = graph.replaced(both).without(clip.name)
    return graph


def split_clips(graph: Graph) -> Graph:
    """Gives a clip that nothing could take a convolution of its own, but for a ReLU.

    A ReLU takes the codes as they are: it is the maximum with the code of 0.
    """
    for node in graph.nodes:
        if not isinstance(node, Clip):
            continue
        coded = all(graph.node(name).requantizes for name in graph.sources(node.name))
        if not coded or node.clip != RELU:
            *before, last = identity(node)
            graph = graph.replaced(last, *before)
    return graph


def _both(first: Clipping, second: Clipping) -> Clipping:
    """The limits that two clips, one after the other, set."""
    (low1, high1), (low2, high2) = first, second
    lows, highs = ([v for v in pair if v is not None] for pair in ((low1, low2), (high1, high2)))
    return (max(lows) if lows else None), (min(highs) if highs else None)


def _swapped(graph: Graph, first: Node, second: Node) -> Graph:
    """Exchanges two neighbours, each the only one at its side, whose shapes may differ."""
    shape = graph.node(first.inputs[0]).shape if isinstance(second, Clip) else second.shape
    early = replace(second, inputs=first.inputs, shape=shape)
    late = replace(first, inputs=(second.name,))
    return graph.without(first.name).replaced(early).inserted(early, late)
