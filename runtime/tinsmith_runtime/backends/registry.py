"""Which engines there are, which are installed, and what to install for the rest."""

import importlib
import sys

from tinsmith_runtime.backends.origin import raised_by_import
from tinsmith_runtime.backends.protocol import Backend
from tinsmith_runtime.errors import BackendError, UsageError
from tinsmith_runtime.quiet import mute_stderr

# Name: our module, our class, and the imports of which one must be there: the first that is found
# is taken. In the order of preference.
_BACKENDS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "litert": (
        "tinsmith_runtime.backends.litert",
        "LiteRtBackend",
        ("ai_edge_litert", "tflite_runtime"),
    ),
    "onnx": ("tinsmith_runtime.backends.ort", "OrtBackend", ("onnxruntime",)),
}


def installed_backends() -> tuple[str, ...]:
    """The engines that are installed here, in the order in which `auto` takes them.

    Raises:
        BackendError: there is none; the message says what to install.
    """
    found = tuple(name for name, (_, _, needs) in _BACKENDS.items() if _find(needs))
    if not found:
        extras = " or ".join(f"'tinsmith-runtime[{name}]'" for name in _BACKENDS)
        raise BackendError(f"no engine is installed: pip install {extras}")
    return found


def create_backend(name: str, model: bytes, threads: int) -> Backend:
    """Loads a model file on the engine of that name.

    Args:
        name: `litert` or `onnx`.
        model: the bytes of a `.tflite` or `.onnx` file whose hash has been checked.
        threads: how many threads the engine may use.

    Raises:
        UsageError: there is no engine of that name.
        BackendError: the engine is not installed or does not start.
        BundleError: the engine refuses the model.
    """
    require_known(name)
    module, kind, needs = _BACKENDS[name]
    package = engine_package(name)
    if package is None:
        raise BackendError(f"{needs[0]} is not installed: pip install 'tinsmith-runtime[{name}]'")
    before = set(sys.modules)
    try:
        with mute_stderr():  # numpy 2 prints a page about a module that numpy 1 compiled
            backend: type[Backend] = getattr(importlib.import_module(module), kind)
    # A native module for another CPU or another numpy fails with whatever it likes.
    except Exception as error:
        if not raised_by_import(error, before):
            raise
        from tinsmith_runtime.backends.trouble import explain

        raise BackendError(explain(package, name, error)) from error
    return backend(model, threads)


def engine_package(name: str) -> str | None:
    """The import that the engine runs on here; `None` where it is not installed."""
    return _find(_BACKENDS[name][2])


def _find(packages: tuple[str, ...]) -> str | None:
    return next(filter(_is_there, packages), None)


def _is_there(package: str) -> bool:
    """Does what `importlib.util.find_spec` does, without its half millisecond of imports."""
    if package in sys.modules:
        return sys.modules[package] is not None
    finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]
    return any(finder.find_spec(package, None) for finder in finders)


def require_known(name: object) -> None:
    """Raises a `UsageError` that lists the engines unless `name` is one of them."""
    if name not in tuple(_BACKENDS):
        raise UsageError(f"backend: expected auto, {', '.join(_BACKENDS)}; got {name!r}")
