"""Where the time goes: the operators that each variant runs, and what each costs."""

from collections.abc import Sequence

import numpy as np

from tinsmith_bench.report_data import Operator, Profile
from tinsmith_bench.target import Target
from tinsmith_bench.timing.latency import LEAD_CALLS, Watch
from tinsmith_runtime.batch import Arrays, count, rows


def profile(
    targets: Sequence[Target],
    inputs: Arrays,
    threads: int,
    calls: int,
    seed: int,
    watch: Watch,
) -> tuple[Profile, ...]:
    """Profiles variants one after the other, apart from all other timings: profiling slows down.

    Args:
        targets: what to profile.
        inputs: raw inputs `(N, ...)` to draw from.
        threads: that an engine may use.
        calls: single inputs that each variant computes.
        seed: of the inputs.
        watch: is told how far it is.

    Returns:
        A profile of each variant; without times where its engine does not tell them, without
        operators where it does not even name them.
    """
    picks = np.random.default_rng(seed).integers(count(inputs), size=LEAD_CALLS + calls)
    profiles = []
    for done, one in enumerate(targets, start=1):
        runner = one.open(threads)
        found = runner.profile(runner.encode(rows(inputs, picks)))
        runner.close()
        total = sum(operator.time_us or 0.0 for operator in found)
        operators = (
            Operator(
                each.name,
                each.kind,
                each.arithmetic,
                each.time_us,
                each.time_us / total if each.time_us is not None and total else None,
            )
            for each in found
        )
        profiles.append(Profile(one.id, calls, tuple(operators)))
        watch("profile", done, len(targets))
    return tuple(profiles)
