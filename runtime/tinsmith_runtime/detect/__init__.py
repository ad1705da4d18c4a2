"""From a detector's outputs to boxes in a photo's own pixels."""

from tinsmith_runtime.detect.detector import Detector, Found
from tinsmith_runtime.detect.suppress import suppress

__all__ = ["Detector", "Found", "suppress"]
