"""What a model gives, as JSON: results in the form of `tinsmith run --json`."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tinsmith_runtime.batch import count
from tinsmith_runtime.model import rank

if TYPE_CHECKING:
    from tinsmith_runtime.batch import Arrays
    from tinsmith_runtime.model import Model


@dataclass(frozen=True)
class Answer:
    """What became of a request.

    Attributes:
        results: of each sample `predictions`, `values` or `outputs`.
        latency_ms: how long the model took for all of them.
        engine: that computed them, and its version.
    """

    results: list[dict[str, Any]]
    latency_ms: float
    engine: str


def predict(model: Model, batch: Arrays, top: int) -> Answer:
    """Has the model predict, and says what it found.

    Args:
        model: it computes in the calling thread.
        batch: as `Model.predict` takes it.
        top: how many classes to give for each sample.
    """
    start = time.perf_counter()
    found = model.predict(batch)
    latency_ms = (time.perf_counter() - start) * 1e3
    results = [_result(model, found, index, top) for index in range(count(batch))]
    return Answer(results, round(latency_ms, 3), model.engine_version)


def _result(model: Model, found: Any, index: int, top: int) -> dict[str, Any]:
    if len(model.outputs) > 1:
        return {"outputs": {name: values[index].tolist() for name, values in found.items()}}
    if model.output.kind == "values":
        return {"values": found[index].tolist()}
    ranked = rank(found[index].tolist(), model.labels, top)
    return {"predictions": [asdict(prediction) for prediction in ranked]}
