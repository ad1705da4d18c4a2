"""One variant against another."""

from dataclasses import dataclass

from tinsmith_bench.report_data.estimate import Estimate


@dataclass(frozen=True)
class SpeedRatio:
    """One variant's time over another's with so many threads.

    Attributes:
        threads: that each engine may use.
        latency: ratio of the medians of `latency_us`, with its bootstrap interval at 95 %.
        engine: of the medians of `engine_us`, likewise.
        fastest: ratio of the fastest calls of `latency_us`, which nothing disturbed.
    """

    threads: int
    latency: Estimate
    engine: Estimate
    fastest: float

    def inverse(self) -> "SpeedRatio":
        """The same the other way round."""
        return SpeedRatio(
            self.threads, self.latency.inverse(), self.engine.inverse(), 1 / self.fastest
        )


@dataclass(frozen=True)
class Comparison:
    """One variant against another on the same inputs and in the same rounds.

    Attributes:
        candidate: the id of the variant.
        baseline: the id of the reference that it is held against.
        speeds: one for each of `method.threads`, in that order.
        agreement: share of samples put in the same class; `None` for values.
        lost: samples that only the reference gets right; `None` without labels.
        won: samples that only the variant gets right; likewise.
        mcnemar_p: probability of a split at least so uneven if both were equally good; likewise.
        mae_ratio: of the mean absolute errors, with its bootstrap interval at 95 %; `None` without
            targets.
        map50_change: the variant's mAP@0.5 less the reference's, with its paired bootstrap interval
            at 95 % over the images; `None` without true boxes.
        map_change: likewise, of the mean over IoUs from 0.5 to 0.95.
    """

    candidate: str
    baseline: str
    speeds: tuple[SpeedRatio, ...]
    agreement: float | None
    lost: int | None
    won: int | None
    mcnemar_p: float | None
    mae_ratio: Estimate | None
    map50_change: Estimate | None = None
    map_change: Estimate | None = None

    @property
    def speed(self) -> SpeedRatio:
        """With the first of the numbers of threads that were asked for."""
        return self.speeds[0]

    def inverse(self) -> "Comparison":
        """The same the other way round."""
        return Comparison(
            self.baseline,
            self.candidate,
            tuple(ratio.inverse() for ratio in self.speeds),
            self.agreement,
            self.won,
            self.lost,
            self.mcnemar_p,
            self.mae_ratio and self.mae_ratio.inverse(),
            self.map50_change and self.map50_change.opposite(),
            self.map_change and self.map_change.opposite(),
        )
