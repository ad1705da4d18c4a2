"""`--recipe auto`: recipes from the cheapest to the dearest, until one keeps to the limit."""

import math
import time

from tinsmith_export.options import Options
from tinsmith_export.outputs import leveled, side_by_side
from tinsmith_export.progress import Progress
from tinsmith_export.quantize.qat import batch_size
from tinsmith_export.quantize.recipe import (
    SEARCH_COUNT,
    Quantized,
    fine_tune,
    refine,
)
from tinsmith_export.quantize.sensitivity import keep_fewest
from tinsmith_export.results import Attempt, Outcome
from tinsmith_export.verdict import judge
from tinsmith_report.statistics import sqnr_db
from tinsmith_runtime.batch import count

# Outputs that are values give no answers to count: their SQNR decides.
_MIN_SQNR_DB = 30.0
# A training step takes as long as so many evaluations of its batch; a search for ranges, or for
# layers to keep float, takes so many evaluations a layer.
_STEP_EVALUATIONS, _LAYER_EVALUATIONS = 5.0, 1.5
# Fewer steps of fine-tuning hardly change a weight.
_MIN_STEPS = 20


def attempt_recipes(
    untuned: Quantized, begun_s: float, options: Options, progress: Progress
) -> tuple[Quantized, str, tuple[Attempt, ...]]:
    """Judges `ptq`, then tries `calibrated`, `qat` and `mixed`.

    `calibrated` begins with what `ptq` gave, the others with the better of the two: tuned weights
    are made to be rounded, and a layer of them that stays float is no longer the model's.

    The first that keeps to the limit on the inputs held back is taken; where these are too few to
    be sure of it, `calibrated` is tried as well. If none does, or the budget does not suffice, or
    the user interrupts, it is the best so far.

    Args:
        untuned: what `ptq` made.
        begun_s: when that was begun, by `time.monotonic`.
        options: the limit, the budget, and how to fine-tune.
        progress: hears how it goes.

    Returns:
        What was taken, its recipe, and the attempts in their order.
    """
    best = untuned
    work = _Work(best, options, progress)
    attempts = [work.measured("ptq", best, begun_s)]
    # Layers are chosen to stay float by the answers that they save.
    for recipe in ("calibrated", "qat", "mixed") if work.classes else ("calibrated", "qat"):
        left_s = options.budget_s - (time.monotonic() - begun_s)
        if attempts[-1].met and (recipe != "calibrated" or _is_sure(attempts[-1])):
            break
        if (estimate_s := work.estimate_s(recipe, left_s)) > left_s:
            progress.warn(f"--budget: {recipe} would take about {estimate_s:.0f} s: not tried")
            continue
        best_so_far = max(attempts, key=rank)
        result = "may not be enough" if best_so_far.met else "is not enough"
        progress.stage(f"{best_so_far.recipe} {result}: {recipe}, about {estimate_s:.0f} s")
        started_s = time.monotonic()
        try:
            found = work.run(recipe, untuned, left_s)
        except KeyboardInterrupt:
            progress.warn(f"{recipe} was interrupted: {best_so_far.recipe} is taken")
            break
        attempts.append(work.measured(recipe, found, started_s))
        if max(attempts, key=rank) is attempts[-1]:
            best = found
            untuned = untuned if recipe == "qat" else found
    return best, max(attempts, key=rank).recipe, tuple(attempts)


def rank(attempt: Attempt) -> tuple[bool, float, float]:
    """Larger is better: within the limit, or else the smaller loss; then less noise."""
    loss_pp = 0.0 if attempt.met or not attempt.verdict else attempt.verdict.loss_pp
    return attempt.met, -loss_pp, math.inf if attempt.sqnr_db is None else attempt.sqnr_db


def _is_sure(attempt: Attempt) -> bool:
    """Whether the inputs held back are enough to say that it keeps to the limit."""
    return attempt.verdict is None or attempt.verdict.outcome is Outcome.PASS


class _Work:
    """What the recipes do, and how long that may take; see `attempt_recipes`."""

    def __init__(self, first: Quantized, options: Options, progress: Progress) -> None:
        data, self._held_back = first.calibration.data, first.calibration.held_back
        self._judged = first.calibration.judged or self._held_back
        self._options, self._progress = options, progress
        self.classes = data.classes
        self._layers = len(first.graph.requantized)
        self._batch = batch_size(first.graph, options.qat_batch, count(data.inputs))
        self._searched = min(SEARCH_COUNT, count(data.inputs))
        self._input_s = 0.0

    def measured(self, recipe: str, quantized: Quantized, started_s: float) -> Attempt:
        """Judges a quantized model on the inputs held back, and times that."""
        wanted, begun_s = self._judged, time.monotonic()
        found = quantized.answers(wanted.inputs)
        ended_s = time.monotonic()
        self._input_s = (ended_s - begun_s) / count(self._held_back.inputs)
        sqnr = sqnr_db(leveled(wanted.outputs, wanted.outputs), leveled(found, wanted.outputs))
        verdict = None
        if wanted.classes:
            pair = side_by_side(wanted.outputs), side_by_side(found)
            verdict = judge(*pair, wanted.labels, self._options)
        met = sqnr is None or sqnr >= _MIN_SQNR_DB
        if verdict is not None:
            met = verdict.loss_pp <= verdict.limit_pp
        return Attempt(recipe, met, verdict, sqnr, ended_s - started_s)

    def estimate_s(self, recipe: str, left_s: float) -> float:
        """About how long a recipe will take."""
        if recipe == "qat":
            return max(self._steps(left_s), _MIN_STEPS) * self._step_s()
        each = self._searched if recipe == "calibrated" else count(self._held_back.inputs)
        return _LAYER_EVALUATIONS * self._layers * each * self._input_s

    def run(self, recipe: str, quantized: Quantized, left_s: float) -> Quantized:
        """Applies a recipe to a model."""
        options, progress = self._options, self._progress
        if recipe == "calibrated":
            return refine(quantized, progress.layer)
        if recipe == "qat":
            steps, end_s = self._steps(left_s), time.monotonic() + left_s
            return fine_tune(quantized, steps, self._batch, options.seed, progress.step, end_s)
        return keep_fewest(quantized, self._held_back, options, progress.layer)[0]

    def _step_s(self) -> float:
        return _STEP_EVALUATIONS * self._batch * self._input_s

    def _steps(self, left_s: float) -> int:
        """As many steps of fine-tuning as the budget allows."""
        return min(self._options.qat_steps, int(left_s / max(self._step_s(), 1e-6)))
