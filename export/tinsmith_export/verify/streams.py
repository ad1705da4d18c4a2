"""Files run on evaluation data: all at once, or of a stream step by step, states fed back."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from tinsmith_export.inputs.sequences import Steps, feed, only
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.targets.target import ModelFile
from tinsmith_export.verify.engines import run_batches, start_engine
from tinsmith_report.statistics import sqnr_db
from tinsmith_runtime.batch import Arrays, joined, parts
from tinsmith_runtime.bundle import StateError

_RANDOM_SEQUENCES, _RANDOM_STEPS = 4, 64


@dataclass(frozen=True, eq=False)
class Ran:
    """What a file took and gave.

    Attributes:
        inputs: `(N, …)` each; of a stream every step is one, with the states before it.
        outputs: `(N, …)` each; of a stream with the states behind it.
        answers: `(M, …)` each, what is judged: the outputs, or of a stream `Steps.answers`.
        steps: of a stream.
    """

    inputs: Arrays
    outputs: Arrays
    answers: Arrays
    steps: Steps | None = None


def run_file(
    file: ModelFile, graph: Graph, given: Arrays, zeros: Mapping[str, int] | None = None
) -> Ran:
    """Runs a file on its engine.

    Args:
        file: int8 or float.
        graph: what it was made of.
        given: `(N, …)` each, of what a user gives; of a stream sequences, `(N, T, …)`.
        zeros: of an int8 file, the code of zero of each state, by its name.
    """
    engine = start_engine(file)
    if not graph.states:
        outputs = run_batches(engine, given)
        return Ran(given, outputs, outputs)
    steps = feed(graph, only(given), partial(run_batches, engine), zeros)
    return Ran(steps.flat_inputs, steps.flat_outputs, steps.answers, steps)


def zero_codes(graph: Graph, ranges: Mapping[str, QuantParams]) -> dict[str, int]:
    """The code of zero of each state, by its name."""
    return {node.name: ranges[node.name].zero_point for node in graph.states}


def random_sequences(graph: Graph, rng: np.random.Generator) -> Arrays:
    """Random codes for a stream, `int8 (N, T, …)`."""
    size = _RANDOM_SEQUENCES, _RANDOM_STEPS
    return joined([rng.integers(-128, 128, (*size, *node.shape), np.int8) for node in graph.given])


def golden_inputs(given: Arrays, ran: Ran, ranges: Mapping[str, QuantParams]) -> Arrays:
    """What golden vectors take, `(N, …)` each: of a stream steps, with the states before each.

    Args:
        given: as `run_file`, as a user gives it.
        ran: what the reference took for it.
        ranges: the quantization parameters of each state, by its name.
    """
    if ran.steps is None:
        return given
    sequences = only(given)
    states = zip(ran.steps.graph.states, parts(ran.inputs)[1:], strict=True)
    reals = [ranges[node.name].reals(codes) for node, codes in states]
    return joined([sequences.reshape(-1, *sequences.shape[2:]), *reals])


def state_errors(
    reference: Steps, ran: Steps, ranges: Mapping[str, QuantParams]
) -> tuple[StateError, ...]:
    """How far the states of an int8 file are from the float model's, at first and at last.

    Of the float ones counts what the codes can stand for: what lies beyond is clipped on purpose,
    see `state_range`.
    """
    found = []
    for name, codes in ran.states.items():
        params = ranges[name]
        wanted = np.clip(reference.states[name], params.low, params.high)
        first, last = (sqnr_db(wanted[:, step], params.reals(codes[:, step])) for step in (0, -1))
        found.append(StateError(name, codes.shape[1], first, last))
    return tuple(found)
