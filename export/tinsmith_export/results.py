"""What an export gives, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tinsmith_runtime.bundle import Manifest


@dataclass(frozen=True)
class Checkpoint:
    """How far the rounded model agrees with the float one on inputs held back.

    Attributes:
        step: of the fine-tuning.
        agreement: how often both answer the same class (0..1); `None` for values.
        mean_squared_error: of the outputs; of several the mean, each measured by its own spread.
    """

    step: int
    agreement: float | None
    mean_squared_error: float


@dataclass(frozen=True)
class Sensitivity:
    """What quantizing does to a layer, on inputs held back; where there is none, `None`.

    Attributes:
        layer: its name.
        kind: `Conv2D` for example.
        weight_bits: 7 or 8; 32 where it is kept float; `None` without weights.
        output_range: the lowest and the highest output that its int8 codes stand for.
        weight_range: its smallest and its largest weight before rounding.
        clipped: the part of its outputs (0..1), in float, that lies outside.
        sqnr_db: of its output, all layers quantized, against the same weights unrounded.
        alone_drop_pp: percentage points of agreement with the unrounded model that are lost when
            this layer alone is quantized; `None` for values, and if it was not measured.
        alone_sqnr_db: of the model's output then.
    """

    layer: str
    kind: str
    weight_bits: int | None
    output_range: tuple[float, float]
    weight_range: tuple[float, float] | None
    clipped: float
    sqnr_db: float | None
    alone_drop_pp: float | None
    alone_sqnr_db: float | None


@dataclass(frozen=True)
class Witness:
    """How far the float files are from an ONNX file that tf2onnx made of the Keras model.

    Attributes:
        count: of inputs.
        differences: the largest difference of an output, by the target's name. Of outputs larger
            than 1, the difference by the largest of them.
        limit: what no difference may exceed.
    """

    count: int
    differences: Mapping[str, float]
    limit: float


class Outcome(StrEnum):
    """What the answers say of a limit.

    `FAIL`: more is lost, and a one-sided exact test says so at 95 %. `PASS`: the upper end of the
    95 % interval is within the limit. `UNDECIDED`: neither; there are too few inputs.
    """

    PASS = "pass"
    UNDECIDED = "undecided"
    FAIL = "fail"


@dataclass(frozen=True)
class Verdict:
    """Whether int8 keeps to a limit, by its answers and the float model's to the same inputs.

    Attributes:
        outcome: what they say.
        labels: whether right answers are counted; without labels, whether answers are the same.
        count: of inputs.
        lost: how many float alone answers right; without labels, how many answers changed.
        won: how many int8 alone answers right; 0 without labels.
        loss_pp: the percentage points of accuracy, without labels of agreement, that are lost.
        upper_pp: the upper end of its 95 % interval.
        limit_pp: what it may be.
        p: how likely at least such a loss would be, were the true one at the limit.
        decisive_count: about how many inputs would decide; `None` if these do, or none can.
    """

    outcome: Outcome
    labels: bool
    count: int
    lost: int
    won: int
    loss_pp: float
    upper_pp: float
    limit_pp: float
    p: float
    decisive_count: int | None


@dataclass(frozen=True)
class Attempt:
    """One recipe that `auto` tried, judged on inputs held back.

    Attributes:
        recipe: `ptq`, `calibrated`, `qat` or `mixed`.
        met: whether its loss is within the limit; of values, whether the SQNR is 30 dB or more.
        verdict: on its answers; `None` for values.
        sqnr_db: of the outputs; `None` where there is no noise.
        seconds: that it took.
    """

    recipe: str
    met: bool
    verdict: Verdict | None
    sqnr_db: float | None
    seconds: float


@dataclass(frozen=True)
class Exported:
    """What an export gave.

    Attributes:
        bundle: the file that was written; `None` if a gate failed and nothing keeps the bundle.
        manifest: of the bundle, or of what it would have been.
        verdicts: what the gate says of each target, by its name; empty where outputs are values.
        float_choice: for `keep_float="auto"`, what the chosen layers give on inputs held back.
        failures: the gates that failed, a line each.
        attempts: what `auto` tried, in that order; empty for other recipes.
        checkpoints: of the fine-tuning, the first without any.
        kernels: the integer kernels of each target's engine, counted, by the target's name.
        sensitivities: what quantizing does to each layer, in the order of computation; empty if
            neither `layer_errors` nor `sensitivity` asked for it.
        witness: what the float files were compared with, if `verify_onnx` asked for it.
        warnings: what may be wrong with the inputs, is not decided, or is left out, a line each.
        peak_memory_mb: the most that this process held so far, in 2**20 bytes.
        cpu_notes: what an engine does differently on this machine's CPU, by the target's name.
        tensors: what the operators of the int8 TFLite file give: tensor name to the layer's name;
            empty like `sensitivities`.
    """

    bundle: Path | None
    manifest: Manifest
    verdicts: Mapping[str, Verdict]
    float_choice: Verdict | None
    failures: tuple[str, ...]
    attempts: tuple[Attempt, ...]
    checkpoints: tuple[Checkpoint, ...]
    kernels: Mapping[str, Mapping[str, int]]
    sensitivities: tuple[Sensitivity, ...]
    witness: Witness | None
    warnings: tuple[str, ...]
    peak_memory_mb: float
    cpu_notes: Mapping[str, str] = field(default_factory=dict)
    tensors: Mapping[str, str] = field(default_factory=dict)

    @property
    def kept_checkpoint(self) -> Checkpoint:
        """The one whose outputs held back are nearest to the float model's."""
        return min(self.checkpoints, key=lambda checkpoint: checkpoint.mean_squared_error)


