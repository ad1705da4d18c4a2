"""Sequences, fed to a model of one step: its states go from one step to the next."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tinsmith_export.inputs.samples import Samples
from tinsmith_export.ir.graph import Graph
from tinsmith_runtime.batch import Array, Arrays, each, joined, parts
from tinsmith_runtime.errors import UsageError


@dataclass(frozen=True, eq=False)
class Steps:
    """What a model took and gave over `N` sequences of `T` steps.

    Attributes:
        graph: of one step.
        inputs: `(N, T, …)` each, in the order of the graph's; states as they were before a step.
        outputs: `(N, T, …)` each, in the order of the graph's.
    """

    graph: Graph
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]

    @property
    def flat_inputs(self) -> Arrays:
        """`(N * T, …)` each."""
        return joined([_flat(array) for array in self.inputs])

    @property
    def flat_outputs(self) -> Arrays:
        """`(N * T, …)` each."""
        return joined([_flat(array) for array in self.outputs])

    @property
    def answers(self) -> Arrays:
        """What is judged, `(M, …)` for each output: of every step, or of a sequence's last.

        Where the model gives both, every step's are `(N, T, …)`.
        """
        outputs = dict(zip(self.graph.outputs, self.outputs, strict=True))
        whole = [
            outputs[node] if node.by_step else outputs[node][:, -1] for node in self.graph.answers
        ]
        return expected_answers(self.graph, joined(whole))

    @property
    def every_answer(self) -> Arrays:
        """What the model gives in every step, `(N * T, …)` for each output but states."""
        pairs = zip(self.graph.outputs, self.outputs, strict=True)
        return joined([_flat(array) for node, array in pairs if node in self.graph.answers])

    @property
    def states(self) -> dict[str, Array]:
        """Each state's name to what it is behind each step, `(N, T, units)`."""
        outputs = {
            node.title: array for node, array in zip(self.graph.outputs, self.outputs, strict=True)
        }
        return {node.name: outputs[node.fed_by] for node in self.graph.states}


def feed(
    graph: Graph,
    sequences: Array,
    run: Callable[[Arrays], Arrays],
    zeros: Mapping[str, int] | None = None,
) -> Steps:
    """Feeds sequences to a model, step by step.

    Args:
        graph: of one step.
        sequences: `(N, T, …)`, as the model takes a step.
        run: from the inputs `(N, …)` of a step to its outputs.
        zeros: of integers, the code of zero of each state, by its name.
    """
    titles = [node.title for node in graph.outputs]
    states = {
        node.name: np.full(
            (len(sequences), *node.shape), (zeros or {}).get(node.name, 0), sequences.dtype
        )
        for node in graph.states
    }
    taken, given = list[tuple[Array, ...]](), list[tuple[Array, ...]]()
    for step in range(sequences.shape[1]):
        taken.append((sequences[:, step], *states.values()))
        given.append(parts(run(joined(taken[-1]))))
        named = dict(zip(titles, given[-1], strict=True))
        states = {node.name: named[node.fed_by] for node in graph.states}
    inputs, outputs = (
        tuple(np.stack(arrays, 1) for arrays in zip(*found, strict=True))
        for found in (taken, given)
    )
    return Steps(graph, inputs, outputs)


def expected_answers(graph: Graph, expected: Arrays) -> Arrays:
    """What a Keras model gives for sequences, as `Steps.answers`."""
    by_step = bool(graph.states) and all(node.by_step for node in graph.answers)
    return each(_flat, expected) if by_step else expected


def as_steps(samples: Samples, shape: Sequence[int | None]) -> Samples:
    """The steps of sequences, `(N * T, …)`, without labels.

    Args:
        samples: sequences, `(N, T, …)`.
        shape: of the Keras model's input, without the batch; the steps first.

    Raises:
        UsageError: they are something else.
    """
    for array in (samples.calibration, samples.evaluation):
        found = [one.shape for one in parts(array)]
        fits = len(found) == 1 and len(found[0]) == len(shape) + 1 and 0 not in found[0]
        if not fits or shape[0] not in (None, found[0][1]):
            sizes = ", ".join("steps" if size is None else str(size) for size in shape)
            raise UsageError(f"{samples.name}: expected sequences (N, {sizes}), got {found}")
    return replace(
        samples,
        calibration=_flat(by_step(samples.calibration)),
        calibration_labels=None,
        evaluation=_flat(by_step(samples.evaluation)),
        evaluation_labels=None,
    )


def as_given(graph: Graph, inputs: Arrays) -> Arrays:
    """Inputs as `run_file` takes them: of a stream, sequences whose steps have a shape."""
    return by_step(inputs) if graph.states else inputs


def by_step(sequences: Arrays) -> Array:
    """Sequences `(N, T, …)` whose steps have a shape: a number is `(1,)`."""
    array = only(sequences)
    return array if array.ndim > 2 else array[..., np.newaxis]


def only(arrays: Arrays) -> Array:
    """The one array of a batch."""
    (array,) = parts(arrays)
    return array


def _flat(array: Array) -> Array:
    return array.reshape(-1, *array.shape[2:])
