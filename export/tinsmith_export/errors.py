"""The errors of the export room.

TinsmithError
├── UnsupportedLayerError  1  the layers that cannot be compiled, each by name
├── ConversionError        1  a step whose result is not what went in
│   └── TargetError        1  a target whose files cannot hold the model
├── GateError              1  int8 loses too much, or the engines disagree: no bundle is written
└── FloatChoiceError       1  no layers kept float are enough, where layers alone are measured
"""

from tinsmith_export.results import Exported, Sensitivity
from tinsmith_runtime.errors import TinsmithError


class UnsupportedLayerError(TinsmithError):
    """Layers of the Keras model that cannot be compiled; the message names each.

    Attributes:
        reasons: a text a layer: its name, what stands in the way, what to do.
    """

    def __init__(self, *reasons: str) -> None:
        count = f"{len(reasons)} layers cannot be compiled: " if len(reasons) > 1 else ""
        super().__init__(count + "; ".join(reasons))
        self.reasons = reasons


class ConversionError(TinsmithError):
    """A step of the export gave something else than what went in."""


class TargetError(ConversionError):
    """A target's files cannot hold the model; the message says what they lack."""


class GateError(TinsmithError):
    """Verification failed: int8 loses too much accuracy, or the engines disagree.

    Attributes:
        exported: every number that was measured.
    """

    def __init__(self, message: str, exported: Exported) -> None:
        super().__init__(message)
        self.exported = exported


class FloatChoiceError(TinsmithError):
    """`keep_float="auto"` misses the limit on inputs held back, where no bundle is asked for.

    Attributes:
        sensitivities: what quantizing does to each layer, measured all the same.
    """

    def __init__(self, message: str, sensitivities: tuple[Sensitivity, ...]) -> None:
        super().__init__(message)
        self.sensitivities = sensitivities
