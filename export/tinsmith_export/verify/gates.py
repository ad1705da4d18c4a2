"""The gates: where one fails, no bundle is written."""

from collections.abc import Collection

from tinsmith_export.errors import GateError
from tinsmith_runtime.bundle import Quality


def hold_gates(
    quality: Quality,
    max_drop_pp: float,
    kept: Collection[str] = (),
) -> None:
    """Lets a model through that kept its accuracy and computes the same everywhere.

    Without labels, an answer that is not the float model's counts as lost. The engines may differ
    by 1 LSB: at the outputs, or in a layer that is kept float. Its sums differ in their last bits,
    so that a code on the edge is rounded either way, and integer layers behind carry that on.

    Args:
        quality: the float model's stage first.
        max_drop_pp: how many percentage points of accuracy int8 may lose.
        kept: the layers that are kept float.

    Raises:
        GateError: it did not.
    """
    exact, titles = quality.stages[0], {}
    for stage in quality.stages:
        if stage.target is None:
            continue
        titles[stage.target] = stage.name
        if stage.accuracy is not None and exact.accuracy is not None:
            drop, what = exact.accuracy - stage.accuracy, "loses {} points against float"
        elif stage.agreement is not None:
            drop, what = 1 - stage.agreement, "answers {} % of the inputs otherwise than float"
        else:
            continue
        # 99.5 % - 99 % is a little more than 0.5 points in floats: the limit itself must pass.
        drop_pp = round(drop * 100, 9)
        if drop_pp > max_drop_pp:
            raise GateError(
                f"{stage.name} {what.format(f'{drop_pp:.2f}')}, more than --max-drop-pp "
                f"{max_drop_pp:g}: no bundle written; try --recipe qat with more --qat-steps, or "
                "--keep-float"
            )
    for target in quality.parity:
        for parity in (target.evaluation, target.random):
            lsb = parity.enters_lsb if parity.enters_at in kept else parity.max_difference_lsb
            if (lsb or 0) > 1:
                enters = f", from layer `{parity.enters_at}` on" if parity.enters_at else ""
                raise GateError(
                    f"{titles[quality.reference]} and {titles[target.target]} differ by "
                    f"{parity.max_difference_lsb} LSB, more than 1{enters}: no bundle written"
                )
