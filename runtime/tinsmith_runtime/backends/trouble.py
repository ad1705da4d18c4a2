"""Why an engine that is installed does not import, and what to install instead."""

import platform

import numpy as np

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

    Args:
        package: the import that failed, for example `tflite_runtime`.
        extra: what `pip install` takes to install the engine, as `BackendSpec.extra`.
        error: what the import raised.

    Returns:
        The package, the error, its cause where that is known, and what to type.
    """
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
