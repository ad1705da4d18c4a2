"""Compiles a Keras model to int8 TFLite and int8 ONNX that are proven to agree."""

from tinsmith_export.exporting import (
    Checkpoint,
    Exported,
    Options,
    Progress,
    Sensitivity,
    compile_model,
    export,
    sensitivity,
)
from tinsmith_export.samples import Samples, from_dataset
from tinsmith_export.sources import from_calibration

__all__ = [
    "Checkpoint",
    "Exported",
    "Options",
    "Progress",
    "Samples",
    "Sensitivity",
    "compile_model",
    "export",
    "from_calibration",
    "from_dataset",
    "sensitivity",
]
