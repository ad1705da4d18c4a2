"""A model that was loaded: `classify` an image, or `predict` a batch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

from tinsmith_runtime.answers import Detection, Prediction, rank
from tinsmith_runtime.backends import Operator
from tinsmith_runtime.batch import joined, parts
from tinsmith_runtime.bundle import Bundle, Input, Output, Variant, join, keras_outputs, named
from tinsmith_runtime.errors import InputError, UsageError
from tinsmith_runtime.executor import (
    ACTIVATIONS,
    Engine,
    batch_checker,
    code_decoder,
    probabilities,
    to_int8,
)
from tinsmith_runtime.lazy import np
from tinsmith_runtime.selftest import SelfTest, selftest_bundle

# What not every program needs is imported where it is used: a start takes milliseconds.
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from tinsmith_runtime.batch import Array, Arrays
    from tinsmith_runtime.detect import Detector
    from tinsmith_runtime.executor.activation import Decode
    from tinsmith_runtime.inputs.image import Picture
    from tinsmith_runtime.stream import Stream


class Model:
    """A model on one engine. `load` makes it; use it as a context manager or `close` it.

    Threads may share it: they take turns. A child process that was forked starts an engine of its
    own when it first predicts.

    Attributes:
        manifest: what the bundle says of itself.
        variant: the model file that runs.
        backend: its name, such as `litert`.
        engine_version: the engine and its version, for a person.
    """

    def __init__(self, variant: Variant, engine: Engine, proof: Bundle) -> None:
        """Takes what `open_model` opened; `proof` holds the files that the self-test needs."""
        self.manifest = proof.manifest
        self.variant = variant
        self.backend = engine.name
        self.engine_version = engine.version
        self._engine = engine
        self._proof = proof
        self._check = batch_checker(self.inputs)
        self._keras_outputs = keras_outputs(self.outputs)
        # What images alone are known by, in less time than a check takes.
        only_images = [entry.kind for entry in self.inputs] == ["image"]
        self._pixels = self.input.sample_shape if only_images else None
        self._detector: Detector | None = None
        self._decoders: list[Decode] = []  # made when they are needed: with numpy

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What the model takes, in order."""
        return self.manifest.inputs

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What the model files give, in order; `predict` joins those that are parts of one."""
        return self.manifest.outputs

    @property
    def input(self) -> Input:
        """The first input."""
        return self.manifest.input

    @property
    def output(self) -> Output:
        """The first output."""
        return self.manifest.output

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names, in the order of the scores."""
        return self.manifest.output.labels

    def classify(
        self, image: Picture | memoryview[Any], top: int | None = None
    ) -> list[Prediction]:
        """Classifies one image, or one sample of features.

        Args:
            image: `uint8 (H, W)` or `(H, W, C)`, a path, the bytes of a PNG or JPEG, or a Pillow
                image; for a model of features, numbers of its shape or the path of a `.npy` file.
                A `memoryview` holds the bytes of the pixels alone, of the model's size and in its
                order: native takes these without numpy, so that a program starts in less time.
            top: how many predictions to give, from 1; all if `None`.

        Returns:
            Predictions, the most probable first; equal ones in the order of the labels.

        Raises:
            InputError: the image does not fit the model.
            UsageError: there is no such file, `top` is not positive, the model gives values and
                no classes or takes several inputs, or it is closed.
        """
        if top is not None and top < 1:
            raise UsageError(f"top: expected a number from 1, got {top}")
        if self.manifest.boxes:
            raise UsageError("classify: the model finds boxes: use detect")
        if self.output.kind != "logits":
            raise UsageError("classify: the model gives values, not classes: use predict")
        if self.manifest.states:
            raise UsageError("classify: the model computes steps of a sequence: use stream")
        if len(self.inputs) > 1:
            raise UsageError(f"classify: the model takes {len(self.inputs)} inputs: use predict")
        if isinstance(image, memoryview):
            return rank(self._classify_pixels(image), self.labels, top)
        from tinsmith_runtime.inputs.single import read_sample

        sample = read_sample(self.input, image)
        return rank(self.predict(sample[np.newaxis])[0].tolist(), self.labels, top)

    def detect(
        self, image: Picture, score: float | None = None, iou: float | None = None
    ) -> list[Detection]:
        """Finds boxes in one image.

        Args:
            image: as `classify` takes it, but for a `memoryview`; of an array, `uint8 (H, W, C)` of
                the model's size, the boxes are in its own pixels.
            score: the least probability that counts, 0 to 1; the bundle's if `None`.
            iou: two boxes of one label that overlap by more are one (intersection over union, 0 to
                1); the bundle's if `None`.

        Returns:
            Detections, the most probable first.

        Raises:
            InputError: the image does not fit the model.
            UsageError: there is no such file, a limit is wrong, the bundle does not say how its
                outputs become boxes, or the model is closed.
        """
        if self._detector is None:
            from tinsmith_runtime.detect import Detector

            self._detector = Detector(self.manifest)
        return self._detector.detect(image, self.predict, score, iou)

    def _classify_pixels(self, pixels: memoryview[Any]) -> list[float]:
        size = math.prod(self.input.sample_shape)
        if self._pixels is None or self.variant.precision != "int8":
            raise UsageError("memoryview: expected an int8 model of images")
        if pixels.nbytes != size or pixels.itemsize != 1 or not pixels.c_contiguous:
            raise InputError(
                f"memoryview: expected {size} contiguous bytes, got {pixels.nbytes} in elements "
                f"of {pixels.itemsize}"
            )
        codes = self._engine.run_pixels(pixels)
        return probabilities(self.output, memoryview(codes).cast("b"))

    def stream(self) -> Stream:
        """Begins a sequence for a model that computes one step of it at a time.

        Raises:
            UsageError: the model has no states, or is closed.
        """
        from tinsmith_runtime.stream import Stream

        self._engine.require_open()
        if not self.manifest.states:
            raise UsageError("stream: the model has no states: export it with --stateful")
        return Stream(self.manifest, self._engine, self._decoders or self._make_decoders())

    def predict(self, batch: Array | Sequence[Array] | Mapping[str, Array]) -> Any:
        """Computes the probabilities, or the values, of a batch.

        Args:
            batch: `uint8 (N, H, W, C)` of images; numbers `(N, ...)` of features. For several
                inputs a tuple or list of these in order, or a dict of them by the inputs' names.

        Returns:
            `float32 (N, ...)`, after the activation that the manifest names; for several outputs
            a dict of these by the outputs' names. Outputs that are parts of one are joined.

        Raises:
            InputError: shape, dtype or NaN do not fit the model.
            UsageError: the model is closed.
        """
        raw = self._run(batch)
        decoders = self._decoders or self._make_decoders()
        if isinstance(raw, tuple):
            arrays = [decode(codes) for decode, codes in zip(decoders, raw, strict=True)]
            return named(self._keras_outputs, arrays)
        return decoders[0](raw)

    def _make_decoders(self) -> list[Decode]:
        # Without a lock, which a fork could leave taken: two threads may both make them.
        self._decoders = [
            code_decoder(output, self._engine.dtype)
            if self.variant.precision == "int8"
            else ACTIVATIONS[output.activation]
            for output in self.outputs
        ]
        return self._decoders

    def predict_raw(self, batch: Array | Sequence[Array] | Mapping[str, Array]) -> Any:
        """Computes what the engine itself gives, for proofs.

        Args:
            batch: as `predict` takes it.

        Returns:
            `(N, ...)`: `int8` codes from an int8 variant, `float32` from a float one; for several
            outputs a tuple of these in order.

        Raises:
            InputError: shape, dtype or NaN do not fit the model.
            UsageError: the model is closed.
        """
        return to_int8(self._run(batch))

    def _run(self, batch: object) -> Arrays:
        if (
            type(batch) is np.ndarray
            and batch.dtype.char == "B"
            and batch.shape[1:] == self._pixels
        ):
            return self._engine.run(batch)
        return self._engine.run(self._check(batch))

    def encode(self, batch: Arrays) -> Arrays:
        """Turns a batch, which is not checked, into what the engine takes: for benchmarks."""
        return self._engine.encode(batch)

    def run(self, encoded: Arrays) -> Arrays:
        """Runs the engine alone on what `encode` gave, all in one call: for benchmarks."""
        return self._engine.run_encoded(encoded)

    def decode(self, raw: Arrays) -> Arrays:
        """Gives raw outputs as `float32`, before the activation; parts joined, after theirs."""
        pairs = zip(self.outputs, parts(raw), strict=True)
        return joined(join(self._keras_outputs, [_decode(*pair) for pair in pairs]))

    def profile(self, encoded: Arrays) -> tuple[Operator, ...]:
        """Says which operators the engine runs, and where it can what each costs.

        Args:
            encoded: what `encode` gave; each sample of it is computed by itself.
        """
        return self._engine.profile(encoded)

    def clone(self) -> Model:
        """Gives a worker a model of its own: the same bytes, engine, threads and precision.

        Raises:
            UsageError: the model is closed.
        """
        return Model(self.variant, self._engine.clone(), self._proof)

    def selftest(self) -> list[SelfTest]:
        """Runs every golden vector on every installed engine; the model itself is left alone.

        Returns:
            A result for each engine for which the bundle holds an int8 model.

        Raises:
            BundleError: the golden vectors are damaged.
            BackendError: no engine is installed, or one does not start or end; see `selftest`.
            UsageError: the model is closed.
        """
        self._engine.require_open()
        return selftest_bundle(self._proof)

    def close(self) -> None:
        """Frees the engine, after the prediction under way; a later use raises an error."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _decode(output: Output, raw: Array) -> Array:
    decoded = np.asarray(to_int8(raw), np.float32)
    if raw.dtype != np.float32:
        decoded -= np.float32(output.zero_point)
        decoded *= np.float32(output.scale)
    return ACTIVATIONS[output.activation](decoded) if output.part_of else decoded
