"""How to export: every field is checked before any work begins."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinsmith_data.limits import MAX_SEED, is_whole, require, require_real, require_whole
from tinsmith_export.boxes import checked_head
from tinsmith_export.pixels import pixel_ranges
from tinsmith_runtime.bundle import BoxHead, PixelRanges, Preprocessing
from tinsmith_runtime.errors import UsageError

AUTO = "auto"
"""In place of a recipe: the cheapest that the gate takes; of a layer to keep float: as few."""

FITS = ("stretch", "contain", "crop")
"""How an image file gets the model's size."""

RECIPES = (AUTO, "ptq", "calibrated", "qat")


@dataclass(frozen=True)
class Options:
    """How to export.

    Attributes:
        input_range: the real values that the model takes for pixels 0 and 255, in every image;
            if `None`, 0 and 1, unless `mean`, `std` or `preprocess` say it.
        mean: in place of a range: the model takes `(pixel - mean) / std`, in units of pixels 0 to
            255: one number, or one for each channel, in the model's order; 0 if `None`.
        std: likewise; 1 if `None`.
        channels: the order of the model's channels, `rgb` or `bgr`; the pixels that are given are
            RGB with both. `rgb` if `None`.
        preprocess: in place of all these: `tf`, `torch` or `caffe`, as the `mode` of Keras's
            `imagenet_utils.preprocess_input`.
        recipe: `ptq`, calibration alone; `calibrated`, with weights that are
            rounded by the inputs that they meet and a search for ranges too; `qat`,
            calibration and then fine-tuning; `auto`, the first of these that keeps to the limit on
            inputs held back, or the best, with layers kept float where none does.
        budget_s: how many seconds `auto` may take to quantize, about; more than `ptq` takes.
        qat_steps: steps of fine-tuning; with `auto` at most so many.
        qat_batch: how many inputs a step takes; if `None`, 128, or what 1.5 GiB of tensors allow.
        max_drop_pp: how many percentage points of accuracy int8 may lose, where there are labels.
        max_changed_pp: how many percent of the answers int8 may change, where there are none.
        strict: whether too few inputs to decide that count as too large a loss.
        keep_rejected: the file for a bundle that failed its gates; it is not kept if `None`.
        seed: of everything random.
        weight_bits: 8; or 7 in each layer whose 8-bit weights could saturate a kernel of ONNX
            Runtime on x86 without VNNI, where another program runs the ONNX file there.
        keep_float: layers whose weights are not rounded, by name; `auto` keeps as few more as
            the limit takes on inputs held back.
        layer_errors: whether to measure what quantizing does to each layer's output, for
            `Exported.sensitivities`.
        sensitivity: whether to measure too what quantizing each layer alone costs.
        input_shape: without the batch, for a model with one input that takes several sizes or
            none yet.
        stateful: whether to compile one step of a recurrent model, whose states are inputs and
            outputs; data are sequences `(N, T, …)`.
        output: which one of several outputs to compile alone; all if `None`.
        targets: what the bundle holds files for, by name: `tflite`, `onnx`, `native`; if `None`,
            all whose files can hold the model. The int8 files are compared with TFLite's, whether
            the bundle has that.
        verify_onnx: whether to compare the float files with an ONNX file that tf2onnx makes of the
            Keras model.
        custom_objects: name to class or function, for a file with some of one's own.
        release: of the bundle, 0 to 2147483647: `tinsmith install` refuses one that is lower than
            what a folder has had.
        boxes: how the outputs of a detector become boxes; `None` for other models.
        fit: how image files, those of a folder of data too, get the model's size: `stretch`,
            `contain` or `crop`.
        padding: the value of the border's pixels with `contain`, 0 to 255.
    """

    input_range: tuple[float, float] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    channels: str | None = None
    preprocess: str | None = None
    recipe: str = AUTO
    budget_s: float = 600.0
    qat_steps: int = 800
    qat_batch: int | None = None
    max_drop_pp: float = 0.5
    max_changed_pp: float = 2.0
    strict: bool = False
    keep_rejected: Path | None = None
    seed: int = 0
    weight_bits: int = 8
    keep_float: tuple[str, ...] = ()
    layer_errors: bool = False
    sensitivity: bool = False
    input_shape: tuple[int, ...] | None = None
    stateful: bool = False
    output: str | None = None
    targets: tuple[str, ...] | None = None
    verify_onnx: bool = False
    custom_objects: Mapping[str, Any] = field(default_factory=dict)
    release: int = 0
    boxes: BoxHead | None = None
    fit: str = "stretch"
    padding: int = 0

    def __post_init__(self) -> None:
        """Checks every field.

        Raises:
            UsageError: one cannot be; the message begins with its name.
        """
        check_options(self)
        if self.boxes is not None:
            object.__setattr__(self, "boxes", checked_head(self.boxes))

    @property
    def pixel_ranges(self) -> PixelRanges:
        """What the model takes for pixels."""
        return pixel_ranges(self.input_range, self.mean, self.std, self.channels, self.preprocess)

    @property
    def said_of_pixels(self) -> tuple[str, ...]:
        """The fields that only images have a use for; an `input_range` may be said of any model."""
        names = ("mean", "std", "channels", "preprocess")
        return tuple(name for name in names if getattr(self, name) is not None)

    @property
    def kept_layers(self) -> tuple[str, ...]:
        """The layers to keep float that are named."""
        return tuple(name for name in self.keep_float if name != AUTO)

    @property
    def preprocessing(self) -> Preprocessing:
        """How an image file becomes pixels."""
        return Preprocessing(fit=self.fit, padding=self.padding)

    def limit_pp(self, labels: bool) -> float:
        """What may be lost where there are labels, or may change where there are none."""
        return self.max_drop_pp if labels else self.max_changed_pp


