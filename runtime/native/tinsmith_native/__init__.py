"""tinsmith's own engine for int8 plans: a shared library, and the runtime's backend on it.

The runtime knows it by `tinsmith_runtime.backends.registry.NATIVE`.
"""
