"""A model of one step, fed step after step: its states go from each to the next as codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinsmith_runtime.answers import Prediction, rank
from tinsmith_runtime.batch import Array, parts
from tinsmith_runtime.bundle import keras_outputs, named
from tinsmith_runtime.errors import UsageError
from tinsmith_runtime.executor import to_int8
from tinsmith_runtime.inputs.single import read_sample
from tinsmith_runtime.lazy import np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tinsmith_runtime.bundle import Manifest
    from tinsmith_runtime.executor import Engine
    from tinsmith_runtime.executor.activation import Decode
    from tinsmith_runtime.inputs.image import Picture


class Stream:
    """The steps of one sequence, without end; `Model.stream` makes it.

    A model may have many streams, each with states of its own; one stream is for one thread.
    """

    def __init__(self, manifest: Manifest, engine: Engine, decoders: Sequence[Decode]) -> None:
        """Takes what the model is made of: `Model.stream` knows it."""
        self._manifest, self._engine, self._decoders = manifest, engine, decoders
        self._given = len(manifest.inputs) - len(manifest.states)
        self._answers = manifest.outputs[: len(manifest.outputs) - len(manifest.states)]
        self._states: tuple[Array, ...] = ()
        self.steps = 0
        self.reset()

    def step(self, sample: Picture | Sequence[object]) -> Any:
        """Computes a step, and keeps the states behind it for the next.

        Args:
            sample: numbers of the model's shape, without a batch, or the path of a `.npy` file of
                them; of images as `Model.classify`. For several inputs a sequence of these.

        Returns:
            `float32` of the output's shape, after the activation that the manifest names; for
            several outputs, states aside, a dict of these by their names.

        Raises:
            InputError: the sample does not fit the model; the states are as they were.
            UsageError: there is no such file, or the model is closed.
        """
        found = self._step(sample)
        pairs = zip(self._answers, self._decoders, found, strict=False)
        answers = named(keras_outputs(self._answers), [decode(codes) for _, decode, codes in pairs])
        if isinstance(answers, dict):
            return {name: values[0] for name, values in answers.items()}
        return answers[0]

    def classify(
        self, sample: Picture | Sequence[object], top: int | None = None
    ) -> list[Prediction]:
        """Computes a step of a classifier; see `step`.

        Args:
            sample: as `step`.
            top: how many predictions to give, from 1; all if `None`.

        Returns:
            Predictions, the most probable first; equal ones in the order of the labels.
        """
        if top is not None and top < 1:
            raise UsageError(f"top: expected a number from 1, got {top}")
        (output, *others) = self._answers
        if others or output.kind != "logits":
            raise UsageError("classify: the model gives values, not classes: use step")
        return rank(self.step(sample).tolist(), output.labels, top)

    @property
    def states(self) -> dict[str, Array]:
        """What the states are now, by their names: int8 codes of an int8 model, else floats."""
        codes = zip(self._manifest.states, self._states, strict=True)
        return {entry.name: parts(to_int8(array))[0][0].copy() for entry, array in codes}

    def reset(self) -> None:
        """Begins anew: all states are zero."""
        dtype, self.steps = self._engine.dtype, 0
        zeros = {"uint8": 128, "int8": 0}.get(np.dtype(dtype).name)
        self._states = tuple(
            np.full(
                (1, *entry.sample_shape),
                0.0 if zeros is None else entry.zero_point + zeros,
                dtype,
            )
            for entry in self._manifest.states
        )

    def _step(self, sample: Picture | Sequence[object]) -> tuple[Array, ...]:
        entries = self._manifest.inputs[: self._given]
        samples = [sample] if self._given == 1 else sample
        if not isinstance(samples, list | tuple) or len(samples) != self._given:
            raise UsageError(f"step: expected {self._given} samples, one of each input")
        arrays = (read_sample(entry, one) for entry, one in zip(entries, samples, strict=True))
        batch = tuple(array[np.newaxis] for array in arrays)
        found = parts(self._engine.run_step(batch, self._states))
        self._states, self.steps = found[len(self._answers) :], self.steps + 1
        return found
