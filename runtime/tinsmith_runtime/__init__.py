"""Runs tinsmith's bundles on small boards, without TensorFlow."""

from tinsmith_runtime.answers import Detection, Prediction
from tinsmith_runtime.api import inspect, load, open_model
from tinsmith_runtime.backends import installed_backends
from tinsmith_runtime.bundle import Bundle, Manifest, Variant, read_bundle, write_bundle
from tinsmith_runtime.errors import (
    BackendError,
    BundleError,
    InputError,
    TinsmithError,
    UsageError,
)
from tinsmith_runtime.model import Model
from tinsmith_runtime.selftest import SelfTest, selftest

__all__ = [
    "BackendError",
    "Bundle",
    "BundleError",
    "Detection",
    "InputError",
    "Manifest",
    "Model",
    "Prediction",
    "SelfTest",
    "TinsmithError",
    "UsageError",
    "Variant",
    "inspect",
    "installed_backends",
    "load",
    "open_model",
    "read_bundle",
    "selftest",
    "write_bundle",
]
