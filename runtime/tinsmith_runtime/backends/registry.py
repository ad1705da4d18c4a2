"""Which backends there are, and which are installed: `docs/decisions/backends-are-found.md`."""

from collections.abc import Iterator

from tinsmith_runtime.backends.protocol import Backend
from tinsmith_runtime.backends.spec import BackendSpec
from tinsmith_runtime.errors import BackendError, UsageError

GROUP = "tinsmith.backends"

NATIVE = BackendSpec(
    name="native",
    title="tinsmith native",
    formats=("native",),
    packages=("tinsmith_native",),
    extra="tinsmith-runtime[native]",
    opens="tinsmith_native.backend:NativeBackend",
)
LITERT = BackendSpec(
    name="litert",
    title="LiteRT",
    formats=("tflite",),
    packages=("ai_edge_litert", "tflite_runtime"),
    extra="tinsmith-runtime[litert]",
    opens="tinsmith_runtime.backends.litert:LiteRtBackend",
)
ONNX = BackendSpec(
    name="onnx",
    title="ONNX Runtime",
    formats=("onnx",),
    packages=("onnxruntime",),
    extra="tinsmith-runtime[onnx]",
    opens="tinsmith_runtime.backends.ort:OrtBackend",
)
BUILT_IN = (NATIVE, LITERT, ONNX)


def iter_backends() -> Iterator[BackendSpec]:
    """Gives every backend in the order of `auto`: ours, then others by name, looked for only then.

    Raises:
        BackendError: another distribution's entry point gives no backend.
    """
    yield from BUILT_IN
    from importlib.metadata import entry_points

    taken = {spec.name for spec in BUILT_IN}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        if point.name in taken:
            continue
        taken.add(point.name)
        told = f"the backend {point.name} ({point.value}, an entry point in {GROUP})"
        try:
            spec = point.load()
        except Exception as error:
            raise BackendError(f"{told} does not load: {error}") from error
        if not isinstance(spec, BackendSpec) or spec.name != point.name:
            raise BackendError(f"{told}: expected a BackendSpec of that name, got {spec}")
        yield spec


def known_backends() -> tuple[BackendSpec, ...]:
    """Every backend, installed or not, in the order of `auto`."""
    return tuple(iter_backends())


def find_backend(name: object) -> BackendSpec:
    """The backend of that name.

    Raises:
        UsageError: there is none; the message lists all names.
    """
    for spec in iter_backends():
        if spec.name == name:
            return spec
    names = ", ".join(spec.name for spec in known_backends())
    raise UsageError(f"backend: expected auto, {names}; got {name!r}")


def installed_backends() -> tuple[str, ...]:
    """The names of the backends whose engine is installed, in the order of `auto`.

    Raises:
        BackendError: there is none; the message says what to install.
    """
    found = tuple(spec.name for spec in known_backends() if spec.package)
    if not found:
        raise none_installed()
    return found


def none_installed() -> BackendError:
    """The error that says what to install where no engine is."""
    extras = " or ".join(f"'{spec.extra}'" for spec in known_backends())
    return BackendError(f"no engine is installed: pip install {extras}")


def backends_of(model_format: str) -> tuple[BackendSpec, ...]:
    """The backends that run model files of a format, in the order of `auto`; installed or not."""
    return tuple(spec for spec in known_backends() if model_format in spec.formats)


def create_backend(name: str, model: bytes, threads: int) -> Backend:
    """Loads a model file on the backend of that name; see `BackendSpec.open`.

    Raises:
        UsageError: there is no backend of that name.
        BackendError: the engine is not installed or does not start.
        BundleError: the engine refuses the model.
    """
    return find_backend(name).open(model, threads)
