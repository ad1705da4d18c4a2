"""How far the states of a stream reach: what lies beyond is clipped, and all else has finer codes.

A state is rounded in each step, and what that loses adds up. So a range that clips rare values may
be better by far: an LSTM's cell state is read through tanh, which is flat out there.
"""

import math
from collections.abc import Callable, Collection, Iterator

from tinsmith_export.errors import ConversionError
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Add, Multiply
from tinsmith_export.quantize.groups import Observed

# From all that was observed to a fifth of it, in steps of two decibels.
_PARTS = tuple(10 ** (-step / 10) for step in range(8))


def narrow_states(graph: Graph, observed: Observed, error: Callable[[Observed], float]) -> Observed:
    """Chooses the range of each state, one after the other.

    Args:
        graph: one step, from `separate`.
        observed: the observed range of each layer that computes new values.
        error: measures ranges by what the model gives, its states fed back.

    Returns:
        The ranges, those of states as wide as they were or narrower.
    """
    for state in graph.states:
        names = {*_summed(graph, state.name)} & observed.keys()
        tried = [_narrowed(observed, names, part) for part in _PARTS]
        observed = min(tried, key=lambda ranges: _cost(error, ranges))
    return observed


def _narrowed(observed: Observed, names: Collection[str], part: float) -> Observed:
    return {
        name: (low * part, high * part) if name in names else (low, high)
        for name, (low, high) in observed.items()
    }


def _cost(error: Callable[[Observed], float], ranges: Observed) -> float:
    try:
        return error(ranges)
    except ConversionError:  # no scales are in ratios that all engines compute alike
        return math.inf


def _summed(graph: Graph, state: str) -> Iterator[str]:
    """What gives a state, and the part of it that is kept of the state before."""
    for name in graph.sources(state):
        yield name
        node = graph.node(name)
        for source in node.inputs if isinstance(node, Add) else ():
            kept = graph.node(source)
            read = {one for edge in kept.inputs for one in graph.sources(edge)}
            if isinstance(kept, Multiply) and name in read:
                yield source
