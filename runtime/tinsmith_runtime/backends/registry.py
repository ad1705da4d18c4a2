"""Which engines there are, which are installed, and what to install for the rest."""

import importlib
from importlib.util import find_spec

from tinsmith_runtime.backends.protocol import Backend
from tinsmith_runtime.errors import BackendError, UsageError

# Name: our module, our class, and the import that must be there. In the order of preference.
_BACKENDS = {
    "litert": ("tinsmith_runtime.backends.litert", "LiteRtBackend", "ai_edge_litert"),
    "onnx": ("tinsmith_runtime.backends.ort", "OrtBackend", "onnxruntime"),
}


def installed_backends() -> tuple[str, ...]:
    """The engines that are installed here, in the order in which `auto` takes them.

    Raises:
        BackendError: there is none; the message says what to install.
    """
    found = tuple(name for name, (_, _, needs) in _BACKENDS.items() if find_spec(needs))
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
        BackendError: the engine is not installed, does not start, or refuses the model.
    """
    require_known(name)
    module, kind, needs = _BACKENDS[name]
    cure = f"pip install 'tinsmith-runtime[{name}]'"
    if find_spec(needs) is None:
        raise BackendError(f"{needs} is not installed: {cure}")
    try:
        backend: type[Backend] = getattr(importlib.import_module(module), kind)
    # A native module for another CPU or another numpy fails with whatever it likes.
    except Exception as error:
        raise BackendError(
            f"{needs} is installed but does not import: {type(error).__name__}: {error}: "
            f"try {cure} --force-reinstall"
        ) from error
    return backend(model, threads)


def require_known(name: object) -> None:
    """Raises a `UsageError` that lists the engines unless `name` is one of them."""
    if name not in tuple(_BACKENDS):
        raise UsageError(f"backend: expected auto, {', '.join(_BACKENDS)}; got {name!r}")
