"""Compiles a Keras model to int8 TFLite and int8 ONNX, and verifies that their outputs agree."""

from tinsmith_export.api import check, compile_model, export, sensitivity
from tinsmith_export.errors import FloatChoiceError, GateError
from tinsmith_export.inputs.samples import Samples, from_dataset
from tinsmith_export.inputs.sources import from_calibration
from tinsmith_export.options import Options
from tinsmith_export.progress import Progress
from tinsmith_export.results import (
    Checked,
    CheckedLayer,
    CheckedTarget,
    Checkpoint,
    Exported,
    Outcome,
    Sensitivity,
    Verdict,
)

__all__ = [
    "Checked",
    "CheckedLayer",
    "CheckedTarget",
    "Checkpoint",
    "Exported",
    "FloatChoiceError",
    "GateError",
    "Options",
    "Outcome",
    "Progress",
    "Samples",
    "Sensitivity",
    "Verdict",
    "check",
    "compile_model",
    "export",
    "from_calibration",
    "from_dataset",
    "sensitivity",
]
