"""The manifest: what a bundle says of itself, as frozen dataclasses, parsed once.

Unknown fields are refused: a manifest says nothing that this version does not understand.
"""

import math
import reprlib
from collections.abc import Iterator
from typing import Annotated, Any, TypeAlias

from tinsmith_runtime.digest import sha256
from tinsmith_runtime.errors import BundleError
from tinsmith_runtime.frozen import frozen_dataclass
from tinsmith_runtime.record import Rule, mismatch, parse_record, read_json

FORMAT_VERSION = 2
"""What is written. Version 1 is read too: see `_upgrade`."""

MAX_TENSORS = 16
ENGINE_OF_FORMAT = {"tflite": "litert", "onnx": "onnx"}  # until bench and export do without

# The last field: no byte before it can change, and after it there is one way to go on.
_SEAL = b',\n "manifest_sha256":'
_MAX_ELEMENTS = 1 << 26
_MAX_AXES = 8
# What goes with each kind of input: the dtype that a user passes, and the layout.
_INPUTS = {"image": ("uint8", "NHWC"), "features": ("float32", None)}


def _one_of(*words: str) -> Rule:
    return Rule(" or ".join(words), words.__contains__)


def _batch_first(shape: tuple[int | None, ...]) -> bool:
    sizes = [size for size in shape[1:] if size is not None and size > 0]
    whole = 0 < len(sizes) == len(shape) - 1 < _MAX_AXES and shape[0] is None
    return whole and math.prod(sizes) <= _MAX_ELEMENTS


def _few(kind: str) -> Rule:
    return Rule(f"1 to {MAX_TENSORS} {kind}", lambda found: 0 < len(found) <= MAX_TENSORS)


