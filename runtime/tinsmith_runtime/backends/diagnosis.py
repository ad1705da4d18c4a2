"""Whose an exception is, the engine's or a signal handler's, and why an engine does not import.

Python runs a handler inside whatever call is under way; what it raises goes on to the caller.
"""

import sys
from collections.abc import Set

from tinsmith_runtime.lazy import np

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


# What the dynamic loader says of a library that is not for this machine; Linux, macOS, Windows.
_FOREIGN = (
    "wrong elf class",
    "invalid elf header",
    "exec format error",
    "incompatible architecture",
    "not a valid win32 application",
    "cannot open shared object file",
)
# What numpy 2 makes of a module that was compiled for numpy 1.
_OLD_NUMPY = ("_array_api", "multiarray", "numpy 1.x", "numpy.dtype size changed")


def explain(package: str, extra: str, error: BaseException) -> str:
    """Says in a line what is wrong with an engine's package.

    Returns:
        The package, the error, its cause where that is known, and what to type.
    """
    import platform  # takes longer to import than the rest of this module

    said = str(error).lower()
    install = f"pip install '{extra}'"
    cure = f"try {install} --force-reinstall"
    cause = ""
    if any(words in said for words in _OLD_NUMPY) and int(np.__version__.split(".")[0]) >= 2:
        cause = f": it was built for numpy 1, this is numpy {np.__version__}"
        cure = f"pip install 'numpy<2'; or, with numpy 2, {install} --upgrade"
    elif "glibc" in said or "musl" in said:
        cause = ": its wheel needs a newer C library than this system has"
        cure = f"update the system, or try {install} --force-reinstall"
    elif any(words in said for words in _FOREIGN):
        cause = (
            f": its wheel is for another CPU or system than this {platform.machine()} "
            f"with Python {platform.python_version()}"
        )
    return (
        f"{package} is installed but does not import: {type(error).__name__}: {error}{cause}: "
        f"{cure}"
    )
