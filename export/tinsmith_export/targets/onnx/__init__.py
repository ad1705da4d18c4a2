"""ONNX files, written from the graph."""