def _is_digest(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _is_plain(name: str) -> bool:
    """Letters, digits, `.`, `_` and `-`, the first a letter or digit, 100 at most."""
    rest = name.translate(dict.fromkeys(map(ord, "._-")))
    return name[:1].isalnum() and rest.isalnum() and name.isascii() and len(name) <= 100


def _is_word(text: str) -> bool:
    return text.isalnum() and text.isascii() and text.islower() and len(text) <= 20


Count: TypeAlias = Annotated[int, Rule("1 to 2147483647", lambda count: 0 < count < 1 << 31)]
Digest: TypeAlias = Annotated[str, Rule("64 hex digits", _is_digest)]
FileName: TypeAlias = Annotated[str, Rule("a plain file name", _is_plain)]
Release: TypeAlias = Annotated[int, Rule("0 to 2147483647", lambda number: 0 <= number < 1 << 31)]
Scale: TypeAlias = Annotated[float, Rule("a positive number", lambda scale: 0 < scale < 1e30)]
Word: TypeAlias = Annotated[str, Rule("a word of a-z and 0-9", _is_word)]
ZeroPoint: TypeAlias = Annotated[int, Rule("-128 to 127", lambda point: -128 <= point <= 127)]
Shape: TypeAlias = Annotated[
    tuple[int | None, ...], Rule("[null, ...], sizes from 1 after it", _batch_first)
]


@frozen_dataclass(frozen=True)
class Preprocessing:
    """How an image file becomes pixels of the model's size; an array of pixels is left as it is.

    Attributes:
        resampling: the filter, by Pillow's name for it.
        fit: `stretch` to the size; `contain`: scale into it and pad with zeros; `crop`: scale to
            cover it and cut the rest off. The last two keep the proportions and the middle.
        invert: whether every pixel becomes `255 - pixel` first, so that dark on light becomes what
            a model learned light on dark.
    """

    resampling: Annotated[
        str, _one_of("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
    ] = "bilinear"
    fit: Annotated[str, _one_of("stretch", "contain", "crop")] = "stretch"
    invert: bool = False


@frozen_dataclass(frozen=True)
class Input:
    """What the model takes: an image, or features, which are floats of any shape.

    Attributes:
        name: the tensor's name in the model files, where there are several inputs.
        shape: batch first: `(None, H, W, C)` of an image, `(None, ...)` of features.
        dtype: what a user passes: `uint8`, raw pixels; `float32`, features.
        layout: `NHWC`; `None` for features.
        value_range: the float values that pixels 0 and 255 stand for; the range of the features
            that the model was calibrated on, `None` if it is not known.
        scale: `float = (int8 - zero_point) * scale`.
        zero_point: of an image, `int8 = pixel - 128`; of features,
            `int8 = clip(round_half_to_even(float / scale) + zero_point)`, computed in float32.
        kind: `image` or `features`.
        preprocessing: how an image file becomes an input; `None` for features.
    """

    name: str
    shape: Shape
    dtype: Annotated[str, _one_of("uint8", "float32")]
    layout: Annotated[str, _one_of("NHWC")] | None
    value_range: tuple[float, float] | None
    scale: Scale
    zero_point: ZeroPoint
    kind: Annotated[str, _one_of(*_INPUTS)] = "image"
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
        kind: `logits` of a classifier, or `values`, as regressors and autoencoders give.
    """

    name: str
    shape: Shape
    scale: Scale
    zero_point: ZeroPoint
    labels: tuple[str, ...]
    activation: Annotated[str, _one_of("softmax", "sigmoid", "none")]
    kind: Annotated[str, _one_of("logits", "values")] = "logits"

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape without the batch."""
        return tuple(size or 0 for size in self.shape[1:])


@frozen_dataclass(frozen=True)
class Parity:
    """How far the int8 outputs of two targets agree.

    Attributes:
        compared: how many outputs.
        equal: how many of them are equal to the bit.
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
    """One model file; `accuracy` is top-1 on the evaluation data.

    Its format may be one that no backend here runs: it is left alone then.
    """

    id: str
    file: FileName
    format: Word
    precision: Annotated[str, _one_of("int8", "float")]
    size_bytes: Count
    sha256: Digest
    accuracy: float | None


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
        weight_bits: 8; 7 where 8 could saturate an x86 kernel; 32 in a layer that was kept float.
    """

    name: str
    kind: str
    weight_bits: Annotated[int, Rule("7, 8 or 32", (7, 8, 32).__contains__)]


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

    stages: tuple[Stage, ...]
    reference: str
    parity: tuple[TargetParity, ...]
    mcnemar_p: float | None


@frozen_dataclass(frozen=True)
class Training:
    """Where the numbers come from: the dataset, the recipe (`ptq` or `qat`) and the seed."""

    dataset: str
    dataset_sha256: Digest
    model: str
    recipe: str
    qat_steps: int
    seed: int


@frozen_dataclass(frozen=True)
class Manifest:
    """Everything a bundle says of itself.

    Attributes:
        made_with: package names to versions.
        inputs: in the order of the Keras model, and of the model files.
        outputs: likewise; no two inputs or outputs have the same name.
        release: grows from one bundle for a device to the next, so that `install` can tell an
            older one; 0 where nobody counts.
    """

    format_version: int
    made_with: dict[str, str]
    inputs: Annotated[tuple[Input, ...], _few("inputs")]
    outputs: Annotated[tuple[Output, ...], _few("outputs")]
    variants: tuple[Variant, ...]
    golden: Golden
    layers: tuple[Layer, ...]
    training: Training
    quality: Quality
    release: Release = 0

    @property
    def input(self) -> Input:
        """The first input."""
        return self.inputs[0]

    @property
    def output(self) -> Output:
        """The first output."""
        return self.outputs[0]


def dump_manifest(manifest: Manifest) -> bytes:
    """Writes a manifest as canonical JSON with its own sha256 in it, so that no byte can change.

    One that was read from an older format version becomes one of `FORMAT_VERSION`.
    """
    import json  # what is read needs neither
    from dataclasses import asdict

    tree = {**asdict(manifest), "format_version": FORMAT_VERSION}
    text = json.dumps(tree, indent=1).removesuffix("\n}")
    return _sealed(text.encode())


def parse_manifest(data: bytes) -> Manifest:
    """Reads a manifest.

    Args:
        data: the bytes of `manifest.json`.

    Raises:
        BundleError: it is not JSON, has a key twice, is of another format version, was changed
            since it was written, or a field has a wrong type or value; the message gives each
            field's path.
    """
    try:
        tree = read_json(data.decode("utf-8"))
        _require_version(tree)
        tree.pop("manifest_sha256", None)
        if tree["format_version"] == 1:
            _upgrade(tree)
        manifest = parse_record(Manifest, tree)
        problems = list(_contradictions(manifest))
        if problems:
            raise ValueError("; ".join(problems))
        if _sealed(data.rpartition(_SEAL)[0]) != data:
            raise ValueError(
                "manifest_sha256: the manifest was changed after it was written, or an earlier "
                "tinsmith wrote it: export it again"
            )
    except (ValueError, RecursionError) as error:
        raise BundleError(f"manifest.json: {error}") from error
    return manifest


def _sealed(text: bytes) -> bytes:
    """Ends JSON that lacks its last brace with the sha256 of all that stands before."""
    return b'%s%s "%s"\n}\n' % (text, _SEAL, sha256(text).encode())


def _require_version(tree: object) -> None:
    """Looks at the version before anything else: a later format may differ in everything."""
    if not isinstance(tree, dict):
        raise ValueError(f"expected an object, got {reprlib.repr(tree)}")
    found = tree.get("format_version")
    if type(found) is not int or not 1 <= found <= FORMAT_VERSION:
        expected = mismatch("format_version", f"1 to {FORMAT_VERSION}", found)
        raise ValueError(f"{expected}: upgrade with: pip install --upgrade tinsmith-runtime")


def _upgrade(tree: Any) -> None:
    """Says in version 2 what version 1 says: it knows two targets, and no `release`."""
    if "release" in tree:
        raise ValueError("'release': unknown field in format version 1")
    targets = {"TFLite": "tflite", "ONNX": "onnx"}
    try:
        for variant in tree["variants"]:
            del variant["parity"]  # `quality` has it
        quality = tree["quality"]
        stages = [(stage.pop("stage"), stage) for stage in quality.pop("ladder")]
        quality["stages"] = [{"name": n, "target": targets.get(n), **rest} for n, rest in stages]
        pair = {"evaluation": quality["parity"], "random": quality.pop("parity_random")}
        quality |= {"reference": "tflite", "parity": [{"target": "onnx", **pair}]}
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"variants, quality: expected those of version 1: {error!r}") from error


def _contradictions(manifest: Manifest) -> Iterator[str]:
    """What is wrong between fields that are right each by itself."""
    variants = manifest.variants
    for index, entry in enumerate(manifest.inputs):
        yield from _input_contradictions(f"inputs[{index}]", entry)
    several = len(manifest.outputs) > 1
    for index, output in enumerate(manifest.outputs):
        yield from _output_contradictions(f"outputs[{index}]", output, several)
    names = [entry.name for entry in manifest.inputs]
    names += [output.name for output in manifest.outputs]
    if len(set(names)) < len(names):
        yield mismatch("inputs, outputs", "names that differ", names)
    for index, target in enumerate(manifest.quality.parity):
        path = f"quality.parity[{index}]"
        yield from _parity_contradictions(f"{path}.evaluation", target.evaluation)
        yield from _parity_contradictions(f"{path}.random", target.random)
    if not variants:
        yield "variants: expected at least one, got none"
    ids = [variant.id for variant in variants]
    if len(set(ids)) < len(ids):
        yield mismatch("variants", "ids that differ", ids)
    files = ["manifest.json", manifest.golden.file, *(variant.file for variant in variants)]
    if len(set(files)) < len(files):
        yield mismatch("variants", "files that differ", files)


def _parity_contradictions(path: str, parity: Parity) -> Iterator[str]:
    if parity.enters_at is not None and parity.equal == parity.compared:
        wanted = "null, where all outputs are equal"
        yield mismatch(f"{path}.enters_at", wanted, parity.enters_at)
    if (parity.enters_at is None) != (parity.enters_lsb is None):
        yield mismatch(f"{path}.enters_lsb", "null exactly where enters_at is", parity.enters_lsb)


def _input_contradictions(path: str, entry: Input) -> Iterator[str]:
    dtype, layout = _INPUTS[entry.kind]
    if entry.dtype != dtype:
        yield mismatch(f"{path}.dtype", f"{dtype}, for {entry.kind}", entry.dtype)
    if entry.layout != layout:
        yield mismatch(f"{path}.layout", f"{layout or 'null'}, for {entry.kind}", entry.layout)
    if entry.kind == "features" and entry.preprocessing:
        yield mismatch(f"{path}.preprocessing", "null, for features", entry.preprocessing)
    if entry.kind == "image" and not entry.preprocessing:
        yield mismatch(f"{path}.preprocessing", "an object, for an image", entry.preprocessing)
    if entry.kind == "image" and not entry.value_range:
        yield mismatch(f"{path}.value_range", "two numbers, for an image", entry.value_range)
    if entry.kind == "image" and len(entry.shape) != 4:
        yield mismatch(f"{path}.shape", "[null, H, W, C]", list(entry.shape))


def _output_contradictions(path: str, output: Output, several: bool) -> Iterator[str]:
    if several and output.kind != "values":
        yield mismatch(f"{path}.kind", "values, for one of several outputs", output.kind)
    if output.kind == "values" and output.labels:
        yield mismatch(f"{path}.labels", "none, for values", len(output.labels))
    if output.kind == "logits" and len(output.shape) != 2:
        yield mismatch(f"{path}.shape", "[null, classes]", list(output.shape))
    elif output.kind == "logits" and len(output.labels) != output.shape[1]:
        names = f"{output.shape[1]} class names"
        yield mismatch(f"{path}.labels", names, len(output.labels))
