"""What the runtime has to know of the engine before it is imported."""

from tinsmith_runtime.backends import BackendSpec

SPEC = BackendSpec(
    name="native",
    title="tinsmith native",
    formats=("native",),
    packages=("tinsmith_native",),
    extra="tinsmith-native",
    opens="tinsmith_native.backend:NativeBackend",
)
