"""The manifest: what a bundle says of itself, as frozen dataclasses, parsed once.

Unknown fields are refused: a manifest says nothing that this version does not understand.
"""

import hashlib
import json
import math
import re
import types
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from tinsmith_runtime.errors import BundleError

FORMAT_VERSION = 1
ENGINE_OF_FORMAT = {"tflite": "litert", "onnx": "onnx"}

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_ELEMENTS = 1 << 26

T = TypeVar("T")


@dataclass(frozen=True)
class Input:
    """What the model takes.

    Attributes:
        name: the tensor's name in both formats.
        shape: batch first, `(None, H, W, C)` for images.
        dtype: what a user passes: `uint8`, raw pixels.
        layout: `NHWC`.
        value_range: the float values that pixels 0 and 255 stand for.
        scale: `float = (int8 - zero_point) * scale`.
        zero_point: -128 for an image: `int8 = pixel - 128`.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    layout: str
    value_range: tuple[float, float]
    scale: float
    zero_point: int


@dataclass(frozen=True)
class Output:
    """What the model gives: int8 logits, and what to make of them.

    Attributes:
        name: the tensor's name in both formats.
        shape: `(None, classes)`.
        scale: `logit = (int8 - zero_point) * scale`.
        zero_point: in -128..127.
        labels: the class names in order.
        activation: `softmax`, `sigmoid` or `none`, applied in float by the runtime.
    """

    name: str
    shape: tuple[int | None, ...]
    scale: float
    zero_point: int
    labels: tuple[str, ...]
    activation: str


@dataclass(frozen=True)
class Parity:
    """How far two engines' int8 outputs agree (counts of outputs; difference in LSB)."""

    compared: int
    equal: int
    max_difference_lsb: int
    top1_agreement: float


@dataclass(frozen=True)
class Variant:
    """One model file. `accuracy` is top-1 on the test set; `parity` is against the TFLite file."""

    id: str
    file: str
    format: str
    precision: str
    size_bytes: int
    sha256: str
    accuracy: float | None
    parity: Parity | None


@dataclass(frozen=True)
class Golden:
    """The file of real inputs and the int8 outputs that every engine must give for them."""

    file: str
    size_bytes: int
    sha256: str
    count: int


@dataclass(frozen=True)
class Layer:
    """A layer with weights: `weight_bits` 7 where 8 could saturate an x86 kernel."""

    name: str
    kind: str
    weight_bits: int


@dataclass(frozen=True)
class Rung:
    """One step of the accuracy ladder: top-1 on `count` test samples."""

    stage: str
    accuracy: float
    count: int


@dataclass(frozen=True)
class Quality:
    """The proof: what each step cost, and how far the two int8 files agree."""

    ladder: tuple[Rung, ...]
    parity: Parity


@dataclass(frozen=True)
class Training:
    """Where the numbers come from: the dataset, the recipe and the seed."""

    dataset: str
    dataset_sha256: str
    model: str
    recipe: str
    qat_epochs: int
    seed: int


@dataclass(frozen=True)
class Manifest:
    """Everything a bundle says of itself; `made_with` maps package names to versions."""

    format_version: int
    made_with: dict[str, str]
    input: Input
    output: Output
    variants: tuple[Variant, ...]
    golden: Golden
    layers: tuple[Layer, ...]
    training: Training
    quality: Quality


def dump_manifest(manifest: Manifest) -> bytes:
    """Writes a manifest as canonical JSON with its own sha256 in it, so that no byte can change."""
    return _seal(asdict(manifest))


def parse_manifest(data: bytes) -> Manifest:
    """Reads a manifest.

    Args:
        data: the bytes of `manifest.json`.

    Raises:
        BundleError: it is not JSON, of another format version, changed since it was written, or a
            field has a wrong type or value; the message gives each field's path.
    """
    try:
        tree = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"manifest.json: expected JSON, got {error}") from error
    if not isinstance(tree, dict):
        raise BundleError(f"manifest.json: expected an object, got {type(tree).__name__}")
    found = tree.get("format_version")
    if type(found) is not int or found != FORMAT_VERSION:
        raise BundleError(
            f"manifest.json: format_version: expected {FORMAT_VERSION}, got {found!r}: "
            "upgrade with: pip install --upgrade tinsmith-runtime"
        )
    tree.pop("manifest_sha256", None)
    problems: list[str] = []
    manifest = _parse(Manifest, tree, "", problems)
    if not problems:
        problems = _check(manifest)
    if not problems and _seal(tree) != data:
        problems = ["manifest_sha256: the manifest was changed after it was written"]
    if problems:
        raise BundleError("manifest.json: " + "; ".join(problems[:5]))
    result: Manifest = manifest
    return result


def _seal(tree: dict[str, Any]) -> bytes:
    digest = hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
    return (json.dumps({**tree, "manifest_sha256": digest}, indent=1) + "\n").encode()


