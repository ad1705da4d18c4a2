"""TensorFlow's chatter on standard error, and how to have none of it."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


def import_tensorflow(verbose: bool = False) -> None:
    """Imports TensorFlow and Keras without a word of what their C++ side logs.

    The first call decides: one made on the way to a download does not hush what `--verbose`
    asked for.

    Args:
        verbose: let it all through instead.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0" if verbose else "3")
    with contextlib.nullcontext() if verbose else _mute_stderr():
        import keras  # noqa: F401
        import tensorflow  # noqa: F401


@contextlib.contextmanager
def _mute_stderr() -> Iterator[None]:
    """Points file descriptor 2 at nothing: some notices precede TensorFlow's own log level."""
    sys.stderr.flush()
    saved = os.dup(2)
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
