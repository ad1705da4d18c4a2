"""What export writes for: TFLite and ONNX files."""
