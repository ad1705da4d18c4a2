"""What a classifier says of one sample."""

from __future__ import annotations

from tinsmith_runtime.record import frozen_dataclass


@frozen_dataclass(frozen=True)
class Prediction:
    """A class and the probability (0..1) that the model gives it."""

    label: str
    probability: float


def rank(probabilities: list[float], labels: tuple[str, ...], top: int | None) -> list[Prediction]:
    """Gives the `top` most probable classes, or all, of the probability of each."""
    order = sorted(range(len(labels)), key=probabilities.__getitem__, reverse=True)[:top]
    return [Prediction(labels[i], probabilities[i]) for i in order]
