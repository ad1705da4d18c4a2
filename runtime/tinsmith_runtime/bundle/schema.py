"""What a bundle says of itself, as frozen dataclasses; `manifest` reads and writes them."""

from typing import Annotated

from tinsmith_runtime.bundle.box_head import BoxHead as BoxHead
from tinsmith_runtime.bundle.fields import (
    Byte,
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
from tinsmith_runtime.bundle.quality import Quality
from tinsmith_runtime.record import Rule, frozen_dataclass

MAX_SETTINGS, MAX_SETTING = 64, 1000


@frozen_dataclass(frozen=True)
class Preprocessing:
    """How an image file becomes pixels of the model's size; an array of pixels is left as it is.

    Attributes:
        resampling: the filter, by Pillow's name for it.
        fit: `stretch` to the size, `contain` with a border, or `crop` the middle.
        invert: whether every pixel becomes `255 - pixel` first.
        padding: what the pixels of that border are, in every channel.
    """

    resampling: Annotated[
        str, one_of("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
    ] = "bilinear"
    fit: Annotated[str, one_of("stretch", "contain", "crop")] = "stretch"
    invert: bool = False
    padding: Byte = 0


@frozen_dataclass(frozen=True)
class PixelRanges:
    """What a Keras model takes for pixels. For information: its model files take the pixels.

    Attributes:
        ranges: the float values of pixels 0 and 255, in each channel of the Keras model, in its
            order; or one pair for all.
        channels: that order, `rgb` or `bgr`. The pixels that a user gives are RGB with both.
    """

    ranges: Annotated[tuple[tuple[float, float], ...], few("ranges")]
    channels: Annotated[str, one_of("rgb", "bgr")] = "rgb"


@frozen_dataclass(frozen=True)
class Input:
    """What the model takes: an image, features, ids, the rows of a table, or a state.

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
        kind: `image`, `features`, `ids`, or `state`: of a stream, what an output gave in the step
            before. It begins as zero, which is the code `zero_point`.
        preprocessing: how an image file becomes an input; `None` for features.
        fed_by: of a state, the name of that output: its codes are taken as they are.
        pixel_ranges: what the Keras model takes for pixels, where `value_range` does not say it.
    """

    name: str
    shape: Shape
    dtype: Annotated[str, one_of("uint8", "float32", "int32")]
    layout: Annotated[str, one_of("NHWC")] | None
    value_range: tuple[float, float] | None
    scale: Scale
    zero_point: ZeroPoint
    kind: Annotated[str, one_of("image", "features", "ids", "state")] = "image"
    preprocessing: Preprocessing | None = Preprocessing()
    fed_by: str = ""
    pixel_ranges: PixelRanges | None = None

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
        kind: `logits` of a classifier; `values`, as autoencoders give; `state`, for the next step.
        part_of: the name of what the runtime joins it to, with other outputs; empty if nothing.
        start: of a part, where its first number stands in the whole, the batch not counted.
    """

    name: str
    shape: Shape
    scale: Scale
    zero_point: ZeroPoint
    labels: tuple[str, ...]
    activation: Annotated[str, one_of("softmax", "sigmoid", "none")]
    kind: Annotated[str, one_of("logits", "values", "state")] = "logits"
    part_of: str = ""
    start: tuple[int, ...] = ()

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape without the batch."""
        return tuple(size or 0 for size in self.shape[1:])


@frozen_dataclass(frozen=True)
class Variant:
    """One model file, perhaps of a format that no backend here runs.

    Attributes:
        id: names it in reports; no two are the same.
        file: in the bundle.
        format: what a backend must run: `tflite`, `onnx`, `native` (a plan).
        precision: of its weights and activations.
        size_bytes: of the file.
        sha256: of the file.
        accuracy: top-1 on the evaluation data (0..1); `None` without labels.
        arena_bytes: the memory that a plan's tensors have; `None` for others.
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
    """The file of real inputs and the int8 outputs that every engine must give for them.

    Attributes:
        file: in the bundle.
        size_bytes: of the file.
        sha256: of the file.
        count: how many inputs it holds.
    """

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
class Training:
    """Where the numbers come from.

    Attributes:
        dataset: the name of the data that it was calibrated and evaluated on.
        dataset_sha256: of these data.
        model: the name of the Keras model.
        recipe: how it was quantized.
        qat_steps: how many steps it was fine-tuned for.
        seed: of what is random in an export.
    """

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
        format_version: grows when a field changes its name or its meaning.
        made_with: package names to versions.
        inputs: in the order of the Keras model, and of the model files.
        outputs: likewise; no two inputs or outputs have the same name. States come last in both.
        variants: the model files.
        golden: real inputs with the outputs that every engine must give.
        layers: those that have weights.
        training: the data and the recipe.
        quality: what each stage of the export cost, and how far the targets agree.
        release: grows from one bundle for a device to the next, so that `install` can tell an
            older one; 0 where nobody counts.
        failures: the gates that it failed, a line each.
        boxes: how the outputs of a detector become boxes; `None` for other models.
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
    boxes: BoxHead | None = None
    settings: Annotated[
        tuple[Setting, ...],
        Rule(f"at most {MAX_SETTINGS} settings", lambda found: len(found) <= MAX_SETTINGS),
    ] = ()

    @property
    def states(self) -> tuple[Input, ...]:
        """The inputs that the step before feeds: a model that has some computes a step."""
        return tuple(entry for entry in self.inputs if entry.kind == "state")

    @property
    def input(self) -> Input:
        """The first input."""
        return self.inputs[0]

    @property
    def output(self) -> Output:
        """The first output."""
        return self.outputs[0]
