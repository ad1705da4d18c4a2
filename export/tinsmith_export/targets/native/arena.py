"""Where the tensors of a plan lie in memory that they share."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from tinsmith_export.targets.native.plan import ALIGNMENT, Kind, Plan, PlanOperator, PlanTensor

IN_PLACE = (Kind.ADD, Kind.MULTIPLY, Kind.MAXIMUM, Kind.MINIMUM, Kind.TABLE, Kind.LAYER_NORM)
"""Operators that read each place before they write it, and nothing of it later."""


@dataclass
class _Buffer:
    """Memory of one or more tensors, from the operator that writes it to the last that reads it."""

    size: int
    begin: int
    end: int
    tensors: list[int] = field(default_factory=list)


def planned(plan: Plan) -> Plan:
    """Gives each tensor its place, the largest first, each as low as it fits.

    An operator writes where its input lay, where that is allowed and nobody needs it any more. A
    reshape moves nothing.
    """
    buffers = _buffers(plan)
    offsets: dict[int, int] = {}
    placed: list[tuple[int, _Buffer]] = []
    for buffer in sorted(buffers, key=lambda one: (-one.size, one.begin)):
        offset = _lowest(buffer, placed)
        placed.append((offset, buffer))
        offsets |= dict.fromkeys(buffer.tensors, offset)
    tensors = [replace(one, offset=offsets.get(i, 0)) for i, one in enumerate(plan.tensors)]
    size = max(offset + buffer.size for offset, buffer in placed)
    return replace(plan, tensors=tuple(tensors), arena_bytes=size)


def _buffers(plan: Plan) -> list[_Buffer]:
    """The memory that is needed, with who shares it."""
    last = _last_reads(plan)
    found: list[_Buffer] = []
    owners: dict[int, _Buffer] = {}

    def put(tensor: int, step: int, buffer: _Buffer | None = None) -> None:
        if buffer is None:
            buffer = _Buffer(_size(plan.tensors[tensor]), step, step)
            found.append(buffer)
        buffer.tensors.append(tensor)
        buffer.end = max(buffer.end, last.get(tensor, step))
        owners[tensor] = buffer

    for end in plan.inputs:
        put(end.tensor, -1)
    for step, operator in enumerate(plan.operators):
        put(operator.output, step, _shared(plan, operator, step, owners))
    return found


def _shared(
    plan: Plan, operator: PlanOperator, step: int, owners: dict[int, _Buffer]
) -> _Buffer | None:
    """The memory of an input that the output may have."""
    size = prod(plan.tensors[operator.output].shape)
    for index in operator.inputs:
        buffer = owners.get(index)  # a constant has none
        if buffer is None or prod(plan.tensors[index].shape) != size:
            continue
        if operator.kind == Kind.RESHAPE or (operator.kind in IN_PLACE and buffer.end == step):
            return buffer
    return None


def _last_reads(plan: Plan) -> dict[int, int]:
    """The last operator that reads each tensor; outputs are read after all of them."""
    found = {i: step for step, operator in enumerate(plan.operators) for i in operator.inputs}
    return found | {end.tensor: len(plan.operators) for end in plan.outputs}


def _size(tensor: PlanTensor) -> int:
    """In bytes, to the next multiple of the alignment."""
    return -(-prod(tensor.shape) // ALIGNMENT) * ALIGNMENT


def _lowest(buffer: _Buffer, placed: Sequence[tuple[int, _Buffer]]) -> int:
    """The lowest place where nothing lies that lives at the same time."""
    taken: Collection[tuple[int, int]] = sorted(
        (offset, offset + other.size)
        for offset, other in placed
        if other.begin <= buffer.end and buffer.begin <= other.end
    )
    lowest = 0
    for begin, end in taken:
        if lowest + buffer.size <= begin:
            break
        lowest = max(lowest, end)
    return lowest
