"""Model files on their engines."""

import os
from collections.abc import Sequence

from tinsmith_export.errors import ConversionError
from tinsmith_export.targets.target import ModelFile
from tinsmith_runtime.backends import Backend, backends_of
from tinsmith_runtime.batch import Arrays, concatenate, count, rows
from tinsmith_runtime.bundle import Input, Output
from tinsmith_runtime.errors import BackendError

# More take memory and no less time: 64 photographs of 224 x 224 take 500 MB in a float engine.
_BATCH_SIZE = 16


def start_engine(file: ModelFile) -> Backend:
    """The engine that runs a file, on all CPUs: the first that is installed.

    Where none is, it may be that its target computes it without one.

    Raises:
        BackendError: none is, or there is none for such files.
    """
    specs = backends_of(file.target.name)
    installed = next((spec for spec in specs if spec.package), None)
    if installed is None and (other := file.target.stand_in(file.data)) is not None:
        return other
    if not specs:
        raise BackendError(f"{file.name}: no backend runs files of the format {file.target.name}")
    return (installed or specs[0]).open(file.data, os.cpu_count() or 1)


def require_same_tensors(
    file: ModelFile, inputs: Sequence[Input], outputs: Sequence[Output]
) -> None:
    """Checks the quantization parameters that an engine finds in an int8 file.

    Raises:
        ConversionError: they are not those that were chosen.
    """
    engine = start_engine(file)
    expected: list[Input | Output] = [*inputs, *outputs]
    for tensor, wanted in zip((*engine.inputs, *engine.outputs), expected, strict=True):
        if (tensor.scale, tensor.zero_point) != (wanted.scale, wanted.zero_point):
            raise ConversionError(f"{file.target.title} has {tensor}, expected {wanted}")


def run_batches(backend: Backend, inputs: Arrays) -> Arrays:
    """Runs an engine over any number of inputs.

    Args:
        backend: int8 or float.
        inputs: `(N, …)` of their dtypes, as many as it has.

    Returns:
        `(N, …)` of their dtypes, as many as it has outputs.
    """
    starts = range(0, count(inputs), _BATCH_SIZE)
    pieces = (slice(start, start + _BATCH_SIZE) for start in starts)
    return concatenate([backend.run(rows(inputs, piece)) for piece in pieces])
