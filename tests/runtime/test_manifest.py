import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinsmith_runtime import Bundle, BundleError, load, read_bundle
from tinsmith_runtime.bundle import (
    FORMAT_VERSION,
    Golden,
    Input,
    Layer,
    Manifest,
    Output,
    Parity,
    PixelRanges,
    Preprocessing,
    Quality,
    Setting,
    Stage,
    TargetParity,
    Training,
    Variant,
    dump_manifest,
    parse_manifest,
)
from tinsmith_runtime.cli.subcommands import describe

DATA = Path(__file__).parents[1] / "data"

# A machine that others use too may be slow for a moment: that is no failure.
patient = settings(deadline=None)

text = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=20)
number = st.floats(allow_nan=False, allow_infinity=False)
whole = st.integers()
count = st.integers(1, 2**31 - 1)
digest = st.text("0123456789abcdef", min_size=64, max_size=64)
scale = st.floats(1e-30, 1e29)
zero_point = st.integers(-128, 127)
size = st.integers(1, 400)


@pytest.fixture
def reseal() -> Callable[[bytes], bytes]:
    """Gives a manifest that was changed the hash that its last seal must have."""

    def write(data: bytes) -> bytes:
        text, seal, _ = data.rpartition(b',\n "manifest_sha256":')
        return b'%s%s "%s"\n}\n' % (text, seal, hashlib.sha256(text).hexdigest().encode())

    return write


def parities(different: int, enters: tuple[str, int] | None, *rest: Any) -> Parity:
    """Where a difference enters is said of outputs that differ."""
    at, lsb = enters if enters and different else (None, None)
    return Parity(rest[0], rest[0] - different, rest[1], rest[2], at, lsb)


parity = st.builds(
    parities, whole, st.none() | st.tuples(text, whole), whole, whole, st.none() | number
)
preprocessing = st.builds(
    Preprocessing,
    st.sampled_from(["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]),
    st.sampled_from(["stretch", "contain", "crop"]),
    st.booleans(),
)
value_range = st.tuples(number, number)
sizes = st.lists(st.integers(1, 12), min_size=1, max_size=5)
layer = st.builds(Layer, text, text, st.sampled_from([7, 8, 32]))
share = st.none() | number
stage = st.builds(Stage, text, st.none() | text, whole, share, share, share, share)


@st.composite
def inputs(draw: st.DrawFn, name: str) -> Input:
    tail = (draw(scale), draw(zero_point))
    if draw(st.booleans()):
        shape = (None, draw(size), draw(size), draw(size))
        head = (name, shape, "uint8", "NHWC", draw(value_range))
        count = draw(st.sampled_from([0, 1, min(3, shape[-1])]))
        pairs = tuple(draw(value_range) for _ in range(shape[-1] if count > 1 else count))
        order = draw(st.sampled_from(["rgb", "bgr"] if shape[-1] == 3 else ["rgb"]))
        pixels = PixelRanges(pairs, order) if 0 < len(pairs) <= 16 else None
        return Input(*head, *tail, "image", draw(preprocessing), pixel_ranges=pixels)
    seen = draw(st.none() | value_range)
    return Input(name, (None, *draw(sizes)), "float32", None, seen, *tail, "features", None)


@st.composite
def outputs(draw: st.DrawFn, name: str, only: bool) -> Output:
    labels = draw(st.lists(text, max_size=5)) if only else []
    kind, shape = ("logits", [len(labels)]) if labels else ("values", draw(sizes))
    activation = draw(st.sampled_from(["softmax", "sigmoid", "none"]))
    place = (name, (None, *shape), draw(scale), draw(zero_point))
    return Output(*place, tuple(labels), activation, kind)


setting = st.builds(Setting, text.filter(lambda name: 0 < len(name) <= 100), text)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    names = draw(
        st.lists(
            st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True).filter(
                lambda name: name != "manifest.json"
            ),
            min_size=2,
            max_size=5,
            unique=True,
        )
    )
    sides = draw(st.lists(text, min_size=2, max_size=6, unique=True))
    first = draw(st.integers(1, len(sides) - 1))
    only = first == len(sides) - 1
    reference, *others = draw(st.lists(text, min_size=1, max_size=4, unique=True))
    return Manifest(
        format_version=FORMAT_VERSION,
        made_with=draw(st.dictionaries(text, text, max_size=3)),
        inputs=tuple(draw(inputs(name)) for name in sides[:first]),
        outputs=tuple(draw(outputs(name, only)) for name in sides[first:]),
        variants=tuple(
            Variant(
                f"v{index}",
                name,
                draw(st.sampled_from(["tflite", "onnx"])),
                draw(st.sampled_from(["int8", "float"])),
                draw(count),
                draw(digest),
                draw(share),
            )
            for index, name in enumerate(names[1:])
        ),
        golden=Golden(names[0], draw(count), draw(digest), draw(count)),
        layers=tuple(draw(st.lists(layer, max_size=3))),
        training=Training(draw(text), draw(digest), draw(text), draw(text), draw(whole), 0),
        release=draw(st.integers(0, 2**31 - 1)),
        failures=tuple(draw(st.lists(text, max_size=2))),
        settings=tuple(draw(st.lists(setting, max_size=3))),
        quality=Quality(
            tuple(draw(st.lists(stage, min_size=1, max_size=3))),
            reference,
            tuple(TargetParity(target, draw(parity), draw(parity)) for target in others),
            draw(share),
        ),
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner),
    max_leaves=8,
)


