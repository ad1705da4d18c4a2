"""A plan in numpy, in an arena as libtinsmith has it: what checks a plan where that is missing."""

from collections.abc import Iterator

import numpy as np

from tinsmith_export.ir.interpret.operands import Codes
from tinsmith_export.targets.native.numpy_kernels import COMPUTE
from tinsmith_export.targets.native.plan import Plan, PlanTensor, read_plan
from tinsmith_runtime.backends import Backend, Operator, TensorInfo, signed
from tinsmith_runtime.batch import Arrays, count, joined, parts


class PlanBackend(Backend):
    """A plan, whatever the number of threads."""

    code_dtype, max_lsb, version = np.dtype(np.int8), 0, f"numpy {np.__version__}"

    def __init__(self, model: bytes, threads: int) -> None:
        plan = self._plan = read_plan(model)
        self.inputs, self.outputs = (
            tuple(_info(plan.tensors[end.tensor], end.name) for end in ends)
            for ends in (plan.inputs, plan.outputs)
        )

    def run(self, batch: Arrays) -> Arrays:
        """See `Backend.run`."""
        *_, arena = _steps(self._plan, batch)
        ends = (self._plan.tensors[end.tensor] for end in self._plan.outputs)
        return joined([_codes(one, arena).copy() for one in ends])

    def profile(self, batch: Arrays) -> tuple[Operator, ...]:
        """See `Backend.profile`: it times nothing."""
        plan = self._plan
        return tuple(
            Operator(plan.tensors[one.output].name, one.kind.name.lower(), "integer", None)
            for one in plan.operators
        )


def layer_outputs(plan: Plan, batch: Arrays) -> dict[str, Codes]:
    """The codes of every tensor that an operator computes, `int8 (N, …)`, by its name."""
    written = [plan.tensors[operator.output] for operator in plan.operators]
    steps = zip(written, _steps(plan, batch), strict=True)
    return {tensor.name: _codes(tensor, arena).copy() for tensor, arena in steps}


def _info(tensor: PlanTensor, name: str) -> TensorInfo:
    return TensorInfo(name, tensor.shape, np.dtype(np.int8), tensor.scale, tensor.zero_point)


def _steps(plan: Plan, batch: Arrays) -> Iterator[Codes]:
    """Computes one operator after the other; gives the arena behind each, `int8 (N, bytes)`."""
    arena = np.zeros((count(batch), plan.arena_bytes), np.int8)
    for end, codes in zip(plan.inputs, parts(batch), strict=True):
        _codes(plan.tensors[end.tensor], arena)[:] = signed(codes)
    for operator in plan.operators:
        tensors = tuple(plan.tensors[i] for i in operator.inputs)
        output = plan.tensors[operator.output]
        inputs = [_codes(tensor, arena) for tensor in tensors]
        found = COMPUTE[operator.kind](operator, inputs, tensors, output)
        _codes(output, arena)[:] = found.reshape(-1, *output.shape)
        yield arena


def _codes(tensor: PlanTensor, arena: Codes) -> Codes:
    """What lies at a tensor's place, `int8 (N, …)`, or a constant."""
    if tensor.data is not None:
        return np.frombuffer(tensor.data, np.int8).reshape(1, *tensor.shape)
    size = int(np.prod(tensor.shape))
    return arena[:, tensor.offset : tensor.offset + size].reshape(-1, *tensor.shape)
