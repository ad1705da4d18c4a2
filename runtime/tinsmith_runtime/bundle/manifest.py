"""Reading and writing `manifest.json`: parsed once, refused as a whole.

Unknown fields are refused: a manifest says nothing that this version does not understand.
"""

import reprlib
from collections.abc import Iterator, Sequence
from typing import Any

from tinsmith_runtime.bundle.archive import sha256
from tinsmith_runtime.bundle.keras_outputs import keras_outputs, part_problems
from tinsmith_runtime.bundle.quality import Parity
from tinsmith_runtime.bundle.schema import Input, Manifest, Output
from tinsmith_runtime.errors import BundleError
from tinsmith_runtime.record import mismatch, parse_record, read_json

FORMAT_VERSION = 2
"""What is written. Version 1 is read too: see `_upgrade`."""

STATEFUL_VERSION = 3
"""What is written of a model with states: who knows none would feed it wrongly."""

JOINED_VERSION = 4
"""What is written of a model with outputs that are parts of one: who knows none gives the parts."""

# The last field: no byte before it can change, and after it there is one way to go on.
_SEAL = b',\n "manifest_sha256":'
# What goes with each kind of input: the dtype that a user passes, and the layout.
_INPUTS = {
    "image": ("uint8", "NHWC"),
    "features": ("float32", None),
    "ids": ("int32", None),
    "state": ("float32", None),
}


def dump_manifest(manifest: Manifest) -> bytes:
    """Writes a manifest as canonical JSON with its own sha256 in it, so that no byte can change.

    One that was read from an older format version becomes one of the version that it needs.
    """
    import json  # what is read needs neither
    from dataclasses import asdict

    tree = {**asdict(manifest), "format_version": format_version(manifest.inputs, manifest.outputs)}
    # Like older bundles.
    for records, name in (
        (tree["inputs"], "pixel_ranges"),
        (tree["layers"], "saturates"),
        (tree["variants"], "arena_bytes"),
        ([tree], "failures"),
        ([tree], "boxes"),
        ([entry["preprocessing"] or {} for entry in tree["inputs"]], "padding"),
        (tree["inputs"], "fed_by"),
        (tree["outputs"], "part_of"),
        (tree["outputs"], "start"),
        ([tree["quality"]], "states"),
        ([tree], "settings"),
    ):
        for record in records:
            if not record.get(name, True):
                del record[name]
    text = json.dumps(tree, indent=1).removesuffix("\n}")
    return _sealed(text.encode())


def format_version(inputs: Sequence[Input], outputs: Sequence[Output]) -> int:
    """The first version that can say what these are."""
    if any(output.part_of for output in outputs):
        return JOINED_VERSION
    return STATEFUL_VERSION if any(one.kind == "state" for one in inputs) else FORMAT_VERSION


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
    if type(found) is not int or not 1 <= found <= JOINED_VERSION:
        expected = mismatch("format_version", f"1 to {JOINED_VERSION}", found)
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
    variants, quality = manifest.variants, manifest.quality
    for index, entry in enumerate(manifest.inputs):
        yield from _input_contradictions(f"inputs[{index}]", entry)
    yield from _state_contradictions(manifest)
    yield from _version_contradictions(manifest)
    apart = list(part_problems(manifest.outputs))
    yield from apart
    several = sum(output.kind != "state" for output in manifest.outputs) > 1
    for index, output in enumerate(manifest.outputs):
        yield from _output_contradictions(f"outputs[{index}]", output, several)
    for index, target in enumerate(quality.parity):
        path = f"quality.parity[{index}]"
        yield from _parity_contradictions(f"{path}.evaluation", target.evaluation)
        yield from _parity_contradictions(f"{path}.random", target.random)
    if manifest.boxes and not apart:
        from tinsmith_runtime.bundle.box_checks import head_contradictions

        images = [one.sample_shape if one.kind == "image" else None for one in manifest.inputs]
        outputs = keras_outputs(manifest.outputs)
        shapes = {one.name: one.sample_shape for one in outputs if one.kind == "values"}
        image = images[0] if len(images) == 1 else None
        yield from head_contradictions(manifest.boxes, image, shapes)
    if not variants:
        yield "variants: expected at least one, got none"
    for path, kind, found in (
        ("inputs, outputs", "names", [one.name for one in manifest.inputs + manifest.outputs]),
        ("quality", "targets", [quality.reference, *(one.target for one in quality.parity)]),
        ("variants", "ids", [one.id for one in variants]),
        ("variants", "files", ["manifest.json", manifest.golden.file, *(v.file for v in variants)]),
    ):
        if len(set(found)) < len(found):
            yield mismatch(path, f"{kind} that differ", found)


