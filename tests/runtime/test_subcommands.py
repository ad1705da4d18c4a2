import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tinsmith_runtime import Bundle
from tinsmith_runtime.bundle import PixelRanges, Stage, parse_manifest
from tinsmith_runtime.cli import main
from tinsmith_runtime.cli.subcommands import describe


@pytest.mark.parametrize("command", ["run", "inspect", "selftest"])
def test_bad_bundles(
    command: str,
    tmp_path: Path,
    images: Path,
    capsys: pytest.CaptureFixture[str],
    one_line: Callable[[str], str],
    forge: Callable[..., Path],
) -> None:
    more = [str(images)] if command == "run" else []
    assert main([command, str(tmp_path / "none.tin"), *more]) == 2
    assert "none.tin: no such bundle" in one_line(capsys.readouterr().err)
    (tmp_path / "text.tin").write_text("hello")
    for path in (tmp_path / "text.tin", images, forge({}, lambda t: t.update(format_version=5))):
        assert main([command, str(path), *more]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        one_line(captured.err)


def test_inspect(tiny: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tiny)]) == 0
    text = capsys.readouterr().out
    for words in (
        "8 x 8 x 1 uint8 pixels, standing for 0 to 1",
        "3 classes (zero, one, two), softmax",
        "model.int8.onnx",
        "300 of 300 int8 outputs equal",
        "32 vectors",
    ):
        assert words in text
    assert main(["inspect", str(folder)]) == 0
    assert capsys.readouterr().out == text


def test_inspect_says_what_is_float_and_where_engines_part(bundle: Bundle) -> None:
    manifest = bundle.manifest
    layers = tuple(replace(layer, weight_bits=32) for layer in manifest.layers[:1])
    (target,) = manifest.quality.parity
    parity = replace(target.evaluation, equal=299, enters_at="conv", enters_lsb=1)
    quality = replace(manifest.quality, parity=(replace(target, evaluation=parity),))
    told = describe(replace(manifest, layers=layers + manifest.layers[1:], quality=quality))
    assert f"float     {layers[0].name}: weights not rounded" in told
    assert "          different from layer conv on" in told


def test_inspect_says_what_the_model_takes_for_pixels(bundle: Bundle) -> None:
    entry = bundle.manifest.input
    for ranges, order, said in (
        (((-1.0, 1.0),), "rgb", "standing for -1 to 1"),
        (
            ((-103.939, 151.061), (-2, 3), (0, 1)),
            "bgr",
            "-103.939 to 151.061, -2 to 3, 0 to 1 in the model's BGR; the",
        ),
    ):
        pixels = replace(entry, pixel_ranges=PixelRanges(ranges, order))
        assert said in describe(replace(bundle.manifest, inputs=(pixels,)))[0]


def test_inspect_of_a_model_without_labels(bundle: Bundle) -> None:
    quality = bundle.manifest.quality
    for agreement, said in ((0.5, "agreement float 50.00%"), (None, "SQNR      float 9.0 dB")):
        stage = Stage("float", None, 10, None, agreement, 9.0, 1.0)
        manifest = replace(bundle.manifest, quality=replace(quality, stages=(stage,)))
        assert said in describe(manifest)


def test_inspect_json(tiny: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tiny), "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree == json.loads(json.dumps(asdict(bundle.manifest)))
    assert parse_manifest(bundle.files["manifest.json"]) == bundle.manifest


def test_selftest(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest", str(tiny)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["LiteRT", "ONNX"]
    assert all("32 of 32 golden vectors equal to the bit" in line for line in lines)
    assert main(["selftest", str(tiny), "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [result["backend"] for result in results] == ["litert", "onnx"]


def test_selftest_fails(wrong_answers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in ([], ["--json"]):
        assert main(["selftest", str(wrong_answers), *options]) == 1
        captured = capsys.readouterr()
        assert captured.err == ""
        assert captured.out.count("golden vector 0, output 0: differs by") == 2
