"""The runtime's face: `load` a bundle, then `classify` an image or `predict` a batch."""

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tinsmith_runtime.activation import ACTIVATIONS
from tinsmith_runtime.backends import Backend, TensorInfo, create_backend, installed_backends
from tinsmith_runtime.bundle import Bundle, read_bundle
from tinsmith_runtime.errors import BackendError, InputError, UsageError
from tinsmith_runtime.image import Picture, check_pixels, read_image
from tinsmith_runtime.manifest import (
    ENGINE_OF_FORMAT,
    Input,
    Manifest,
    Output,
    Variant,
)

# A larger batch is computed in pieces, so that memory does not grow with it.
_MAX_BATCH = 64
_SIGN_BIT = np.uint8(0x80)


@dataclass(frozen=True)
class Prediction:
    """A class and the probability (0..1) that the model gives it."""

    label: str
    probability: float


def load(
    path: str | Path, backend: str = "auto", threads: int = 1, precision: str = "int8"
) -> "Model":
    """Loads a bundle on one engine, all of it checked.

    Args:
        path: a `.tin` file or a folder of the same content.
        backend: `litert`, `onnx`, or `auto`: the first of the two that is installed.
        threads: how many threads the engine may use.
        precision: `int8`, or `float` where the bundle carries the float model too.

    Raises:
        UsageError: no such bundle, or a bad argument.
        BundleError: the bundle is damaged or of another version.
        BackendError: the engine is missing, or its model is not what the manifest says.
    """
    return open_model(read_bundle(path), backend, threads, precision)


def open_model(
    bundle: Bundle, backend: str = "auto", threads: int = 1, precision: str = "int8"
) -> "Model":
    """Loads a bundle that has been read already; see `load`."""
    if type(threads) is not int or threads < 1:
        raise UsageError(f"threads: expected a whole number from 1, got {threads!r}")
    if backend == "auto":
        backend = installed_backends()[0]
    variants = bundle.manifest.variants
    for variant in variants:
        if ENGINE_OF_FORMAT[variant.format] == backend and variant.precision == precision:
            engine = create_backend(backend, bundle.files[variant.file], threads)
            return Model(bundle.manifest, variant, engine)
    if backend not in ENGINE_OF_FORMAT.values():
        known = ", ".join(ENGINE_OF_FORMAT.values())
        raise UsageError(f"backend: expected auto, {known}; got {backend!r}")
    held = ", ".join(f"{v.precision} for {ENGINE_OF_FORMAT[v.format]}" for v in variants)
    raise UsageError(f"the bundle holds {held}; asked for {precision} for {backend}")


class Model:
    """A model on one engine. `load` makes it; use it as a context manager or `close` it.

    Attributes:
        manifest: what the bundle says of itself.
        variant: the model file that runs.
        backend: `litert` or `onnx`.
        engine_version: the engine and its version, for a person.
    """

    def __init__(self, manifest: Manifest, variant: Variant, engine: Backend) -> None:
        self.manifest = manifest
        self.variant = variant
        self.backend = engine.name
        self.engine_version = engine.version
        self._engine: Backend | None = engine
        self._integer = variant.precision == "int8"
        _check_engine(engine, manifest, variant)
        # The float value of each pixel, for the float variants.
        codes = np.arange(256, dtype=np.float64) - 128 - self.input.zero_point
        self._float_of_pixel = (codes * self.input.scale).astype(np.float32)

    @property
    def input(self) -> Input:
        """What the model takes."""
        return self.manifest.input

    @property
    def output(self) -> Output:
        """What the model gives."""
        return self.manifest.output

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names, in the order of the outputs."""
        return self.manifest.output.labels

    def classify(self, image: Picture, top: int | None = None) -> list[Prediction]:
        """Classifies one image.

        Args:
            image: `uint8 (H, W)` or `(H, W, C)`, a path, the bytes of a PNG or JPEG, or a Pillow
                image.
            top: how many predictions to give; all if `None`.

        Returns:
            Predictions, the most probable first; equal ones in the order of the labels.

        Raises:
            InputError: the image does not fit the model.
        """
        pixels = read_image(image, self._image_shape)
        probabilities = self.predict(pixels[np.newaxis])[0]
        order = np.argsort(-probabilities, kind="stable")[:top]
        return [Prediction(self.labels[i], float(probabilities[i])) for i in order]

    def predict(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Computes the probabilities of a batch.

        Args:
            batch: `uint8 (N, H, W, C)`.

        Returns:
            `float32 (N, classes)`, after the activation that the manifest names.

        Raises:
            InputError: shape or dtype do not fit the model.
            UsageError: the model is closed.
        """
        raw = self.predict_raw(batch)
        logits = raw.astype(np.float32)
        if self._integer:
            logits -= np.float32(self.output.zero_point)
            logits *= np.float32(self.output.scale)
        return ACTIVATIONS[self.output.activation](logits)

    def predict_raw(self, batch: NDArray[np.uint8]) -> NDArray[Any]:
        """Computes what the engine itself gives, for proofs.

        Args:
            batch: `uint8 (N, H, W, C)`.

        Returns:
            `(N, classes)`: `int8` codes from an int8 variant, `float32` logits from a float one.

        Raises:
            InputError: shape or dtype do not fit the model.
            UsageError: the model is closed.
        """
        if self._engine is None:
            raise UsageError("the model is closed: load the bundle again")
        if not isinstance(batch, np.ndarray) or batch.ndim != len(self.input.shape):
            got = getattr(batch, "shape", type(batch).__name__)
            raise InputError(f"batch: expected shape (N, *{self._image_shape}), got {got}")
        check_pixels(batch, (len(batch), *self._image_shape))
        if self._integer:
            encoded: NDArray[Any] = np.bitwise_xor(batch, _SIGN_BIT).view(np.int8)
        else:
            encoded = self._float_of_pixel[batch]
        if len(batch) <= _MAX_BATCH and len(batch) > 0:
            return self._engine.run(encoded)
        pieces = [
            self._engine.run(encoded[start : start + _MAX_BATCH])
            for start in range(0, len(batch), _MAX_BATCH)
        ]
        empty = np.empty((0, len(self.labels)), np.int8 if self._integer else np.float32)
        return np.concatenate([*pieces, empty])

    def close(self) -> None:
        """Frees the engine; a later use raises an error."""
        self._engine = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _image_shape(self) -> tuple[int, ...]:
        return tuple(size for size in self.input.shape[1:] if size is not None)


def _check_engine(engine: Backend, manifest: Manifest, variant: Variant) -> None:
    """Compares what the engine reports of the model file with what the manifest says of it."""
    integer = variant.precision == "int8"
    dtype = np.dtype(np.int8 if integer else np.float32)
    for side in ("input", "output"):
        spec = getattr(manifest, side)
        scale, zero_point = (spec.scale, spec.zero_point) if integer else (0.0, 0)
        expected = TensorInfo(spec.shape[1:], dtype, scale, zero_point)
        reported = getattr(engine, side)
        if reported != expected:
            raise BackendError(f"{variant.file}: {side}: expected {expected}, got {reported}")
