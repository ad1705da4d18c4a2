"""The tiny bundle, and forgeries of it; the command, in a child where it must be one."""

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mutations
import numpy as np
import pytest
from narrow import array
from numpy.typing import NDArray
from PIL import Image

from tinsmith_runtime import Bundle, read_bundle

TINY = Path(__file__).parents[1] / "data" / "tiny.tin"

Forge = Callable[..., Path]


@pytest.fixture(autouse=True)
def runtime_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides tinsmith-native, which may be installed: `tests/native` tests it."""
    monkeypatch.setitem(sys.modules, "tinsmith_native", None)


@pytest.fixture(scope="session")
def tiny() -> Path:
    return TINY


@pytest.fixture(scope="session")
def planned() -> Path:
    """The same model with a plan for the native engine; it was trained once more."""
    return TINY.with_name("planned.tin")


@pytest.fixture(scope="session")
def pair() -> Path:
    """A bundle of two inputs and two outputs: see `make_several.py`."""
    return TINY.with_name("pair.tin")


@pytest.fixture(scope="session")
def mixed() -> Path:
    """The same inputs, and one output of logits."""
    return TINY.with_name("mixed.tin")


@pytest.fixture(scope="session")
def boxes() -> Path:
    """A bundle of a detector: see `make_boxes.py`."""
    return TINY.with_name("boxes.tin")


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return read_bundle(TINY)


@pytest.fixture(scope="session")
def pixels(bundle: Bundle) -> NDArray[np.uint8]:
    """The golden inputs, `uint8 (N, 8, 8, 1)`."""
    return array(bundle.golden().inputs)


@pytest.fixture(params=["litert", "onnx"])
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    """Writes a bundle with changed files or fields whose sizes and hashes are right all the same.

    It does so without tinsmith's own writer, which would refuse.
    """

    def write(
        files: Mapping[str, bytes] | None = None,
        edit: Callable[[Any], None] = lambda tree: None,
        source: Path = TINY,
    ) -> Path:
        with zipfile.ZipFile(source) as archive:
            contents = {name: archive.read(name) for name in archive.namelist()}
        contents.update(files or {})
        tree = json.loads(contents["manifest.json"])
        for entry in (tree["golden"], *tree["variants"]):
            entry["size_bytes"] = len(contents[entry["file"]])
            entry["sha256"] = hashlib.sha256(contents[entry["file"]]).hexdigest()
        edit(tree)
        declared = [entry["file"] for entry in (tree["golden"], *tree["variants"])]
        kept = {name: contents[name] for name in declared if name in contents}
        path = tmp_path / "forged.tin"
        path.write_bytes(_zip({"manifest.json": mutations.seal(tree), **kept}))
        return path

    return write


@pytest.fixture
def features(forge: Forge, bundle: Bundle, tmp_path: Path) -> Path:
    """The tiny model as one of features: it takes what its pixels stand for, 0 to 1."""
    return _of_features(forge, bundle, kind="logits").rename(tmp_path / "features.tin")


@pytest.fixture
def values(forge: Forge, bundle: Bundle, tmp_path: Path) -> Path:
    """The same, and its outputs are values without labels."""
    path = _of_features(forge, bundle, kind="values", labels=[], activation="none")
    return path.rename(tmp_path / "values.tin")


def _of_features(forge: Forge, bundle: Bundle, **output: object) -> Path:
    golden, buffer = bundle.golden(), io.BytesIO()
    np.savez(
        buffer,
        inputs=array(golden.inputs) / np.float32(255),
        outputs_int8=golden.outputs_int8,
        outputs_float=golden.outputs_float,
    )

    def edit(tree: Any) -> None:
        tree["inputs"][0].update(kind="features", dtype="float32", layout=None, preprocessing=None)
        tree["outputs"][0].update(output)

    return forge({"golden.npz": buffer.getvalue()}, edit)


@pytest.fixture
def wrong_answers(forge: Forge, bundle: Bundle, tmp_path: Path) -> Path:
    """A bundle with golden outputs each 1 LSB from what the engines give; all else is right."""
    golden, buffer = bundle.golden(), io.BytesIO()
    np.savez(
        buffer,
        inputs=golden.inputs,
        outputs_int8=array(golden.outputs_int8) ^ 1,
        outputs_float=golden.outputs_float,
    )
    return forge({"golden.npz": buffer.getvalue()}).rename(tmp_path / "wrong.tin")


@pytest.fixture(scope="session")
def seal() -> Callable[[Any], bytes]:
    return mutations.seal


@pytest.fixture(scope="session")
def zipped() -> Callable[..., bytes]:
    return _zip


def _zip(contents: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """What a bundle is, if it is not compressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in contents.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = compression
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The tiny bundle as a folder."""
    with zipfile.ZipFile(TINY) as archive:
        archive.extractall(tmp_path / "folder")
    return tmp_path / "folder"


@pytest.fixture
def images(tmp_path: Path, pixels: NDArray[np.uint8]) -> Path:
    """A folder of three images: a PNG, a JPEG and an array; a text file lies among them."""
    path = tmp_path / "images"
    path.mkdir()
    Image.fromarray(pixels[0, ..., 0]).save(path / "a.png")
    Image.fromarray(pixels[1, ..., 0]).save(path / "b.jpg", quality=100)
    np.save(path / "c.npy", pixels[2])
    (path / "notes.txt").write_text("not an image")
    return path


@pytest.fixture(scope="session")
def child() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs Python in a fresh interpreter, warnings being errors there too.

    A `PYTHONPATH` that is given comes before the one that there is.
    """

    def run(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
        if "PYTHONPATH" in environment and "PYTHONPATH" in os.environ:
            path = environment["PYTHONPATH"], os.environ["PYTHONPATH"]
            environment["PYTHONPATH"] = os.pathsep.join(path)
        return subprocess.run(
            [sys.executable, "-W", "error", *map(str, words)],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, **environment},
        )

    return run


@pytest.fixture(scope="session")
def one_line() -> Callable[[str], str]:
    """Asserts that what a failed command said is one line, and gives it."""

    def check(stderr: str) -> str:
        assert stderr.startswith("tinsmith: error: "), stderr
        assert stderr.endswith("\n")
        assert stderr.count("\n") == 1, stderr
        assert "Traceback" not in stderr
        return stderr

    return check