def _version_contradictions(manifest: Manifest) -> Iterator[str]:
    needed = format_version(manifest.inputs, manifest.outputs)
    if max(manifest.format_version, FORMAT_VERSION) != needed:
        said = {
            FORMAT_VERSION: "where there are neither states nor parts of outputs",
            STATEFUL_VERSION: "exactly where there are states",
            JOINED_VERSION: "exactly where outputs are parts of one",
        }
        yield mismatch("format_version", f"{needed} {said[needed]}", manifest.format_version)


def _state_contradictions(manifest: Manifest) -> Iterator[str]:
    for side in (manifest.inputs, manifest.outputs):
        kinds = [one.kind for one in side]
        if kinds[0] == "state" or kinds != sorted(kinds, key="state".__eq__):
            yield mismatch("inputs, outputs", "states behind others", kinds)
    # By position, so that each state is fed by an output of its own.
    outputs = [output for output in manifest.outputs if output.kind == "state"]
    fed = [(one.fed_by, one.shape, one.scale, one.zero_point) for one in manifest.states]
    given = [(one.name, one.shape, one.scale, one.zero_point) for one in outputs]
    if fed != given:
        yield mismatch("inputs", f"states fed by {given}, as they are", fed)
    if any(one.fed_by for one in manifest.inputs if one.kind != "state"):
        yield "inputs: expected fed_by in states alone"


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
    if entry.kind != "image" and entry.preprocessing:
        yield mismatch(f"{path}.preprocessing", f"null, for {entry.kind}", entry.preprocessing)
    if entry.kind == "image" and not entry.preprocessing:
        yield mismatch(f"{path}.preprocessing", "an object, for an image", entry.preprocessing)
    if entry.kind in ("image", "ids") and not entry.value_range:
        yield mismatch(f"{path}.value_range", f"two numbers, for {entry.kind}", entry.value_range)
    if entry.kind == "image" and len(entry.shape) != 4:
        yield mismatch(f"{path}.shape", "[null, H, W, C]", list(entry.shape))
    if entry.pixel_ranges is not None:
        path, pixels, channels = f"{path}.pixel_ranges", entry.pixel_ranges, entry.shape[-1]
        if entry.kind != "image":
            yield mismatch(path, f"none, for {entry.kind}", pixels)
        if len(pixels.ranges) not in (1, channels):
            wanted = "one pair, or one for each channel"
            yield mismatch(f"{path}.ranges", wanted, pixels.ranges)
        if pixels.channels == "bgr" and channels != 3:
            yield mismatch(f"{path}.channels", "rgb, where there are not three", pixels.channels)


def _output_contradictions(path: str, output: Output, several: bool) -> Iterator[str]:
    if several and output.kind == "logits":
        yield mismatch(f"{path}.kind", "values, for one of several outputs", output.kind)
    if output.kind != "logits" and output.labels:
        yield mismatch(f"{path}.labels", f"none, for {output.kind}", len(output.labels))
    if output.kind == "state" and output.activation != "none":
        yield mismatch(f"{path}.activation", "none, for a state", output.activation)
    if output.kind == "logits" and len(output.shape) != 2:
        yield mismatch(f"{path}.shape", "[null, classes]", list(output.shape))
    elif output.kind == "logits" and len(output.labels) != output.shape[1]:
        names = f"{output.shape[1]} class names"
        yield mismatch(f"{path}.labels", names, len(output.labels))
