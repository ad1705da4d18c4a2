"""What TensorFlow and others print, and how to have none of it among the results."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterable, Iterator

from tinsmith_runtime.errors import UsageError
from tinsmith_runtime.quiet import mute_stderr

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# Keras imports them where it can, for wrappers and plots: a quarter of the time that it takes.
_UNUSED = ("matplotlib", "sklearn")


def import_tensorflow(verbose: bool = False, bare: bool = False) -> None:
    """Imports TensorFlow and Keras without a word of what their C++ side logs.

    The first call decides: one made on the way to a download does not hush what `--verbose`
    asked for. It leaves `TF_CPP_MIN_LOG_LEVEL` in the environment, unless it is there already, for
    TensorFlow's libraries read it when each of them is loaded: nothing else that this package sets
    stays set.

    Args:
        verbose: let it all through instead.
        bare: without Keras's wrappers for scikit-learn and its plots, for a process that ends
            without them.

    Raises:
        UsageError: one of them is not installed; the message says what installs it.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault(_LEVEL, "0" if verbose else "3")
    # Some notices precede TensorFlow's own log level.
    with (
        contextlib.nullcontext() if verbose else mute_stderr(),
        _absent(_UNUSED if bare else ()),
    ):
        try:
            import keras  # noqa: F401
            import tensorflow  # noqa: F401
        except ModuleNotFoundError as error:
            raise UsageError(
                f"{error.name} is not installed: pip install 'tinsmith[compile]'"
            ) from error


@contextlib.contextmanager
def _absent(names: Iterable[str]) -> Iterator[None]:
    """Within it, packages seem not to be installed, unless they are imported already."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # what import looks for
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


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


@contextlib.contextmanager
def results_alone() -> Iterator[None]:
    """Sends what anybody prints meanwhile, Python or not, to standard error.

    A command prints its results afterwards, and standard output holds nothing else: a user's own
    function, a library, or its C++ side may print whatever they like.
    """
    with contextlib.ExitStack() as stack:
        if sys.stdout is not None:
            sys.stdout.flush()
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        with contextlib.suppress(OSError):  # a daemon may have closed either
            saved = os.dup(1)
            stack.callback(os.close, saved)
            os.dup2(2, 1)
            stack.callback(os.dup2, saved, 1)
        yield
