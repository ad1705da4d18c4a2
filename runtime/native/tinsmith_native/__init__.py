"""tinsmith's own engine for int8 plans: a shared library, and the runtime's backend on it."""

from tinsmith_native.spec import SPEC

__all__ = ["SPEC"]
