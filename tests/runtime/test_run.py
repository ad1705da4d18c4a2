import csv
import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from narrow import array
from numpy.typing import NDArray

from tinsmith_runtime import Bundle
from tinsmith_runtime.cli import main


def test_run(
    tiny: Path, images: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str], engine: str
) -> None:
    assert main(["run", str(tiny), str(images), "--backend", engine, "--threads", "2"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert len(lines) == 3
    labels = bundle.manifest.output.labels
    top = array(bundle.golden().outputs_int8).argmax(axis=1)
    for line, name, best in zip(lines, ("a.png", "b.jpg", "c.npy"), top, strict=False):
        assert line.startswith(f"{images / name}: {labels[best]} ")
        assert line.endswith("%")


def test_run_json(tiny: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(tiny), str(images), "--top", "2", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["image"] for line in lines] == [
        str(images / name) for name in ("a.png", "b.jpg", "c.npy")
    ]
    for line in lines:
        first, second = line["predictions"]
        assert 0 <= second["probability"] <= first["probability"] <= 1
        assert first["label"] in ("zero", "one", "two")


def test_run_top(tiny: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(tiny), str(images / "c.npy"), "--top", "9"]) == 0
    assert capsys.readouterr().out.count("%") == 3


def test_bad_images_among_good_ones(
    tiny: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "aa.png").write_text("not a PNG")
    np.save(images / "bb.npy", np.zeros((9, 9), np.uint8))
    missing = str(images / "missing.png")
    assert main(["run", str(tiny), missing, str(images), str(images / "c.npy")]) == 1
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 4
    errors = captured.err.splitlines()
    assert errors == [
        f"tinsmith: error: {missing}: no such file",
        f"tinsmith: error: {images / 'aa.png'}: expected a PNG or JPEG",
        f"tinsmith: error: {images / 'bb.npy'}: expected shape (8, 8, 1), got (9, 9)",
        "tinsmith: 3 of 7 inputs could not be read",
    ]


def test_folder_without_images(
    tiny: Path, tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["run", str(tiny), str(tmp_path / "empty"), str(images)]) == 1
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 3
    assert "empty: expected files in it (.png, .jpg, .jpeg, .npy), found none" in captured.err
    assert "tinsmith: 1 of 4 inputs could not be read" in captured.err


def test_globs(tiny: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (images / "deep").mkdir()
    (images / "a.png").rename(images / "deep" / "a[1].png")
    shutil.copy(images / "deep" / "a[1].png", images / "deep" / "a1.png")
    assert main(["run", str(tiny), f"{images}/**/*.png", f"{images}/[bc].*"]) == 0
    named = [line.split(": ")[0] for line in capsys.readouterr().out.splitlines()]
    deep = images / "deep"
    assert named == [f"{deep}/a1.png", f"{deep}/a[1].png", f"{images}/b.jpg", f"{images}/c.npy"]
    # A file of that very name is no glob.
    assert main(["run", str(tiny), f"{deep}/a[1].png"]) == 0
    assert capsys.readouterr().out.startswith(f"{deep}/a[1].png: ")
    assert main(["run", str(tiny), f"{images}/x*"]) == 1
    assert f"{images}/x*: matches no file" in capsys.readouterr().err


def test_standard_input(
    tiny: Path, images: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["run", str(tiny), str(images / "a.png")]) == 0
    expected = capsys.readouterr().out.replace(str(images / "a.png"), "standard input")
    for content, status in (((images / "a.png").read_bytes(), 0), (b"text", 1), (b"", 1)):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        assert main(["run", str(tiny), "-"]) == status
        captured = capsys.readouterr()
        assert captured.out == (expected if status == 0 else "")
        assert ("standard input: expected a PNG or JPEG" in captured.err) == (status == 1)


def test_min_probability(tiny: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", str(tiny), str(images / "a.png"), "--top", "3", "--min-probability"]
    assert main([*command, "0"]) == 0
    percents = [float(n) for n in re.findall(r"([0-9.]+)%", capsys.readouterr().out)]
    assert len(percents) == 3
    limit = (percents[0] + percents[1]) / 200
    assert main([*command, str(limit)]) == 0
    assert capsys.readouterr().out.count("%") == 1
    assert main([*command, "1"]) == 0
    assert capsys.readouterr().out == f"{images / 'a.png'}: nothing that probable\n"
    assert main([*command, "1", "--json"]) == 0
    answer = {"image": str(images / "a.png"), "predictions": []}
    assert json.loads(capsys.readouterr().out) == answer


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--top", "0"], "--top: expected a number from 1, got 0"),
        (["--min-probability", "1.5"], "--min-probability: expected a number from 0 to 1, got 1.5"),
        (["--min-probability", "nan"], "--min-probability: expected a number from 0 to 1, got nan"),
        (["--camera"], "run: expected INPUT, or --camera"),
        (["--frames", "3"], "--frames: expected a number from 1, and --camera"),
        (["--trusted-key", "none.pub"], "none.pub: cannot be read"),
        (["--threads", "0"], "threads: expected 1 to 256, got 0"),
        (["--backend", "tflite"], "backend: expected auto, native, litert, onnx; got 'tflite'"),
    ],
)
def test_wrong_option(
    tiny: Path,
    images: Path,
    capsys: pytest.CaptureFixture[str],
    one_line: Callable[[str], str],
    options: list[str],
    message: str,
) -> None:
    assert main(["run", str(tiny), str(images), *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in one_line(captured.err)


def test_names_that_no_encoding_can_print(
    child: Callable[..., subprocess.CompletedProcess[str]], tiny: Path, images: Path
) -> None:
    strange = os.fsencode(images) + b"/\xff.npy"
    os.rename(os.fsencode(images / "c.npy"), strange)  # noqa: PTH104 bytes are the point
    done = child("-m", "tinsmith_runtime", "run", tiny, images, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert r"/\udcff.npy: " in done.stdout


def test_name_that_is_too_long(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(tiny), "x" * 300]) == 1
    assert f"{'x' * 300}: File name too long\n" in capsys.readouterr().err


@pytest.fixture
def reals(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the golden pixels stand for, which the features bundle takes."""
    return array(pixels / np.float32(255))


def _bests(bundle: Bundle, count: int) -> list[str]:
    best = array(bundle.golden().outputs_int8[:count]).argmax(axis=1)
    return [bundle.manifest.output.labels[i] for i in best]


def _write_csv(path: Path, rows: Sequence[Sequence[object]], header: bool = True) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        if header:
            writer.writerow([f"sensor {i}" for i in range(len(rows[0]))])
        writer.writerows(rows)


def test_features_of_files(
    features: Path,
    bundle: Bundle,
    reals: NDArray[np.float32],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    np.save(tmp_path / "one.npy", reals[0])
    np.save(tmp_path / "many.npy", reals[:5].astype(np.float64))
    np.savez(tmp_path / "only.npz", anything=reals[:2])
    np.savez(tmp_path / "named.npz", y=np.zeros(2), x=reals[:2])
    _write_csv(tmp_path / "table.csv", reals[:3].reshape(3, -1).tolist())
    _write_csv(tmp_path / "bare.CSV", reals[:3].reshape(3, -1).tolist(), header=False)
    assert main(["run", str(features), str(tmp_path), "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = [answer["features"].removeprefix(f"{tmp_path}/") for answer in answers]
    assert names == [
        *(f"bare.CSV:{line}" for line in (1, 2, 3)),
        *(f"many.npy[{row}]" for row in range(5)),
        *("named.npz[0]", "named.npz[1]", "one.npy", "only.npz[0]", "only.npz[1]"),
        *(f"table.csv:{line}" for line in (2, 3, 4)),
    ]
    counts = (3, 5, 2, 1, 2, 3)
    expected = [best for count in counts for best in _bests(bundle, count)]
    assert [answer["predictions"][0]["label"] for answer in answers] == expected


def test_bad_features_among_good_ones(
    features: Path,
    bundle: Bundle,
    reals: NDArray[np.float32],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [list(map(str, row)) for row in reals[:4].reshape(4, -1)]
    rows[1][7] = "n/a"
    rows[2][7] = "nan"
    rows.insert(3, ["1", "2"])
    _write_csv(tmp_path / "a.csv", rows)
    np.savez(tmp_path / "b.npz", u=reals, v=reals)
    np.save(tmp_path / "c.npy", reals[..., 0])
    (tmp_path / "d.csv").write_bytes(b"\x89PNG\xff")
    np.savez(tmp_path / "e.npz", x=np.array([None]))
    (tmp_path / "f.npz").write_bytes(b"text")
    words = [str(tmp_path / name) for name in ("a.csv", "b.npz", "c.npy", "d.csv", "e.npz")]
    assert main(["run", str(features), *words, str(tmp_path / "f.npz"), "none.csv"]) == 1
    captured = capsys.readouterr()
    said = [line.split(" ")[0] for line in captured.out.splitlines()]
    assert said == [f"{tmp_path}/a.csv:2:", f"{tmp_path}/a.csv:6:"]
    errors = captured.err.replace(f"{tmp_path}/", "").splitlines()
    beginnings = [
        "a.csv:3: expected numbers: could not convert string to float: 'n/a'",
        "a.csv:4: expected numbers, got NaN",
        "a.csv:5: expected 64 numbers, got 2",
        "b.npz: expected one array or one named x, got ['u', 'v']",
        "c.npy: expected shape (N, 8, 8, 1), got (32, 8, 8)",
        "d.csv: expected CSV, .npy or .npz: 'utf-8' codec",
        "e.npz: expected an .npz file of plain arrays: x: it holds Python objects",
        "f.npz: expected an .npz file of plain arrays: ",
        "none.csv: no such file",
    ]
    for line, beginning in zip(errors, beginnings, strict=False):
        assert line.startswith(f"tinsmith: error: {beginning}")
    assert errors[-1] == "tinsmith: 9 of 11 inputs could not be read"
    assert len(errors) == len(beginnings) + 1


def test_features_of_standard_input(
    values: Path,
    bundle: Bundle,
    reals: NDArray[np.float32],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A model of values, which are all printed."""
    golden, output = bundle.golden(), bundle.manifest.output
    text = "\n\n".join(",".join(map(str, row)) for row in reals[:2].reshape(2, -1))
    expected = (array(golden.outputs_int8[:2]).astype(float) - output.zero_point) * output.scale
    for options in ([], ["--json"]):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        assert main(["run", str(values), "-", *options]) == 0
        lines = capsys.readouterr().out.splitlines()
        if options:
            answers = [json.loads(line) for line in lines]
            assert [a["features"] for a in answers] == ["standard input:1", "standard input:3"]
            found = [answer["values"] for answer in answers]
        else:
            found = [[float(word) for word in line.split(": ")[1].split()] for line in lines]
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_values_of_images(
    forge: Callable[..., Path], images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def edit(tree: Any) -> None:
        tree["outputs"][0].update(kind="values", labels=[], activation="none")

    assert main(["run", str(forge(edit=edit)), str(images / "a.png")]) == 0
    assert re.fullmatch(r".*a\.png: \S+ \S+ \S+\n", capsys.readouterr().out)


def test_bare_logits_are_no_percentages(
    forge: Callable[..., Path], images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def edit(tree: Any) -> None:
        tree["outputs"][0].update(activation="none")

    assert main(["run", str(forge(edit=edit)), str(images / "a.png")]) == 0
    assert re.fullmatch(r".*a\.png: \S+ -?[\d.]+\n", capsys.readouterr().out)


def test_trusted_key(
    tiny: Path,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    one_line: Callable[[str], str],
) -> None:
    bundle, keys = tmp_path / "signed.tin", [tmp_path / "mine", tmp_path / "other"]
    for key in keys:
        assert main(["keygen", str(key)]) == 0
    assert main(["sign", str(tiny), "--key", f"{keys[0]}.key", "--out", str(bundle)]) == 0
    mine, other = (["--trusted-key", f"{key}.pub"] for key in keys)
    run = [str(images / "a.png")]
    assert main(["run", str(bundle), *run, *mine]) == 0
    assert main(["run", str(bundle), *run, *other, *mine]) == 0
    capsys.readouterr()
    assert main(["run", str(bundle), *run, *other]) == 1
    assert "other.pub, got a signature that is not theirs" in one_line(capsys.readouterr().err)
    assert main(["run", str(tiny), *run, *mine]) == 1
    assert "mine.pub, got no signature" in one_line(capsys.readouterr().err)

    home = str(tmp_path / "installed")
    for source, trusted in ((tiny, mine), (bundle, other)):
        assert main(["install", str(source), home, *trusted]) == 1
        assert "expected it signed by" in one_line(capsys.readouterr().err)
        assert not (tmp_path / "installed").exists()
    assert main(["install", str(bundle), home, *mine]) == 0
    capsys.readouterr()
    # The folder remembers the key.
    assert main(["install", str(tiny), home]) == 1
    assert "got no signature" in one_line(capsys.readouterr().err)
    assert main(["run", home, *run, *mine]) == 0
