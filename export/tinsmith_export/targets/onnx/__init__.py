"""ONNX files, written from the graph."""

from tinsmith_export.targets.onnx.model import to_int8_onnx, to_onnx

__all__ = ["to_int8_onnx", "to_onnx"]
