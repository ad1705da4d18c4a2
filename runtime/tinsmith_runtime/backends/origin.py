"""Whose code an exception came through: the engine's, or a signal handler's that ran meanwhile.

Python runs a handler inside whatever call is under way. What the handler raises, to stop a program
or to end a wait, is none of the engine's trouble, and goes on to the caller as it is.
"""

import sys
from collections.abc import Set

_OURS = frozenset({"tinsmith_runtime", "numpy"})
_LIBRARIES = _OURS | sys.stdlib_module_names


def _packages(error: BaseException) -> set[str]:
    """The packages whose code the error came through, from the frame that caught it on."""
    found, trace = set(), error.__traceback__
    while trace is not None:
        found.add(str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0])
        trace = trace.tb_next
    return found


def raised_by(error: BaseException, *packages: str) -> bool:
    """Whether an error came out of an engine: only its code, numpy's and ours was at work.

    Args:
        error: what a call of the engine raised.
        packages: the engine's imports.
    """
    return _packages(error) <= _OURS.union(packages)


def raised_by_import(error: BaseException, loaded_before: Set[str]) -> bool:
    """Whether an error came out of an import; a handler is in a module that was there before it.

    Args:
        error: what the import raised.
        loaded_before: the names in `sys.modules` before it.
    """
    return _packages(error).isdisjoint(loaded_before - _LIBRARIES)