def check_options(options: Options) -> None:
    """Checks every field.

    Raises:
        UsageError: one cannot be; the message begins with its name.
    """
    require(options.recipe in RECIPES, "recipe", " or ".join(RECIPES), options.recipe)
    steps, least = options.qat_steps, 1 if options.recipe in ("qat", AUTO) else 0
    if least and steps == 0:
        raise UsageError("qat_steps: expected 1 or more, got 0: for none, recipe ptq")
    require_whole("qat_steps", steps, least)
    if options.qat_batch is not None:
        require_whole("qat_batch", options.qat_batch, 1)
    require_real("budget_s", options.budget_s, 0, 1e9)
    require_real("max_drop_pp", options.max_drop_pp, -100, 100)
    require_real("max_changed_pp", options.max_changed_pp, 0, 100)
    kept = options.keep_rejected
    require(isinstance(kept, Path | None), "keep_rejected", "a pathlib.Path or None", kept)
    require_whole("seed", options.seed, 0, MAX_SEED)
    require_whole("release", options.release, 0)
    require(options.fit in FITS, "fit", " or ".join(FITS), options.fit)
    require_whole("padding", options.padding, 0, 255)
    if options.padding and options.fit != "contain":
        raise UsageError(f"padding: expected fit contain, got {options.fit}: it has no border")
    _ = options.pixel_ranges  # it checks them
    bits = options.weight_bits
    require(is_whole(bits, 7, 8), "weight_bits", "7 or 8", bits)
    require(_are_names(options.keep_float), "keep_float", "names of layers", options.keep_float)
    names = ("",) if options.targets is None else options.targets
    texts = isinstance(names, tuple | list) and all(isinstance(name, str) for name in names)
    require(texts, "targets", "names of targets", names)
    for name in ("strict", "layer_errors", "sensitivity", "stateful", "verify_onnx"):
        value = getattr(options, name)
        require(isinstance(value, bool), name, "True or False", value)
    if options.stateful and AUTO in options.keep_float:
        raise UsageError(
            f"keep_float: {AUTO} chooses by answers to single inputs, not by a stream's"
        )
    if options.stateful and options.verify_onnx:
        raise UsageError("verify_onnx: it compares whole models, not one step of a stream")
    sizes = (1,) if options.input_shape is None else options.input_shape
    fits = isinstance(sizes, tuple | list) and bool(sizes) and all(is_whole(n, 1) for n in sizes)
    require(fits, "input_shape", "sizes of 1 or more", sizes)
    require(
        isinstance(options.output, str | None), "output", "the name of an output", options.output
    )
    require(
        isinstance(options.custom_objects, Mapping) and _are_names(tuple(options.custom_objects)),
        "custom_objects",
        "a dict of names to classes or functions",
        options.custom_objects,
    )


def _are_names(value: object) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(name, str) and name for name in value)
