"""The names of the targets, for those who ask before TensorFlow is imported."""

from collections.abc import Sequence

from tinsmith_runtime.errors import UsageError

TARGET_NAMES = ("tflite", "onnx", "native")
"""Of all targets, in the registry's order."""


def require_targets(names: Sequence[str] | None) -> None:
    """Checks the names of the targets that somebody chose.

    Raises:
        UsageError: there is none, or one is not known.
    """
    if names is not None and not (names and set(names) <= set(TARGET_NAMES)):
        got = ", ".join(map(repr, names)) or "none"
        raise UsageError(f"targets: expected some of {', '.join(TARGET_NAMES)}, got {got}")
