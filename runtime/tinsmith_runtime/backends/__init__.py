"""The engines: a `BackendSpec` and one small class each, behind one protocol."""

from tinsmith_runtime.backends.protocol import Backend, Operator, TensorInfo, signed, unsigned
from tinsmith_runtime.backends.registry import (
    backends_of,
    create_backend,
    find_backend,
    installed_backends,
    iter_backends,
    known_backends,
    none_installed,
)
from tinsmith_runtime.backends.spec import BackendSpec

__all__ = [
    "Backend",
    "BackendSpec",
    "Operator",
    "TensorInfo",
    "backends_of",
    "create_backend",
    "find_backend",
    "installed_backends",
    "iter_backends",
    "known_backends",
    "none_installed",
    "signed",
    "unsigned",
]
