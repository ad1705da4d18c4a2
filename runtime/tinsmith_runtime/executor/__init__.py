"""A bundle's model on its engine: from a batch that was checked to integers, and what they mean."""

from tinsmith_runtime.executor.activation import ACTIVATIONS, code_decoder
from tinsmith_runtime.executor.checks import batch_checker
from tinsmith_runtime.executor.engine import Engine, to_int8

__all__ = ["ACTIVATIONS", "Engine", "batch_checker", "code_decoder", "to_int8"]
