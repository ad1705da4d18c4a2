"""A search for narrower ranges: what the ends of a range cost in finer codes may be worth more.

A range that takes in every observed value has coarse codes. One that clips the few largest has
finer ones, and may give better outputs or much worse ones. So a range becomes narrower only if the
error of the model's *outputs* falls, measured with everything else rounded too.
"""

from collections.abc import Callable

from tinsmith_export.ir.graph import Graph
from tinsmith_export.quantize.groups import Observed
from tinsmith_export.quantize.rules import range_rule

Error = Callable[[Observed], float]
"""The error of the model's outputs with ranges that cover these."""

Report = Callable[[int, int], None]

# Each step leaves this part of a range, and is taken only if the error falls by more than 0.5 %: a
# smaller gain on some inputs is as likely a loss on others.
_NARROWER, _GAIN = 0.9, 0.995
# Three tenths of a range at most: what real inputs give was observed on a few of them.
_MAX_STEPS = 3


def narrow(graph: Graph, observed: Observed, error: Error, report: Report) -> Observed:
    """Narrows observed ranges one after the other, in the order of computation.

    Args:
        graph: whose layers they are of.
        observed: the lowest and the highest output of each layer that computes new values.
        error: measures ranges.
        report: hears how many layers are done, of how many.

    Returns:
        The ranges, each as wide as it was or narrower.
    """
    names = [name for name in observed if range_rule(graph.node(name)).fixed is None]
    least = error(observed)
    for done, name in enumerate(names, 1):
        for _ in range(_MAX_STEPS):
            low, high = observed[name]
            candidate = {**observed, name: (low * _NARROWER, high * _NARROWER)}
            found = error(candidate)
            if found > least * _GAIN:
                break
            observed, least = candidate, found
        report(done, len(names))
    return observed
