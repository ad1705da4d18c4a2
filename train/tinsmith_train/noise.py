"""TensorFlow's chatter on standard error, and how to have none of it."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator

from tinsmith_runtime.quiet import mute_stderr

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def import_tensorflow(verbose: bool = False) -> None:
    """Imports TensorFlow and Keras without a word of what their C++ side logs.

    The first call decides: one made on the way to a download does not hush what `--verbose`
    asked for.

    Args:
        verbose: let it all through instead.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault(_LEVEL, "0" if verbose else "3")
    # Some notices precede TensorFlow's own log level.
    with contextlib.nullcontext() if verbose else mute_stderr():
        import keras  # noqa: F401
        import tensorflow  # noqa: F401


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Hushes converters, which log, warn and write to standard error, unless `--verbose`."""
    if os.environ.get(_LEVEL) == "0":
        yield
        return
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), mute_stderr():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
