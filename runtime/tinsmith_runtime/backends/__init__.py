"""The engines: one small class each, behind one protocol."""

from tinsmith_runtime.backends.protocol import SIGN_BIT, Backend, Operator, TensorInfo
from tinsmith_runtime.backends.registry import create_backend, installed_backends, require_known

__all__ = [
    "SIGN_BIT",
    "Backend",
    "Operator",
    "TensorInfo",
    "create_backend",
    "installed_backends",
    "require_known",
]
