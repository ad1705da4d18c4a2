"""What a test says of one variant of a made-up report."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Spec:
    """One variant: `p50` in microseconds, `correct` of 10,000 samples, `memory` in bytes."""

    backend: str
    precision: str
    p50: float
    correct: int = 9_940
    size_bytes: int = 45_000
    memory: float = 41e6
    start_ms: float = 200
    noise: float = 0.01
    fastest: float | None = None
    bundle: str = "digits"
    labelled: bool = True
