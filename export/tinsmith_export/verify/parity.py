"""Parity: whether targets give the codes of the reference, and the first layer that does not."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.interpret import tolerance_lsb
from tinsmith_export.metrics import parity
from tinsmith_export.outputs import side_by_side
from tinsmith_export.targets.integers import quant_graph
from tinsmith_export.targets.target import IntegerModel, ModelFile
from tinsmith_export.verify.streams import random_sequences, run_file
from tinsmith_runtime.batch import Arrays, count, joined, rows
from tinsmith_runtime.bundle import Parity

_COUNT = 16
_RANDOM_COUNT = 64


def layers_in_float(model: IntegerModel) -> set[str]:
    """The layers that an engine computes in float, in its own way: kept float, or by their kind."""
    found = quant_graph(model)
    nodes = found.graph.layers
    return {node.name for node in nodes if tolerance_lsb(node, found.weights.get(node.name))}


def compare(
    files: Sequence[ModelFile],
    graph: Graph,
    codes: Arrays,
    outputs: Sequence[Arrays],
    classes: bool,
) -> list[Parity]:
    """Compares int8 files with the first of them, and looks for where a difference enters.

    Args:
        files: one of each target, the reference first.
        graph: what they were made of.
        codes: inputs, `int8 (N, …)`, as many as the graph has.
        outputs: what each file gave for them.
        classes: whether the one output is logits of classes.

    Returns:
        The parity of each file but the first.
    """
    reference, *others = map(side_by_side, outputs)
    found = []
    for file, other in zip(files[1:], others, strict=True):
        differ = (reference != other).reshape(len(other), -1).any(axis=1)
        layer, lsb = first_difference(files[0], file, graph, codes, differ)
        measured = parity(reference, other, classes)
        found.append(replace(measured, enters_at=layer, enters_lsb=lsb))
    return found


def compare_on_random_codes(
    files: Sequence[ModelFile],
    graph: Graph,
    seed: int,
    classes: bool,
    zeros: Mapping[str, int] | None = None,
) -> list[Parity]:
    """Compares int8 files on codes that no image has; see `compare`.

    Of a stream they are sequences, and each file gets the states back that it gave.
    """
    rng = np.random.default_rng(seed)
    codes = joined(
        [rng.integers(-128, 128, (_RANDOM_COUNT, *node.shape), np.int8) for node in graph.given]
    )
    if graph.states:
        codes = random_sequences(graph, rng)
    ran = [run_file(file, graph, codes, zeros) for file in files]
    return compare(files, graph, ran[0].inputs, [one.outputs for one in ran], classes)


def first_difference(
    reference: ModelFile,
    other: ModelFile,
    graph: Graph,
    codes: Arrays,
    differ: NDArray[np.bool_],
) -> tuple[str | None, int | None]:
    """Finds the layer where a difference between two int8 files enters.

    Both files are made to give every layer's output, and run on their engines: integers are not
    computed otherwise when more of them are looked at.

    Args:
        reference: the file of one target.
        other: the file of another.
        graph: what both were made of.
        codes: inputs, `int8 (N, …)`, as many as the graph has.
        differ: on which of them the outputs differ, `bool (N,)`; the first few are looked at.

    Returns:
        The first layer, in the order of computation, whose codes differ, and by how many LSB at
        most; `None` if none does.
    """
    chosen = rows(codes, np.flatnonzero(differ)[:_COUNT])
    if not count(chosen):
        return None, None
    there, here = (
        file.target.layer_outputs(file.data, graph, chosen) for file in (reference, other)
    )
    for node in graph.layers:
        if node.name not in there or node.name not in here:
            continue
        expected = there[node.name]
        found = here[node.name].reshape(expected.shape)
        lsb = np.abs(expected.astype(np.int16) - found).max()
        if lsb:
            return node.name, int(lsb)
    return None, None
