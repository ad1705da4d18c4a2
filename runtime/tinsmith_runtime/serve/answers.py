"""What a model answers, as JSON: results in the form of `tinsmith run --json`."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tinsmith_runtime.answers import rank
from tinsmith_runtime.serve.samples import make_batch, read_picture

if TYPE_CHECKING:
    from tinsmith_runtime.bundle import Manifest
    from tinsmith_runtime.model import Model
    from tinsmith_runtime.serve.samples import Instance

_CLASSES = 10


@dataclass(frozen=True)
class Answer:
    """What became of a request.

    Attributes:
        results: of each sample `predictions`, `detections`, `values` or `outputs`.
        latency_ms: how long the model took for all of them.
        engine: that computed them, and its version.
    """

    results: list[dict[str, Any]]
    latency_ms: float
    engine: str


class Predictor:
    """Answers requests with any of the models that were made of one bundle.

    Args:
        manifest: of the bundle.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._detector = None
        if manifest.boxes:
            from tinsmith_runtime.detect import Detector

            self._detector = Detector(manifest)

    def answer(self, model: Model, instances: list[Instance], top: int | None) -> Answer:
        """Has a model compute, in the calling thread.

        Args:
            model: what computes.
            instances: what was sent.
            top: how many classes, or boxes, to give for each sample; `None` gives 10 classes, and
                all boxes.

        Raises:
            InputError: an instance does not fit the model.
        """
        seconds = 0.0

        def predict(batch: Any) -> Any:
            nonlocal seconds
            start = time.perf_counter()
            found = model.predict(batch)
            seconds += time.perf_counter() - start
            return found

        if self._detector:
            results = []
            for path, value in instances:
                found = self._detector.detect(read_picture(path, value), predict, name=path)
                results.append({"detections": [asdict(one) for one in found[:top]]})
        else:
            batch = predict(make_batch(instances, model.inputs))
            results = [_result(model, batch, index, top) for index in range(len(instances))]
        return Answer(results, round(seconds * 1e3, 3), model.engine_version)


def _result(model: Model, found: Any, index: int, top: int | None) -> dict[str, Any]:
    if isinstance(found, dict):
        return {"outputs": {name: values[index].tolist() for name, values in found.items()}}
    if model.output.kind == "values":
        return {"values": found[index].tolist()}
    ranked = rank(found[index].tolist(), model.labels, top or _CLASSES)
    return {"predictions": [asdict(prediction) for prediction in ranked]}
