"""Model files on their engines."""

from tinsmith_runtime.backends import Backend, create_backend
from tinsmith_runtime.batch import Arrays, concatenate, count, rows
from tinsmith_runtime.bundle import ENGINE_OF_FORMAT

_BATCH_SIZE = 64


def kind_of(file: str) -> tuple[str, str]:
    """Precision and format, which a file's name says: `model.int8.onnx`."""
    _, precision, form = file.split(".")
    return precision, form


def start_engine(file: str, data: bytes) -> Backend:
    """The engine that runs a file, on one thread."""
    return create_backend(ENGINE_OF_FORMAT[kind_of(file)[1]], data, 1)


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