@patient
@given(manifests())
def test_round_trip(manifest: Manifest) -> None:
    data = dump_manifest(manifest)
    assert parse_manifest(data) == manifest
    assert dump_manifest(parse_manifest(data)) == data


@patient
@given(json_values)
def test_any_json_is_refused(value: Any) -> None:
    with pytest.raises(BundleError, match=r"^manifest\.json: "):
        parse_manifest(json.dumps(value).encode())


@patient
@given(st.binary(max_size=100))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match=r"^manifest\.json: "):
        parse_manifest(data)


def _nodes(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    found = []
    for key, value in items:
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += _nodes(value, (*path, key))
    return found


def _try_any_field(data: st.DataObject, tree: Any, seal: Callable[[Any], bytes]) -> None:
    """A sealed manifest with one field replaced parses, or is refused in one line."""
    *parents, last = data.draw(st.sampled_from(_nodes(tree)))
    place = tree
    for key in parents:
        place = place[key]
    place[last] = data.draw(json_values)
    message = ""
    try:
        assert isinstance(parse_manifest(seal(tree)), Manifest)
    except BundleError as error:
        message = str(error)
    assert "\n" not in message
    assert len(message) < 1000


@patient
@given(data=st.data())
def test_any_field_with_any_value(
    data: st.DataObject, bundle: Bundle, seal: Callable[[Any], bytes]
) -> None:
    tree = json.loads(bundle.files["manifest.json"])
    _try_any_field(data, tree, seal)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "inputs.0.shape",
            [None, 8, 8],
            "inputs[0].shape: expected [null, H, W, C], got [None, 8, 8]",
        ),
        ("inputs.0.shape", [1, 8, 8, 1], "inputs[0].shape: expected"),
        ("inputs.0.shape", [None, 8, 0, 1], "inputs[0].shape: expected"),
        ("inputs.0.shape", [None, 8, None, 1], "inputs[0].shape: expected"),
        ("inputs.0.shape", [None, 10**6, 10**6, 1], "inputs[0].shape: expected"),
        (
            "inputs.0.shape",
            [None],
            "inputs[0].shape: expected [null, ...], sizes from 1 after it, got",
        ),
        ("inputs.0.shape", [None] + [1] * 8, "inputs[0].shape: expected [null, ...], sizes from 1"),
        (
            "inputs.0.dtype",
            "int8",
            "inputs[0].dtype: expected uint8 or float32 or int32, got 'int8'",
        ),
        ("inputs.0.dtype", "float32", "inputs[0].dtype: expected uint8, for image, got 'float32'"),
        ("inputs.0.layout", None, "inputs[0].layout: expected NHWC, for image, got None"),
        (
            "inputs.0.kind",
            "sound",
            "inputs[0].kind: expected image or features or ids or state, got 'sound'",
        ),
        (
            "inputs.0.kind",
            "features",
            "inputs[0].dtype: expected float32, for features, got 'uint8'",
        ),
        ("inputs.0.kind", "ids", "inputs[0].dtype: expected int32, for ids, got 'uint8'"),
        ("inputs.0.value_range", None, "inputs[0].value_range: expected two numbers, for image"),
        (
            "inputs.0.preprocessing",
            None,
            "inputs[0].preprocessing: expected an object, for an image",
        ),
        (
            "inputs.0.preprocessing",
            {"fit": "fill"},
            "inputs[0].preprocessing.fit: expected stretch or c",
        ),
        (
            "inputs.0.preprocessing",
            {"invert": 1},
            "inputs[0].preprocessing.invert: expected true or fal",
        ),
        (
            "inputs.0.pixel_ranges",
            {"ranges": []},
            "inputs[0].pixel_ranges.ranges: expected 1 to 16 ranges, got []",
        ),
        (
            "inputs.0.pixel_ranges",
            {"ranges": [[0, 1], [0, 1], [0, 1]]},
            "inputs[0].pixel_ranges.ranges: expected one pair, or one for each channel, got (",
        ),
        (
            "inputs.0.pixel_ranges",
            {"ranges": [[0, 1]], "channels": "bgr"},
            "inputs[0].pixel_ranges.channels: expected rgb, where there are not three, got",
        ),
        (
            "inputs.0.pixel_ranges",
            {"ranges": [[0]], "channels": "gbr"},
            "inputs[0].pixel_ranges.ranges[0]: expected 2 elements, got [0]; inputs[0].pixel_ranges"
            ".channels: expected rgb or bgr, got 'gbr'",
        ),
        (
            "outputs.0.kind",
            "boxes",
            "outputs[0].kind: expected logits or values or state, got 'boxes'",
        ),
        ("outputs.0.kind", "values", "outputs[0].labels: expected none, for values, got 3"),
        ("inputs.0.layout", "NCHW", "inputs[0].layout: expected NHWC, got 'NCHW'"),
        ("inputs.0.scale", 0, "inputs[0].scale: expected a positive number, got 0"),
        ("outputs.0.shape", [None, 4], "outputs[0].labels: expected 4 class names, got 3"),
        ("outputs.0.shape", [], "outputs[0].shape: expected [null, ...], sizes from 1 after it"),
        (
            "outputs.0.shape",
            [None, 3, 1],
            "outputs[0].shape: expected [null, classes], got [None, 3, 1]",
        ),
        ("outputs.0.zero_point", 128, "outputs[0].zero_point: expected -128 to 127, got 128"),
        (
            "outputs.0.activation",
            "relu",
            "outputs[0].activation: expected softmax or sigmoid or none",
        ),
        ("outputs.0.labels", ["a", "b", "\x1b[31m"], "outputs[0].labels[2]: expected text without"),
        ("inputs", [], "inputs: expected 1 to 16 inputs, got []"),
        ("inputs.0", None, "inputs[0]: expected an object, got None"),
        ("outputs", [], "outputs: expected 1 to 16 outputs, got []"),
        ("inputs.0.name", "logits", "inputs, outputs: expected names that differ, got ['logits', "),
        ("variants", [], "variants: expected at least one, got none"),
        ("variants.1.file", "model.int8.tflite", "variants: expected files that differ"),
        ("variants.1.file", "golden.npz", "variants: expected files that differ"),
        ("variants.1.file", "manifest.json", "variants: expected files that differ"),
        ("variants.1.file", "../x", "variants[1].file: expected a plain file name, got '../x'"),
        ("variants.1.file", "/etc/passwd", "variants[1].file: expected a plain file name"),
        ("variants.1.file", "a/b", "variants[1].file: expected a plain file name"),
        ("variants.1.file", "", "variants[1].file: expected a plain file name"),
        ("variants.1.id", "int8-tflite", "variants: expected ids that differ"),
        ("quality.stages", [], "quality.stages: expected 1 to 16 stages, got []"),
        ("quality.reference", "onnx", "quality: expected targets that differ, got ['onnx', 'onnx'"),
        ("variants.1.format", "../onnx", "variants[1].format: expected a word of a-z and 0-9"),
        ("variants.1.precision", "fp16", "variants[1].precision: expected int8 or float"),
        ("variants.1.sha256", "abc", "variants[1].sha256: expected 64 hex digits, got 'abc'"),
        ("variants.1.size_bytes", 0, "variants[1].size_bytes: expected 1 to 2147483647, got 0"),
        ("variants.1.size_bytes", 1 << 62, "variants[1].size_bytes: expected 1 to 2147483647"),
        ("golden.count", 0, "golden.count: expected 1 to 2147483647, got 0"),
        ("golden.file", "..", "golden.file: expected a plain file name, got '..'"),
        (
            "quality.parity.0.evaluation.compared",
            "1",
            "quality.parity[0].evaluation.compared: expected a whole number",
        ),
        (
            "quality.parity.0.evaluation.enters_at",
            "conv",
            "quality.parity[0].evaluation.enters_at: expected null, where all outputs are equal",
        ),
        (
            "quality.parity.0.random.enters_lsb",
            1,
            "quality.parity[0].random.enters_lsb: expected null exactly where enters_at is, got 1",
        ),
        ("release", -1, "release: expected 0 to 2147483647, got -1"),
        ("release", 1 << 31, "release: expected 0 to 2147483647, got 2147483648"),
        ("release", True, "release: expected a whole number, got True"),
        ("layers.0.weight_bits", 4, "layers[0].weight_bits: expected 7, 8 or 32, got 4"),
    ],
)
def test_wrong_value_is_named(
    bundle: Bundle, seal: Callable[[Any], bytes], path: str, value: object, message: str
) -> None:
    tree = json.loads(bundle.files["manifest.json"])
    *parents, last = (int(key) if key.isdecimal() else key for key in path.split("."))
    place = tree
    for key in parents:
        place = place[key]
    place[last] = value
    with pytest.raises(BundleError) as caught:
        parse_manifest(seal(tree))
    assert str(caught.value).startswith(f"manifest.json: {message}")


