"""Finds embeddings in a trace, and reads them: tables that are read at places of an input."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.frontend.reader import Reader
from tinsmith_export.frontend.trace import Operator, Trace
from tinsmith_export.ir.embedding import LARGEST, Embedding
from tinsmith_export.ir.ops import Node

EMBEDDING = "Embedding"
"""What an operator is called that reads a row of a table for each number of an input."""


def find_embeddings(trace: Trace) -> Trace:
    """Makes one operator of a lookup and of what counts negative numbers from the table's end.

    Raises:
        UnsupportedLayerError: something else is computed of the same input.
    """
    makers = {operator.output: operator for operator in trace.operators}
    operators, ids = [], dict[str, int]()
    for operator in trace.operators:
        source = _ids(makers, trace, operator) if _reads_table(trace, operator) else None
        if source is not None:
            rows = len(trace.constants[operator.inputs[0]])
            ids[source] = min(rows, ids.get(source, rows))
            inputs = (source, operator.inputs[0])
            operator = replace(operator, kind=EMBEDDING, inputs=inputs)
        operators.append(operator)
    if not ids:
        return trace
    needed, kept = set(trace.outputs), []
    for operator in reversed(operators):
        if needed.intersection((operator.output, *operator.others)):
            needed.update(operator.inputs)
            kept.append(operator)
            if operator.kind != EMBEDDING and ids.keys() & set(operator.inputs):
                raise UnsupportedLayerError(
                    f"layer `{operator.layer}` cannot be compiled: it computes with the numbers "
                    "that an Embedding reads, as a mask does: make the Embedding with "
                    "mask_zero=False"
                )
    return replace(trace, operators=tuple(reversed(kept)), ids=ids)


def _reads_table(trace: Trace, operator: Operator) -> bool:
    """Whether an operator takes rows of a constant."""
    if operator.kind != "GatherV2" or operator.settings.get("batch_dims"):
        return False
    table, axis = (trace.constants.get(operator.inputs[index]) for index in (0, 2))
    return table is not None and table.ndim == 2 and axis is not None and not np.any(axis)


def _ids(makers: Mapping[str, Operator], trace: Trace, operator: Operator) -> str | None:
    """The input whose numbers say which rows."""
    name = operator.inputs[1]
    while name not in trace.inputs:
        maker = makers.get(name)
        if maker is not None and maker.kind == "Cast":
            name = maker.inputs[0]
        elif maker is not None and maker.kind == "SelectV2":
            condition, name = makers.get(maker.inputs[0]), maker.inputs[2]
            if condition is None or (condition.kind, condition.inputs[0]) != ("Less", name):
                return None
        else:
            return None
    return name


def embedding(reader: Reader, operator: Operator) -> Node:
    """A row of a table for each number of an input."""
    table = reader.weights(operator)
    if len(table) > LARGEST:
        raise reader.unsupported(operator, f"a table of {LARGEST:,} rows at most")
    return reader.add(Embedding(*reader.place(operator), table=table))
