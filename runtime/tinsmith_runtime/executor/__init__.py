"""Runs a bundle's model on an engine: checked batches in, int8 outputs and real values out."""

from tinsmith_runtime.executor.activation import ACTIVATIONS, code_decoder, probabilities
from tinsmith_runtime.executor.checks import batch_checker
from tinsmith_runtime.executor.engine import Engine, to_int8

__all__ = ["ACTIVATIONS", "Engine", "batch_checker", "code_decoder", "probabilities", "to_int8"]
