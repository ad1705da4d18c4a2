"""The page on C: its commands as they stand, and its program on a real bundle."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from narrow import array

from tinsmith_runtime import load, read_bundle

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/c.md").read_text()
BLOCKS = re.findall(r"```(\w+)(?: file=(\S+))?\n(.*?)```", PAGE, re.DOTALL)
EXAMPLE = ROOT / "runtime/native/example"
BUNDLE = ROOT / "tests/data/digits.tin"
STEPS = ROOT / "tests/data/steps.tin"
MISSING = [tool for tool in ("cc", "cmake", "ninja", "pkg-config") if not shutil.which(tool)]
WAYS = ("cmake", "pkg-config", "static library", "no CMake")


def block(words: str) -> str:
    """The shell block of the page that holds these words."""
    (found,) = [str(text) for kind, _, text in BLOCKS if kind == "sh" and words in text]
    return found


def types(folder: Path, text: str) -> None:
    """Types commands in a folder that has the page's files; a warning is an error."""
    environment = {
        **os.environ,
        "CMAKE_GENERATOR": "Ninja",
        "CMAKE_PREFIX_PATH": str(folder / "installed"),
        "PKG_CONFIG_PATH": str(folder / "installed/lib/pkgconfig"),
    }
    line = ["/bin/sh", "-euc", text]
    done = subprocess.run(line, capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning:" not in done.stdout + done.stderr


def digit(program: Path, *words: Path) -> subprocess.CompletedProcess[str]:
    """Runs the program, with the library where it was installed."""
    environment = {"LD_LIBRARY_PATH": str(program.parents[1] / "installed/lib")}
    line = [str(word) for word in (program, *words)]
    return subprocess.run(line, capture_output=True, text=True, env=environment)


def pgm(path: Path, pixels: np.ndarray) -> Path:
    """Writes an image, `uint8 (height, width, 1)`."""
    height, width, _ = pixels.shape
    path.write_bytes(f"P5\n{width} {height}\n255\n".encode() + pixels.tobytes())
    return path


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The program as each of the page's ways makes it."""
    if MISSING:
        pytest.skip(f"missing: {', '.join(MISSING)}")
    folder = tmp_path_factory.mktemp("c")
    (folder / "runtime").symlink_to(ROOT / "runtime")
    shutil.copy(EXAMPLE / "digit.c", folder)
    types(
        folder,
        block("cmake --install").replace("--install build", "--install build --prefix installed"),
    )
    found = {}
    for way, words in zip(
        WAYS[1:], ("pkg-config --cflags", "build/libtinsmith.a", "find "), strict=True
    ):
        found[way] = folder / way / "digit"
        found[way].parent.mkdir()
        types(folder, block(words).replace("-o digit", f"-o {str(found[way])!r}"))
    found["cmake"] = folder / "cmake" / "digit"
    types(folder, f"cmake -S {EXAMPLE} -B cmake; cmake --build cmake")
    return found


def test_the_page_shows_the_files() -> None:
    files = [(name, text) for _, name, text in BLOCKS if name]
    assert len(files) == 3
    for name, text in files:
        assert (ROOT / name).read_text() == text
    assert len((EXAMPLE / "digit.c").read_text().splitlines()) <= 40
    assert len((EXAMPLE / "steps.c").read_text().splitlines()) <= 50


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_the_program_says_what_python_says(
    way: str, programs: dict[str, Path], tmp_path: Path
) -> None:
    images = array(read_bundle(BUNDLE).golden().inputs)
    with load(BUNDLE, "native") as model, load(BUNDLE, "litert") as litert:
        for image in images:
            wanted = model.classify(image)[0].label
            assert wanted == litert.classify(image)[0].label
            done = digit(programs[way], BUNDLE, pgm(tmp_path / "digit.pgm", image))
            assert (done.returncode, done.stdout, done.stderr) == (0, f"{wanted}\n", "")


@pytest.mark.slow
def test_the_program_for_a_stream_says_what_python_says(programs: dict[str, Path]) -> None:
    steps = np.random.default_rng(5).normal(size=(1000, 2)).astype(np.float32)
    with load(STEPS, "native") as model:
        stream = model.stream()
        wanted = [model.labels.index(stream.classify(step, top=1)[0].label) for step in steps]
    assert len(set(wanted)) > 1
    program = programs["cmake"].with_name("steps")
    done = subprocess.run(
        [program, STEPS],
        input=" ".join(f"{number:.9g}" for number in steps.ravel()),
        capture_output=True,
        text=True,
        env={"LD_LIBRARY_PATH": str(program.parents[1] / "installed/lib")},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(map(int, done.stdout.split())) == wanted
    done = digit(program, BUNDLE)
    wanted_error = (1, f"{BUNDLE}: expected a model of steps\n")
    assert (done.returncode, done.stderr) == wanted_error


@pytest.mark.slow
def test_what_the_program_refuses(programs: dict[str, Path], tmp_path: Path) -> None:
    image = pgm(tmp_path / "digit.pgm", np.zeros((8, 8, 1), np.uint8))
    large = pgm(tmp_path / "large.pgm", np.zeros((9, 8, 1), np.uint8))
    cut = tmp_path / "cut.pgm"
    cut.write_bytes(image.read_bytes()[:-1])
    damaged, missing = tmp_path / "damaged.tin", tmp_path / "missing"
    damaged.write_bytes(BUNDLE.read_bytes().replace(b"TINPLAN", b"TINPLAM"))
    no_plan = ROOT / "tests/data/tiny.tin"
    size = "expected a binary PGM image of the model's size"
    for bundle, picture, at_fault, reason in (
        (BUNDLE, large, large, size),
        (BUNDLE, cut, cut, size),
        (BUNDLE, BUNDLE, BUNDLE, size),
        (BUNDLE, missing, missing, "cannot be opened"),
        (missing, image, missing, "cannot be opened"),
        (damaged, image, damaged, "it is no plan, or not all of one"),
        (no_plan, image, no_plan, "it is no plan, or not all of one"),
    ):
        done = digit(programs["static library"], bundle, picture)
        wanted = (1, "", f"{at_fault}: {reason}\n")
        assert (done.returncode, done.stdout, done.stderr) == wanted
    done = digit(programs["static library"], BUNDLE)
    assert (done.returncode, done.stderr) == (1, "digit: expected BUNDLE IMAGE\n")


@pytest.mark.slow
def test_the_library_exports_its_own_names_alone(programs: dict[str, Path]) -> None:
    library = programs["cmake"].parents[1] / "installed/lib/libtinsmith.so"
    line = ["nm", "--dynamic", "--defined-only", str(library)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    found = {line.split()[-1] for line in done.stdout.splitlines()}
    header = (ROOT / "runtime/native/include/tinsmith.h").read_text()
    assert found == set(re.findall(r"^TIN_API .*?(tin_\w+)\(", header, re.MULTILINE))
