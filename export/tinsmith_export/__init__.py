"""Compiles a Keras model to int8 TFLite and int8 ONNX that are proven to agree."""

from tinsmith_export.exporting import Checkpoint, Exported, Options, Progress, export

__all__ = ["Checkpoint", "Exported", "Options", "Progress", "export"]