def test_bundles_from_before_there_were_features(
    bundle: Bundle, seal: Callable[[Any], bytes]
) -> None:
    """They say nothing of kinds and preprocessing, and mean an image that is stretched."""
    tree = json.loads(bundle.files["manifest.json"])
    for field in ("kind", "preprocessing"):
        tree["inputs"][0].pop(field, None)
    tree["outputs"][0].pop("kind", None)
    manifest = parse_manifest(seal(tree))
    assert (manifest.input.kind, manifest.output.kind) == ("image", "logits")
    assert manifest.input.preprocessing == Preprocessing("bilinear", "stretch", invert=False)
    assert manifest == bundle.manifest


@pytest.mark.parametrize("version", [5, 99, 0, -1, "1", 1.0, True, None, [[]], 10**4000])
def test_other_version_says_to_upgrade(
    bundle: Bundle, seal: Callable[[Any], bytes], version: object
) -> None:
    """A later format may differ in everything else, so the version is looked at first."""
    data = seal({"format_version": version, "novelty": 1})
    with pytest.raises(BundleError, match=r"format_version: .*pip install --upgrade") as caught:
        parse_manifest(data)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"format_version": ' + b"[" * 900 + b"]" * 900 + b"}",
        b"1" * 10_000,
        b'{"format_version": 1, "input": 1e999}',
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
    ],
    ids=["lists", "objects", "version", "digits", "infinity", "utf-16", "byte order mark"],
)
def test_hostile_json(data: bytes) -> None:
    with pytest.raises(BundleError, match=r"^manifest\.json: ") as caught:
        parse_manifest(data)
    assert len(str(caught.value)) < 500


