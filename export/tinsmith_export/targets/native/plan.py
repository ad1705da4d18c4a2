"""The plan and its file; `docs/reference/plan.md` describes it to the byte."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from tinsmith_export.errors import ConversionError

ALIGNMENT = 64
"""Tensors begin at a multiple of it, in bytes."""

RANK = 6
"""How many dimensions a tensor may have."""

_MAGIC, _VERSION, _NONE = b"TINPLAN\0", 1, 0xFFFFFFFF
_HEADER = struct.Struct("<8s9I20x")
_TENSOR = struct.Struct("<10Ifi")
_OPERATOR = struct.Struct("<20I")
_PAIR = struct.Struct("<2I")
_WORDS, _CONSTANTS = 12, 4


class Kind(IntEnum):
    """What an operator computes."""

    PRODUCT = 1
    FLOAT_PRODUCT = 2
    ADD = 3
    MULTIPLY = 4
    MAXIMUM = 5
    TABLE = 6
    MAX_POOL = 7
    PAD = 8
    CROP = 9
    UPSAMPLE = 10
    DEPTH_TO_SPACE = 11
    CONCATENATE = 12
    RESHAPE = 13
    LAYER_NORM = 14
    COPY = 15
    GATHER = 16
    MATRIX_PRODUCT = 17
    SOFTMAX = 18
    MINIMUM = 19
    NORMALIZE = 20
    EMBEDDING = 21


@dataclass(frozen=True)
class PlanTensor:
    """Codes, `int8`.

    Attributes:
        name: of the layer that computes it.
        shape: without the batch.
        scale: `real = (code - zero_point) * scale`, a `float32`.
        zero_point: in -128..127.
        offset: where it lies in the arena, in bytes; 0 if it is a constant.
        data: the codes of a constant.
    """

    name: str
    shape: tuple[int, ...]
    scale: float
    zero_point: int
    offset: int = 0
    data: bytes | None = None


@dataclass(frozen=True)
class PlanOperator:
    """One operator.

    Attributes:
        kind: what it computes.
        inputs: the tensors that it reads.
        output: the tensor that it writes.
        words: its parameters, `uint32`, as the kind has them.
        constants: its constants, likewise.
    """

    kind: Kind
    inputs: tuple[int, ...]
    output: int
    words: tuple[int, ...] = ()
    constants: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class PlanEnd:
    """An input or an output of the model: a tensor and what it is called."""

    tensor: int
    name: str


@dataclass(frozen=True)
class Plan:
    """A model, ready to be run.

    Attributes:
        tensors: in no order that matters.
        operators: in the order of computation.
        inputs: in the model's order.
        outputs: likewise.
        arena_bytes: how much memory the tensors share.
    """

    tensors: tuple[PlanTensor, ...]
    operators: tuple[PlanOperator, ...]
    inputs: tuple[PlanEnd, ...]
    outputs: tuple[PlanEnd, ...]
    arena_bytes: int


class _Constants:
    """The constants of a file, in the order in which they are asked for."""

    def __init__(self) -> None:
        self._found: list[bytes] = []
        self._places: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._found)

    def place(self, data: bytes) -> int:
        if data not in self._places:  # the steps of a recurrent layer have the same weights
            self._places[data] = len(self._found)
            self._found.append(data)
        return self._places[data]

    def written(self, start: int) -> tuple[bytes, bytes]:
        """The table, and what it points to, which begins at `start` of the file."""
        table, contents = b"", bytearray()
        for data in self._found:
            table += _PAIR.pack(start + len(contents), len(data))
            contents += data + bytes(-len(data) % 4)
        return table, bytes(contents)


def write_plan(plan: Plan) -> bytes:
    """Writes the file of a plan."""
    constants = _Constants()
    indices: list[int] = []
    tensors, operators = b"", b""
    for tensor in plan.tensors:
        name = constants.place(tensor.name.encode())
        data = _NONE if tensor.data is None else constants.place(tensor.data)
        shape = (1,) * (RANK - len(tensor.shape)) + tensor.shape
        record = name, data, tensor.offset, len(tensor.shape), *shape
        tensors += _TENSOR.pack(*record, tensor.scale, tensor.zero_point)
    for operator in plan.operators:
        words = operator.words + (0,) * (_WORDS - len(operator.words))
        places = [constants.place(data) for data in operator.constants]
        places += [_NONE] * (_CONSTANTS - len(places))
        place = len(indices), len(operator.inputs)
        operators += _OPERATOR.pack(operator.kind, operator.output, *place, *words, *places)
        indices += operator.inputs
    ends = [*plan.inputs, *plan.outputs]
    named = b"".join(_PAIR.pack(end.tensor, constants.place(end.name.encode())) for end in ends)
    numbers = struct.pack(f"<{len(indices)}I", *indices)
    tables = _HEADER.size + len(tensors + operators + named + numbers)
    table, contents = constants.written(tables + len(constants) * _PAIR.size)
    body = tensors + operators + table + named + numbers + contents
    counts = (
        *(len(plan.tensors), len(plan.operators), len(constants), len(indices)),
        *(len(plan.inputs), len(plan.outputs)),
    )
    size = _HEADER.size + len(body)
    return _HEADER.pack(_MAGIC, _VERSION, size, plan.arena_bytes, *counts) + body


def read_plan(data: bytes) -> Plan:
    """Reads what `write_plan` wrote.

    Raises:
        ConversionError: the file is of another format or version.
    """
    magic, version, size, arena, *counts = _HEADER.unpack_from(data)
    if (magic, version, size) != (_MAGIC, _VERSION, len(data)):
        raise ConversionError(f"expected a plan of version {_VERSION}, got {data[:16]!r}")
    tensors, operators, constants, indices, inputs, outputs = counts
    at = _HEADER.size

    def table(record: struct.Struct, count: int) -> Iterator[tuple[int, ...]]:
        nonlocal at
        begin, at = at, at + record.size * count
        return record.iter_unpack(data[begin:at])

    tensor_records, operator_records = table(_TENSOR, tensors), table(_OPERATOR, operators)
    contents = [data[start : start + size] for start, size in table(_PAIR, constants)]
    ends = [PlanEnd(i, contents[n].decode()) for i, n in table(_PAIR, inputs + outputs)]
    numbers = struct.unpack_from(f"<{indices}I", data, at)
    return Plan(
        tuple(_tensor(record, contents) for record in tensor_records),
        tuple(_operator(record, contents, numbers) for record in operator_records),
        tuple(ends[:inputs]),
        tuple(ends[inputs:]),
        arena,
    )


def _tensor(record: tuple[int, ...], contents: list[bytes]) -> PlanTensor:
    name, data, offset, rank, *shape, scale, zero_point = record
    return PlanTensor(
        contents[name].decode(),
        tuple(shape[RANK - rank :]),
        scale,
        zero_point,
        offset,
        None if data == _NONE else contents[data],
    )


def _operator(
    record: tuple[int, ...], contents: list[bytes], numbers: tuple[int, ...]
) -> PlanOperator:
    kind, output, first, inputs, *rest = record
    form = Kind(kind)
    words, constants = rest[: _WORDS_OF.get(form, 0)], rest[_WORDS:]
    return PlanOperator(
        form,
        numbers[first : first + inputs],
        output,
        tuple(words),
        tuple(contents[place] for place in constants if place != _NONE),
    )


_WORDS_OF = {
    Kind.PRODUCT: 9,
    Kind.FLOAT_PRODUCT: 9,
    Kind.ADD: 3,
    Kind.MULTIPLY: 1,
    Kind.MAX_POOL: 6,
    Kind.PAD: 2,
    Kind.CROP: 2,
    Kind.UPSAMPLE: 2,
    Kind.DEPTH_TO_SPACE: 1,
    Kind.CONCATENATE: 1,
    Kind.LAYER_NORM: 2,
    Kind.COPY: 11,
    Kind.GATHER: 1,
    Kind.MATRIX_PRODUCT: 1,
    Kind.NORMALIZE: 5,
}
"""How many parameters a kind has; none if it is not here."""