@dataclass(frozen=True)
class CheckedLayer:
    """What becomes of a layer of the Keras model.

    Attributes:
        layer: its name; in a model inside a model `inner.layer`.
        kind: its class, or TensorFlow's operator where that is not known.
        becomes: the operators of each target's int8 file, by the target's name; of a layer that is
            folded into others, or that moves nothing, there are none.
        in_float: the targets whose engines compute it in float, between two roundings.
        macs: multiply-accumulates for one input, of products by weights and of matrices.
        weights: how many numbers it multiplies by and adds, which the files hold. An average has
            some too: its engines' kernels are those of a convolution.
    """

    layer: str
    kind: str
    becomes: Mapping[str, tuple[str, ...]]
    in_float: tuple[str, ...]
    macs: int
    weights: int


@dataclass(frozen=True)
class CheckedTarget:
    """What is known of a target's files before an export; sizes in bytes.

    Attributes:
        name: the target's.
        title: for a person.
        int8_bytes: the size of its int8 file, about; `None` if no file can hold the model.
        float_bytes: that of its float file, about; `None` if there is none.
        arena_bytes: how much memory its tensors share, where the file says.
        refused: why no file can hold the model; empty if one can.
    """

    name: str
    title: str
    int8_bytes: int | None = None
    float_bytes: int | None = None
    arena_bytes: int | None = None
    refused: str = ""


@dataclass(frozen=True)
class Checked:
    """What an export would make of a model, or why it would refuse it.

    Attributes:
        refused: a text for each layer that cannot be compiled; then the rest is empty.
        layers: those that compute something, in the model's order, and what compiling adds.
        targets: those that tell.
        model_parameters: of the Keras model, as Keras counts them.
    """

    refused: tuple[str, ...] = ()
    layers: tuple[CheckedLayer, ...] = ()
    targets: tuple[CheckedTarget, ...] = ()
    model_parameters: int = 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one input."""
        return sum(layer.macs for layer in self.layers)

    @property
    def weights(self) -> int:
        """The numbers that layers multiply by and add, batch normalization folded away."""
        return sum(layer.weights for layer in self.layers)
