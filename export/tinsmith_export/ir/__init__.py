"""The graph of a model, its operators and their quantization."""