def test_changed_after_it_was_written(bundle: Bundle) -> None:
    data = dump_manifest(bundle.manifest)
    for changed in (data.replace(b'"zero"', b'"nine"'), data + b" ", data.replace(b"\n", b"")):
        with pytest.raises(BundleError, match="the manifest was changed after it was written"):
            parse_manifest(changed)


def test_version_1_goes_on_loading(bundle: Bundle, seal: Callable[[Any], bytes]) -> None:
    tree = json.loads(read_bundle(DATA / "version1" / "tiny.tin").files["manifest.json"])
    assert tree["format_version"] == 1
    manifest = parse_manifest(seal(tree))
    assert manifest == replace(bundle.manifest, format_version=1)
    assert parse_manifest(dump_manifest(manifest)) == bundle.manifest
    for more in ("release", "reference"):
        with pytest.raises(BundleError, match=f"'{more}': unknown field"):
            parse_manifest(seal({**tree, more: 0}))
    new = json.loads(dump_manifest(manifest))
    for wrong in ({"quality": new["quality"]}, {"variants": new["variants"]}, {"variants": None}):
        with pytest.raises(BundleError, match="variants, quality: expected those of version 1"):
            parse_manifest(seal({**tree, **wrong}))


@patient
@given(data=st.data())
def test_any_field_of_version_1_with_any_value(
    data: st.DataObject, seal: Callable[[Any], bytes]
) -> None:
    tree = json.loads(read_bundle(DATA / "version1" / "tiny.tin").files["manifest.json"])
    _try_any_field(data, tree, seal)


