"""What a bundle says of how good its model is; part of the manifest, see `schema`."""

from typing import Annotated

from tinsmith_runtime.bundle.fields import Count, few
from tinsmith_runtime.record import frozen_dataclass


@frozen_dataclass(frozen=True)
class Parity:
    """How far the int8 outputs of two targets agree.

    Attributes:
        compared: how many outputs.
        equal: how many are equal to the bit.
        max_difference_lsb: the largest difference.
        top1_agreement: how often both answer the same (0..1); `None` where outputs are not classes.
        enters_at: the first layer whose codes differ; `None` where none was found.
        enters_lsb: the largest difference there.
    """

    compared: int
    equal: int
    max_difference_lsb: int
    top1_agreement: float | None
    enters_at: str | None = None
    enters_lsb: int | None = None


@frozen_dataclass(frozen=True)
class Stage:
    """What became of the model at one stage of the export, on `count` samples.

    Attributes:
        name: `float` first, then what it became.
        target: whose int8 file it is, as `Variant.format`; `None` before there are files.
        count: how many samples.
        accuracy: top-1 (0..1); `None` without labels.
        agreement: how often the top-1 answer is the float model's (0..1); `None` for values.
        sqnr_db: power of the float model's outputs over that of the difference; `None` where there
            is none.
        cosine: of the angle to the float model's outputs; `None` where one has no length.
    """

    name: str
    target: str | None
    count: int
    accuracy: float | None
    agreement: float | None
    sqnr_db: float | None
    cosine: float | None


@frozen_dataclass(frozen=True)
class TargetParity:
    """How far a target agrees with the reference.

    Attributes:
        target: as `Variant.format`.
        evaluation: on the evaluation data.
        random: on random int8 inputs.
    """

    target: str
    evaluation: Parity
    random: Parity


@frozen_dataclass(frozen=True)
class StateError:
    """How far an int8 state is from the float model's, over sequences.

    Of a stream these are the evaluation data, and of the float state counts what lies between the
    lowest and the highest code. Of a recurrent layer that was unrolled, calibration inputs.

    Attributes:
        name: of the input; of a layer that was unrolled.
        steps: how many a sequence has.
        first_sqnr_db: power of the float state over that of the difference, behind the first step;
            `None` where there is none.
        last_sqnr_db: behind the last: what the steps between have added to the error.
    """

    name: str
    steps: Count
    first_sqnr_db: float | None
    last_sqnr_db: float | None


@frozen_dataclass(frozen=True)
class Quality:
    """What each stage cost, and how far the int8 files agree.

    Attributes:
        stages: float, rewritten, fake-quantized, then each target.
        reference: the target that the others are compared with, as `Variant.format`.
        parity: of each of the others.
        mcnemar_p: how likely so uneven a change of right answers, float against int8, is by
            chance; `None` without labels.
        states: of a stream or of unrolled recurrent layers, how their states' errors grow.
    """

    stages: Annotated[tuple[Stage, ...], few("stages")]
    reference: str
    parity: tuple[TargetParity, ...]
    mcnemar_p: float | None
    states: tuple[StateError, ...] = ()
