"""Moving codes as loops: how often each goes round, and how far it is from one code to the next."""

from collections.abc import Sequence

from tinsmith_export.errors import TargetError
from tinsmith_export.ir.ops import Node

LOOPS = 5
"""How many loops a copy has."""


def steps_of(shape: Sequence[int]) -> list[int]:
    """How many codes it is from one place of each dimension to the next."""
    steps = [1]
    for size in reversed(shape[1:]):
        steps.append(steps[-1] * size)
    return steps[::-1]


def copy_words(
    node: Node, counts: Sequence[int], steps: Sequence[int], offset: int = 0
) -> tuple[int, ...]:
    """The words of a copy.

    Args:
        node: what is computed.
        counts: the codes of the output, one loop in the other, the last the innermost.
        steps: of each loop, from one code of the input to the next.
        offset: of the first code of the input.

    Raises:
        TargetError: it takes more loops than a copy has.
    """
    loops: list[tuple[int, int]] = []
    for count, step in zip(counts, steps, strict=True):
        if loops and loops[-1][1] == count * step:  # one loop goes over both
            loops[-1] = loops[-1][0] * count, step
        elif count > 1:
            loops.append((count, step))
    if len(loops) > LOOPS:
        raise TargetError(
            f"layer `{node.name}`: a plan moves codes in {LOOPS} loops at most, this takes "
            f"{len(loops)}"
        )
    loops = [(1, 0)] * (LOOPS - len(loops)) + loops
    counts, steps = zip(*loops, strict=True)
    return *counts, *(step % 2**32 for step in steps), offset
