"""The targets: this is the one place that knows which there are."""

from collections.abc import Sequence

from tinsmith_export.targets.native.target import NativeTarget
from tinsmith_export.targets.onnx.target import OnnxTarget
from tinsmith_export.targets.target import Target
from tinsmith_export.targets.tflite.target import TfliteTarget

TARGETS: tuple[Target, ...] = (TfliteTarget(), OnnxTarget(), NativeTarget())
"""The first is the reference, which the others are compared with."""


def chosen_targets(names: Sequence[str] | None) -> tuple[Target, ...]:
    """The targets to write: those of these names, and the reference, whether it is among them.

    Without names it is all.
    """
    if names is None:
        return TARGETS
    reference, *others = TARGETS
    return reference, *(target for target in others if target.name in names)
