"""The gates: where one fails, no bundle is written."""

import math
from collections.abc import Collection, Mapping, Sequence

from tinsmith_export.results import Outcome, Verdict, Witness
from tinsmith_export.verdict import by_verdict, failure_text
from tinsmith_runtime.bundle import Quality, StateError

# Of a state: less, and more than a tenth of its power is error.
_MIN_STATE_SQNR_DB = 10.0


def accuracy_failures(
    verdicts: Mapping[str, Verdict], titles: Mapping[str, str], strict: bool
) -> list[str]:
    """Says which targets lose too much; if `strict`, also for which the inputs are too few.

    Args:
        verdicts: of each target, by its name.
        titles: likewise.
        strict: whether an undecided verdict is a failure.
    """
    passing = {Outcome.PASS} if strict else {Outcome.PASS, Outcome.UNDECIDED}
    found = by_verdict(verdicts, titles)
    return [failure_text(verdict, who) for who, verdict in found if verdict.outcome not in passing]


def choice_failures(verdict: Verdict | None) -> list[str]:
    """Says so where no layers kept float bring the loss under the limit, on inputs held back."""
    if verdict is None or verdict.outcome is not Outcome.FAIL:
        return []
    who = "--keep-float auto found no layers that are enough, on inputs held back"
    return [failure_text(verdict, who)]


def state_failures(states: Sequence[StateError]) -> list[str]:
    """Says which states lie too far from the float model's behind the last step."""
    return [
        f"the error of state `{state.name}` grows too large: behind step {state.steps} its SQNR is "
        f"{state.last_sqnr_db:.1f} dB, less than {_MIN_STATE_SQNR_DB:g} "
        f"({state.first_sqnr_db or math.inf:.1f} dB behind the first)"
        for state in states
        if state.last_sqnr_db is not None and state.last_sqnr_db < _MIN_STATE_SQNR_DB
    ]


def parity_failures(quality: Quality, in_float: Collection[str] = ()) -> list[str]:
    """Says which targets do not compute what the reference does.

    They may differ by 1 LSB: at the outputs, or in a layer that engines compute in float. Its sums
    differ in their last bits, so that a code on the edge is rounded either way, and integer layers
    behind carry that on.

    Args:
        quality: the parity of each target.
        in_float: the layers that engines compute in float.
    """
    titles = {stage.target: stage.name for stage in quality.stages if stage.target}
    found = []
    for target in quality.parity:
        for parity in (target.evaluation, target.random):
            lsb = parity.enters_lsb if parity.enters_at in in_float else parity.max_difference_lsb
            if (lsb or 0) > 1:
                enters = f", from layer `{parity.enters_at}` on" if parity.enters_at else ""
                found.append(
                    f"{titles[quality.reference]} and {titles[target.target]} differ by "
                    f"{parity.max_difference_lsb} LSB, more than 1{enters}"
                )
    return list(dict.fromkeys(found))


def witness_failures(witness: Witness, titles: Mapping[str, str]) -> list[str]:
    """Says which float files differ from the witness's."""
    return [
        f"the float {titles[target]} file differs by {difference:.2g} from the ONNX file that "
        f"tf2onnx made of the model, more than {witness.limit:g}"
        for target, difference in witness.differences.items()
        if not difference <= witness.limit
    ]
