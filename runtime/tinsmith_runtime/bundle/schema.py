"""What a bundle says of itself, as frozen dataclasses; `manifest` reads and writes them."""

from typing import Annotated

from tinsmith_runtime.bundle.fields import (
    Count,
    Digest,
    FileName,
    Release,
    Scale,
    Shape,
    Word,
    ZeroPoint,
    few,
    one_of,
)
from tinsmith_runtime.record import Rule, frozen_dataclass

MAX_SETTINGS, MAX_SETTING = 64, 1000


@frozen_dataclass(frozen=True)
class Preprocessing:
    """How an image file becomes pixels of the model's size; an array of pixels is left as it is.

    Attributes:
        resampling: the filter, by Pillow's name for it.
        fit: `stretch` to the size, `contain` with zeros around, or `crop` the middle.
        invert: whether every pixel becomes `255 - pixel` first.
    """

    resampling: Annotated[
        str, one_of("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
    ] = "bilinear"
    fit: Annotated[str, one_of("stretch", "contain", "crop")] = "stretch"
    invert: bool = False


@frozen_dataclass(frozen=True)
class Input:
    """What the model takes: an image, features, or ids, the rows of a table.

    Attributes:
        name: the tensor's name in the model files, where there are several inputs.
        shape: batch first: `(None, H, W, C)` of an image, `(None, ...)` of features.
        dtype: what a user passes: `uint8`, raw pixels; `float32`, features; `int32`, ids.
        layout: `NHWC`; `None` for others.
        value_range: the float values that pixels 0 and 255 stand for; the range of the features
            that the model was calibrated on, `None` if unknown; the least and largest id.
        scale: `float = (int8 - zero_point) * scale`.
        zero_point: of an image, `int8 = pixel - 128`; of features,
            `int8 = clip(round_half_to_even(float / scale) + zero_point)`, computed in float32;
            an id is two pixels, the lower byte first.
        kind: `image`, `features` or `ids`.
        preprocessing: how an image file becomes an input; `None` for features.
    """

    name: str
    shape: Shape
    dtype: Annotated[str, one_of("uint8", "float32", "int32")]
    layout: Annotated[str, one_of("NHWC")] | None
    value_range: tuple[float, float] | None
    scale: Scale
    zero_point: ZeroPoint
    kind: Annotated[str, one_of("image", "features", "ids")] = "image"
    preprocessing: Preprocessing | None = Preprocessing()

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape without the batch."""
        return tuple(size or 0 for size in self.shape[1:])

    @property
    def color(self) -> str | None:
        """`grey`, `rgb` or `rgba`, after the channels; `None` if no image file has as many."""
        channels = self.shape[-1] if self.kind == "image" else None
        return {1: "grey", 3: "rgb", 4: "rgba"}.get(channels or 0)


@frozen_dataclass(frozen=True)
class Output:
    """What the model gives, as int8, and what to make of it.

    Attributes:
        name: the tensor's name in the model files, where there are several outputs.
        shape: batch first: `(None, classes)` of logits, `(None, ...)` of values.
        scale: `float = (int8 - zero_point) * scale`.
        zero_point: in -128..127.
        labels: the class names in order; none for values.
        activation: `softmax`, `sigmoid` or `none`, applied in float by the runtime.
        kind: `logits` of a classifier, or `values`, as autoencoders give.
    """

    name: str
    shape: Shape
    scale: Scale
    zero_point: ZeroPoint
    labels: tuple[str, ...]
    activation: Annotated[str, one_of("softmax", "sigmoid", "none")]
    kind: Annotated[str, one_of("logits", "values")] = "logits"

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape without the batch."""
        return tuple(size or 0 for size in self.shape[1:])


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
class Variant:
    """One model file, perhaps of a format that no backend here runs.

    `accuracy` is top-1 on the evaluation data, `arena_bytes` the memory that a plan's tensors have.
    """

    id: str
    file: FileName
    format: Word
    precision: Annotated[str, one_of("int8", "float")]
    size_bytes: Count
    sha256: Digest
    accuracy: float | None
    arena_bytes: Count | None = None


@frozen_dataclass(frozen=True)
class Golden:
    """The file of real inputs and the int8 outputs that every engine must give for them."""

    file: FileName
    size_bytes: Count
    sha256: Digest
    count: Count


@frozen_dataclass(frozen=True)
class Layer:
    """A layer with weights.

    Attributes:
        name: the Keras layer's, with a part behind a slash where a layer became several.
        kind: `Conv2D` for example.
        weight_bits: 7 or 8; 32 in a layer that was kept float.
        saturates: whether two of its products could overflow 16 bits.
    """

    name: str
    kind: str
    weight_bits: Annotated[int, Rule("7, 8 or 32", (7, 8, 32).__contains__)]
    saturates: bool = False


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
class Quality:
    """What each stage cost, and how far the int8 files agree.

    Attributes:
        stages: float, rewritten, fake-quantized, then each target.
        reference: the target that the others are compared with, as `Variant.format`.
        parity: of each of the others.
        mcnemar_p: how likely so uneven a change of right answers, float against int8, is by
            chance; `None` without labels.
    """

    stages: Annotated[tuple[Stage, ...], few("stages")]
    reference: str
    parity: tuple[TargetParity, ...]
    mcnemar_p: float | None


@frozen_dataclass(frozen=True)
class Training:
    """Where the numbers come from."""

    dataset: str
    dataset_sha256: Digest
    model: str
    recipe: str
    qat_steps: int
    seed: int


@frozen_dataclass(frozen=True)
class Setting:
    """An option of the export that was not its default.

    Attributes:
        name: as in `tinsmith_export.Options`.
        value: as JSON; its beginning, where it is longer than `MAX_SETTING`.
    """

    name: Annotated[str, Rule("1 to 100 characters", lambda text: 0 < len(text) <= 100)]
    value: Annotated[
        str, Rule(f"at most {MAX_SETTING} characters", lambda text: len(text) <= MAX_SETTING)
    ]


@frozen_dataclass(frozen=True)
class Manifest:
    """Everything a bundle says of itself.

    Attributes:
        made_with: package names to versions.
        inputs: in the order of the Keras model, and of the model files.
        outputs: likewise; no two inputs or outputs have the same name.
        release: grows from one bundle for a device to the next, so that `install` can tell an
            older one; 0 where nobody counts.
        failures: the gates that it failed, a line each.
        settings: how it was exported, where that is not the default.
    """

    format_version: int
    made_with: dict[str, str]
    inputs: Annotated[tuple[Input, ...], few("inputs")]
    outputs: Annotated[tuple[Output, ...], few("outputs")]
    variants: tuple[Variant, ...]
    golden: Golden
    layers: tuple[Layer, ...]
    training: Training
    quality: Quality
    release: Release = 0
    failures: tuple[str, ...] = ()
    settings: Annotated[
        tuple[Setting, ...],
        Rule(f"at most {MAX_SETTINGS} settings", lambda found: len(found) <= MAX_SETTINGS),
    ] = ()

    @property
    def input(self) -> Input:
        """The first input."""
        return self.inputs[0]

    @property
    def output(self) -> Output:
        """The first output."""
        return self.outputs[0]
