"""The runtime's face: `load` a bundle, then `classify` an image or `predict` a batch."""

from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tinsmith_runtime.activation import ACTIVATIONS
from tinsmith_runtime.backends import (
    Backend,
    TensorInfo,
    create_backend,
    installed_backends,
    require_known,
)
from tinsmith_runtime.bundle import Bundle, read_bundle
from tinsmith_runtime.errors import BackendError, InputError, UsageError
from tinsmith_runtime.image import Picture, check_pixels, read_image
from tinsmith_runtime.manifest import ENGINE_OF_FORMAT, Input, Manifest, Output, Variant

# A larger batch is computed in pieces, so that memory does not grow with it.
_MAX_BATCH = 64
# Far more than a board has; an engine that is asked for millions takes the process down.
_MAX_THREADS = 256
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
        backend: `litert`, `onnx`, or `auto`: the first of the two that is installed and that the
            bundle has a model for.
        threads: how many threads the engine may use, 1 to 256.
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
    if type(threads) is not int or not 1 <= threads <= _MAX_THREADS:
        raise UsageError(f"threads: expected 1 to {_MAX_THREADS}, got {threads!r}")
    variant = _choose_variant(bundle.manifest.variants, backend, precision)
    engine = create_backend(ENGINE_OF_FORMAT[variant.format], bundle.files[variant.file], threads)
    return Model(bundle.manifest, variant, engine)


def _choose_variant(variants: tuple[Variant, ...], backend: str, precision: str) -> Variant:
    if backend != "auto":
        require_known(backend)
    engines = installed_backends() if backend == "auto" else (backend,)
    for engine in engines:
        for variant in variants:
            if (ENGINE_OF_FORMAT[variant.format], variant.precision) == (engine, precision):
                return variant
    held = ", ".join(f"{v.precision} for {ENGINE_OF_FORMAT[v.format]}" for v in variants)
    raise UsageError(f"the bundle holds {held}; asked for {precision} for {' or '.join(engines)}")


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
        self._image_shape = tuple(size or 0 for size in manifest.input.shape[1:])
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
            top: how many predictions to give, from 1; all if `None`.

        Returns:
            Predictions, the most probable first; equal ones in the order of the labels.

        Raises:
            InputError: the image does not fit the model.
            UsageError: there is no such file, `top` is not positive, or the model is closed.
        """
        if top is not None and top < 1:
            raise UsageError(f"top: expected a number from 1, got {top}")
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
            height, width, channels = self._image_shape
            raise InputError(f"batch: expected shape (N, {height}, {width}, {channels}), got {got}")
        check_pixels("batch", batch, (len(batch), *self._image_shape))
        if 0 < len(batch) <= _MAX_BATCH:
            return self._engine.run(self._encode(batch))
        pieces = [
            self._engine.run(self._encode(batch[start : start + _MAX_BATCH]))
            for start in range(0, len(batch), _MAX_BATCH)
        ]
        empty = np.empty((0, len(self.labels)), np.int8 if self._integer else np.float32)
        return np.concatenate([*pieces, empty])

    def _encode(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        if self._integer:
            return np.bitwise_xor(pixels, _SIGN_BIT).view(np.int8)
        return self._float_of_pixel[pixels]

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


def _check_engine(engine: Backend, manifest: Manifest, variant: Variant) -> None:
    """Compares what the engine reports of the model file with what the manifest says of it."""
    integer = variant.precision == "int8"
    dtype = np.dtype(np.int8 if integer else np.float32)
    for side in ("input", "output"):
        spec = getattr(manifest, side)
        scale, zero_point = (spec.scale, spec.zero_point) if integer else (0.0, 0)
        promised = TensorInfo(spec.shape[1:], dtype, scale, zero_point)
        found: TensorInfo = getattr(engine, side)
        for name in (field.name for field in fields(TensorInfo)):
            expected, got = getattr(promised, name), getattr(found, name)
            if expected != got:
                raise BackendError(
                    f"{variant.file}: {side}.{name}: the manifest says {expected}, "
                    f"{engine.version} says {got}"
                )
