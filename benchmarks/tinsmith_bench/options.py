"""How to measure."""

from dataclasses import dataclass

from tinsmith_data.limits import MAX_SEED, MOST, is_whole, require, require_real, require_whole

BATCHES = (1, 8, 32)
# Far above what helps; an engine makes every thread, and a batch is held in memory, whatever it is.
MAX_THREADS, MAX_BATCH = 1024, 65_536
_LIMITS = (
    ("rounds", 2, 1_000_000),
    ("processes", 2, 10_000),
    ("cold_starts", 1, 10_000),
    ("top_k", 1, MOST),
    ("seed", 0, MAX_SEED),
    ("profile_calls", 0, 1_000_000),
)


@dataclass(frozen=True)
class Options:
    """How to measure.

    Attributes:
        threads: that an engine may use; each number is measured.
        rounds: how often every variant gets its turn; the time it takes grows with it.
        processes: that share the rounds; the intervals become narrower with more of them.
        batches: how many inputs a call gets when throughput is measured.
        rate_hz: if given, also measure that many calls a second.
        cold_starts: fresh processes for each variant.
        top_k: how many guesses of a classifier may be right, besides the first alone.
        seed: of the order of the turns, the inputs and the bootstrap.
        profile_calls: of each variant, to see where its time goes; 0 for no such look.
    """

    threads: tuple[int, ...] = (1,)
    rounds: int = 200
    processes: int = 20
    batches: tuple[int, ...] = BATCHES
    rate_hz: float | None = None
    cold_starts: int = 7
    top_k: int = 3
    seed: int = 0
    profile_calls: int = 0

    def __post_init__(self) -> None:
        """Checks every field.

        Raises:
            UsageError: one cannot be; the message begins with its name.
        """
        for name, least, most in _LIMITS:
            require_whole(name, getattr(self, name), least, most)
        for name, most in (("threads", MAX_THREADS), ("batches", MAX_BATCH)):
            value = getattr(self, name)
            fits = isinstance(value, tuple | list) and bool(value)
            fits = fits and all(is_whole(number, 1, most) for number in value)
            require(fits, name, f"whole numbers from 1 to {most}", value)
        if self.rate_hz is not None:
            require_real("rate_hz", self.rate_hz, 0.1, 10_000)


DEFAULT = Options()
QUICK = Options(rounds=48, processes=8, cold_starts=3)
