"""A report as data: frozen dataclasses, their JSON, and checks that the numbers agree."""

from tinsmith_bench.report_data.comparison import Comparison, SpeedRatio
from tinsmith_bench.report_data.detection import (
    Box,
    BoxClass,
    BoxedImage,
    Detection,
    FoundBoxes,
)
from tinsmith_bench.report_data.estimate import Estimate, extremes, share_of
from tinsmith_bench.report_data.machine import Machine, State
from tinsmith_bench.report_data.report import (
    SCHEMA_VERSION,
    BundleInfo,
    Dataset,
    Failure,
    Method,
    Operator,
    Profile,
    Report,
)
from tinsmith_bench.report_data.variant import (
    Accuracy,
    ClassAccuracy,
    Closeness,
    ColdStart,
    Fidelity,
    Flip,
    Latency,
    Regression,
    Speed,
    Throughput,
    Variant,
)

__all__ = [
    "SCHEMA_VERSION",
    "Accuracy",
    "Box",
    "BoxClass",
    "BoxedImage",
    "BundleInfo",
    "ClassAccuracy",
    "Closeness",
    "ColdStart",
    "Comparison",
    "Dataset",
    "Detection",
    "Estimate",
    "Failure",
    "Fidelity",
    "Flip",
    "FoundBoxes",
    "Latency",
    "Machine",
    "Method",
    "Operator",
    "Profile",
    "Regression",
    "Report",
    "Speed",
    "SpeedRatio",
    "State",
    "Throughput",
    "Variant",
    "extremes",
    "share_of",
]
