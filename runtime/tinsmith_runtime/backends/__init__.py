"""The engines: one small class each, behind one protocol."""

from tinsmith_runtime.backends.protocol import Backend, Operator, TensorInfo, signed, unsigned
from tinsmith_runtime.backends.registry import create_backend, installed_backends, require_known

__all__ = [
    "Backend",
    "Operator",
    "TensorInfo",
    "create_backend",
    "installed_backends",
    "require_known",
    "signed",
    "unsigned",
]
