"""Counts and latencies in Prometheus's text format, version 0.0.4."""

from bisect import bisect_left
from collections import Counter

# Seconds, from a small model on a workstation to a large one on a Pi Zero.
_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Histogram:
    """How often a time lay below each of a few bounds."""

    def __init__(self, name: str, text: str) -> None:
        self._name, self._text = name, text
        self._counts = [0] * (len(_BOUNDS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Counts one more."""
        self._counts[bisect_left(_BOUNDS, seconds)] += 1
        self._sum += seconds

    def lines(self) -> list[str]:
        """Gives the text, a line each."""
        lines, below = _head(self._name, "histogram", self._text), 0
        for bound, found in zip((*_BOUNDS, "+Inf"), self._counts, strict=True):
            below += found
            lines.append(f'{self._name}_bucket{{le="{bound}"}} {below}')
        return [*lines, f"{self._name}_sum {self._sum:.6f}", f"{self._name}_count {below}"]


class Metrics:
    """What a server counts; the event loop alone writes to it.

    Attributes:
        requests: answered, by path and status.
        samples: that were predicted.
        request_seconds: of each prediction's request, waiting and decoding included.
        predict_seconds: of the model alone.
    """

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.samples = 0
        self.request_seconds = Histogram(
            "tinsmith_request_seconds", "From the headers of a prediction to its answer."
        )
        self.predict_seconds = Histogram(
            "tinsmith_predict_seconds", "Of the model, without decoding and waiting."
        )

    def text(self, engine: str, sha256: str) -> str:
        """Gives all of it, and which model runs.

        Args:
            engine: its name and version.
            sha256: of the model file.
        """
        requests = [
            f'tinsmith_requests_total{{path="{path}",status="{status}"}} {count}'
            for (path, status), count in sorted(self.requests.items())
        ]
        engine = engine.replace("\\", r"\\").replace('"', r"\"")
        lines = [
            *_head("tinsmith_requests_total", "counter", "Requests that were answered."),
            *requests,
            *_head("tinsmith_samples_total", "counter", "Samples that were predicted."),
            f"tinsmith_samples_total {self.samples}",
            *self.request_seconds.lines(),
            *self.predict_seconds.lines(),
            *_head("tinsmith_model_info", "gauge", "The model file that runs."),
            f'tinsmith_model_info{{engine="{engine}",sha256="{sha256}"}} 1',
        ]
        return "\n".join(lines) + "\n"


def _head(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
