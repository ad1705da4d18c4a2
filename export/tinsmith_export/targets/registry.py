"""The targets: this is the one place that knows which there are."""

from tinsmith_export.targets.onnx.target import OnnxTarget
from tinsmith_export.targets.target import Target
from tinsmith_export.targets.tflite.target import TfliteTarget

TARGETS: tuple[Target, ...] = (TfliteTarget(), OnnxTarget())
"""The first is the reference, which the others are compared with."""
