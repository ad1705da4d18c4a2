"""What only a board or a machine can tell of a bundle: its latencies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tinsmith_search.boards import Boards
from tinsmith_search.boards.boards import THIS_MACHINE
from tinsmith_search.boards.measurement import OPTIONS
from tinsmith_search.cache import Cache
from tinsmith_search.goals import Metric

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Measured:
    """What was measured of one bundle.

    Attributes:
        values: by the metric's name, as in the goals.
        intervals: the 95 % intervals of those that have one.
        measured_on: the hardware, of several tags each with its tag.
    """

    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    measured_on: str


class Measure:
    """Measures bundles where the goals say; what was measured once is kept.

    Args:
        metrics: what the goals ask for.
        boards: with the hardware of each tag, which `Boards.check` has found out.
        cache: of the run folder.
        tell: is told what happens meanwhile.
    """

    def __init__(self, metrics: Sequence[Metric], boards: Boards, cache: Cache, tell: Tell) -> None:
        self._metrics, self._boards, self._cache, self._tell = metrics, boards, cache, tell

    def __call__(self, bundle: Path, key: str) -> Measured:
        """Measures a bundle.

        Args:
            bundle: its file.
            key: the hash of all that it was made of.

        Raises:
            SearchError: no board could measure it.
        """
        values, intervals, places = dict[str, float](), dict[str, tuple[float, float]](), []
        for tag in dict.fromkeys(metric.board for metric in self._metrics):
            found = self._measured(bundle, key, tag)
            for metric in self._metrics:
                if metric.board == tag:
                    values[str(metric)] = found["values"][metric.name]
                    if metric.name in found["intervals"]:
                        low, high = found["intervals"][metric.name]
                        intervals[str(metric)] = low, high
            places.append(f"{tag or THIS_MACHINE}: {found['measured_on']}")
        return Measured(values, intervals, "; ".join(places))

    def _measured(self, bundle: Path, key: str, tag: str | None) -> Mapping[str, Any]:
        def make(folder: Path) -> dict[str, Any]:
            found = self._boards.measure(bundle, tag, tell=self._tell)
            return {
                "values": found.values,
                "intervals": found.intervals,
                "measured_on": found.measured_on,
                "report": found.report,
            }

        hardware = self._boards.hardware[tag or THIS_MACHINE]
        what = {"bundle": key, "hardware": hardware, "options": asdict(OPTIONS)}
        return self._cache.get("measure", what, make).facts
