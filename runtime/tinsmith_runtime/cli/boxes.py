"""What `tinsmith run` answers where the bundle describes a detector."""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from tinsmith_runtime.cli.drawings import Drawings
from tinsmith_runtime.detect import Detector
from tinsmith_runtime.errors import InputError
from tinsmith_runtime.inputs.samples import Sample
from tinsmith_runtime.model import Model


class Boxes:
    """Finds boxes in samples, and draws them if a folder is named.

    Args:
        model: of a bundle that describes boxes.
        arguments: of `tinsmith run`.
    """

    def __init__(self, model: Model, arguments: argparse.Namespace) -> None:
        self._predict, self._arguments = model.predict, arguments
        self._detector = Detector(model.manifest)
        self._drawings: Drawings | None = None
        if arguments.draw:
            self._drawings = Drawings(arguments.draw, self._detector.head.labels)

    def apart(self, samples: Iterator[Sample]) -> Iterator[Sample]:
        """The same samples, none of which lies where the drawings go."""
        if self._drawings is None or self._arguments.camera is not None:
            return samples
        found = list(samples)
        self._drawings.require_apart(found)
        return iter(found)

    def answer(self, sample: Sample) -> dict[str, Any]:
        """What was found in a sample, as JSON."""
        if sample.picture is None:
            sample.read()  # it raises an error that says why
            raise InputError(f"{sample.name}: expected a picture")
        limits = self._arguments.min_probability, self._arguments.iou
        found = self._detector.detect(sample.picture, self._predict, *limits, sample.name)
        found = found[: self._arguments.top]
        if self._drawings:
            self._drawings.write(sample, found)
        return {"image": sample.name, "detections": [asdict(one) for one in found]}