def _refuse_constant(name: str) -> float:
    raise ValueError(f"the number {name}")


def _parse(kind: Any, value: Any, path: str, problems: list[str]) -> Any:
    """Turns JSON into `kind`; every mismatch adds a line to `problems`."""
    if is_dataclass(kind):
        return _parse_dataclass(kind, value, path, problems)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, Union):
        if value is None:
            return None
        return _parse(inner[0], value, path, problems)
    if origin is tuple and isinstance(value, list):
        items = inner[:1] * len(value) if inner[1:] == (...,) else inner
        if len(items) == len(value):
            pairs = enumerate(zip(items, value, strict=True))
            return tuple(_parse(k, v, f"{path}[{i}]", problems) for i, (k, v) in pairs)
    if origin is dict and isinstance(value, dict):
        return {key: _parse(inner[1], v, f"{path}.{key}", problems) for key, v in value.items()}
    if kind is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if kind in (int, str) and type(value) is kind:
        return value
    name = getattr(kind, "__name__", str(kind)) if origin is None else str(kind)
    problems.append(f"{path}: expected {name}, got {_short(value)}")
    return None


def _parse_dataclass(kind: Any, value: Any, path: str, problems: list[str]) -> Any:
    if not isinstance(value, dict):
        problems.append(f"{path}: expected an object, got {_short(value)}")
        return None
    hints = get_type_hints(kind)
    prefix = f"{path}." if path else ""
    names = [field.name for field in fields(kind)]
    problems += [f"{prefix}{name}: missing" for name in names if name not in value]
    problems += [f"{prefix}{_short(name)}: unknown field" for name in value if name not in names]
    found = {
        name: _parse(hints[name], value[name], prefix + name, problems)
        for name in names
        if name in value
    }
    return kind(**found) if len(found) == len(names) else None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _check(manifest: Manifest) -> list[str]:
    """Lists what is wrong with the values of a manifest whose types are right."""
    checks: list[tuple[bool, str, str, object]] = []

    def expect(good: bool, path: str, expected: str, got: object) -> None:
        checks.append((good, path, expected, got))

    for side in ("input", "output"):
        spec = getattr(manifest, side)
        sizes = [size for size in spec.shape[1:] if size is not None]
        fits = (
            len(spec.shape) >= 2
            and spec.shape[0] is None
            and len(sizes) == len(spec.shape) - 1
            and all(size > 0 for size in sizes)
            and math.prod(sizes) <= _MAX_ELEMENTS
        )
        expect(fits, f"{side}.shape", "[null, size, ...]", list(spec.shape))
        expect(0 < spec.scale < 1e30, f"{side}.scale", "a positive number", spec.scale)
        zero_point = spec.zero_point
        expect(-128 <= zero_point <= 127, f"{side}.zero_point", "-128..127", zero_point)
    entry, output = manifest.input, manifest.output
    expect(entry.dtype == "uint8", "input.dtype", "uint8", entry.dtype)
    expect(entry.layout == "NHWC", "input.layout", "NHWC", entry.layout)
    expect(len(entry.shape) == 4, "input.shape", "[null, H, W, C]", list(entry.shape))
    activations = ("softmax", "sigmoid", "none")
    expect(
        output.activation in activations, "output.activation", str(activations), output.activation
    )
    count = output.shape[-1]
    labelled = len(output.labels) == count
    expect(labelled, "output.labels", f"{count} class names", f"{len(output.labels)}")
    expect(bool(manifest.variants), "variants", "at least one", "none")
    ids = [variant.id for variant in manifest.variants]
    expect(len(set(ids)) == len(ids), "variants", "ids that differ", ids)
    for index, variant in enumerate(manifest.variants):
        path = f"variants[{index}]"
        formats = tuple(ENGINE_OF_FORMAT)
        expect(variant.format in formats, f"{path}.format", str(formats), variant.format)
        precisions = ("int8", "float")
        expect(
            variant.precision in precisions, f"{path}.precision", str(precisions), variant.precision
        )
    files: list[tuple[str, Variant | Golden]] = [("golden", manifest.golden)]
    files += [(f"variants[{i}]", variant) for i, variant in enumerate(manifest.variants)]
    names = [file.file for _, file in files]
    expect(len(set(names)) == len(names), "variants", "files that differ", names)
    for path, file in files:
        plain = _FILE_NAME.fullmatch(file.file) is not None and file.file != "manifest.json"
        expect(plain, f"{path}.file", "a plain file name", file.file)
        expect(file.size_bytes > 0, f"{path}.size_bytes", "a positive number", file.size_bytes)
        hexed = _SHA256.fullmatch(file.sha256) is not None
        expect(hexed, f"{path}.sha256", "64 hex digits", file.sha256)
    return [
        f"{path}: expected {expected}, got {_short(got)}"
        for good, path, expected, got in checks
        if not good
    ]