@pytest.mark.parametrize("name", ["tiny.tin", "pair.tin", "mixed.tin"])
def test_files_of_version_1(name: str) -> None:
    old = read_bundle(DATA / "version1" / name)
    new = read_bundle(DATA / name)
    assert json.loads(old.files["manifest.json"])["format_version"] == 1
    assert new.manifest == replace(old.manifest, format_version=2)
    with load(DATA / "version1" / name) as model:
        assert all(not result.mismatch for result in model.selftest())


def test_a_key_twice(bundle: Bundle, reseal: Callable[[bytes], bytes]) -> None:
    """Of two values, another reader may take the other one."""
    data = dump_manifest(bundle.manifest)
    assert parse_manifest(reseal(data)) == bundle.manifest
    for key in ("format_version", "release", "scale", "equal", "weight_bits"):
        name = f'"{key}": '.encode()
        assert name in data
        with pytest.raises(BundleError, match=f"'{key}': expected every key once"):
            parse_manifest(reseal(data.replace(name, name + b"1, " + name, 1)))


def test_a_second_seal(bundle: Bundle, reseal: Callable[[bytes], bytes]) -> None:
    """The end of a sealed manifest, sealed again, would be two hashes, both of them right."""
    data = dump_manifest(bundle.manifest)
    with pytest.raises(BundleError, match="'manifest_sha256': expected every key once"):
        parse_manifest(reseal(data.removesuffix(b"\n}\n") + b',\n "manifest_sha256": ""\n}\n'))


def test_only_a_bundle_with_settings_says_so(bundle: Bundle) -> None:
    plain = dump_manifest(bundle.manifest)
    assert "settings" not in json.loads(plain)
    assert parse_manifest(plain).settings == ()
    told = replace(bundle.manifest, settings=(Setting("recipe", '"ptq"'),))
    assert parse_manifest(dump_manifest(told)) == told
    assert 'setting   recipe = "ptq"' in describe(told)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([{"name": "a", "value": "x"}] * 65, "settings: expected at most 64 settings"),
        ([{"name": "a", "value": "x" * 1001}], r"settings\[0\].value: expected at most 1000"),
        ([{"name": "", "value": "x"}], r"settings\[0\].name: expected 1 to 100 characters"),
        ([{"name": "a\x1b[2J", "value": "x"}], r"settings\[0\].name: expected text without"),
        ([{"name": "a"}], r"settings\[0\].value: missing"),
        ([{"name": "a", "value": 3}], r"settings\[0\].value: expected text"),
        ({"a": "x"}, "settings: expected a list"),
    ],
)
def test_settings_of_a_stranger(
    bundle: Bundle, reseal: Callable[[bytes], bytes], settings: object, expected: str
) -> None:
    tree = {**json.loads(dump_manifest(bundle.manifest)), "settings": settings}
    seal = tree.pop("manifest_sha256")  # it is the last field
    data = json.dumps({**tree, "manifest_sha256": seal}, indent=1) + "\n"
    with pytest.raises(BundleError, match=expected):
        parse_manifest(reseal(data.encode()))


def test_only_a_bundle_that_failed_says_so(bundle: Bundle) -> None:
    """So older runtimes go on reading the others, and these keep their bytes."""
    passed = dump_manifest(bundle.manifest)
    assert "failures" not in json.loads(passed)
    assert parse_manifest(passed).failures == ()
    failed = replace(bundle.manifest, failures=("TFLite: 25.00 points lost",))
    assert json.loads(dump_manifest(failed))["failures"] == ["TFLite: 25.00 points lost"]
    assert "failed    TFLite: 25.00 points lost" in describe(failed)
    assert not any(line.startswith("failed") for line in describe(bundle.manifest))


def test_dump_of_a_wrong_manifest_is_refused(bundle: Bundle) -> None:
    wrong = replace(bundle.manifest, variants=())
    with pytest.raises(BundleError, match="variants: expected at least one"):
        parse_manifest(dump_manifest(wrong))
