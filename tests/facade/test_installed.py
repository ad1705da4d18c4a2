"""The wheels without an extra, in an empty environment: what works, and what says what it needs."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from installing import ROOT, build, environment, install, installed_python, uv_settings
from narrow import array
from PIL import Image

from tinsmith_runtime import read_bundle

pytestmark = pytest.mark.slow

TINY = ROOT / "tests/data/tiny.tin"
PLANNED = TINY.with_name("planned.tin")
Tinsmith = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("wheels")
    if not shutil.which("cc"):
        pytest.skip("there is no C compiler for tinsmith-native")
    return [build(ROOT / place, folder) for place in ("runtime", "runtime/native", ".")]


@pytest.fixture(scope="module")
def home(
    request: pytest.FixtureRequest, wheels: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    version: str = request.param
    python = installed_python(version)
    home = tmp_path_factory.mktemp("environment") / version
    install("pip", "--python", environment(home, python), "install", "--quiet", *wheels)
    return home


@pytest.fixture
def tinsmith(home: Path, tmp_path: Path) -> Tinsmith:
    def tinsmith(*words: object) -> subprocess.CompletedProcess[str]:
        line = [str(home / "bin" / "tinsmith"), *map(str, words)]
        # From elsewhere, so that nothing of the checkout is importable.
        return subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=300)

    x = array(read_bundle(PLANNED).golden().inputs)
    y = np.arange(len(x)) % 3
    np.savez(tmp_path / "data.npz", x_test=x, y_test=y, x_train=x, y_train=y)
    np.save(tmp_path / "one.npy", x[0])
    Image.fromarray(x[0, ..., 0]).save(tmp_path / "one.png")
    (tmp_path / "model.keras").touch()
    return tinsmith


@pytest.mark.parametrize("home", ["3.11", "3.12", "3.13"], indirect=True)
def test_everything_else_works(tinsmith: Tinsmith, home: Path, tmp_path: Path) -> None:
    def works(*words: object) -> str:
        done = tinsmith(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert works("--version").startswith("tinsmith ")
    assert "32 of 32 golden vectors equal" in works("selftest", PLANNED)
    assert works("run", PLANNED, "one.npy").startswith("one.npy: ")
    assert "logits" in works("inspect", PLANNED)
    assert "compdef" in works("completion", "zsh")
    works("init", "--data", "data.npz", "--model", "model.keras", "--yes")
    if home.name == "3.11":  # it takes a quarter of a minute
        words = ["--no-config", "--data", "data.npz", "--quick", "--rounds", "2", "--quiet"]
        works("bench", PLANNED, *words, "--json", "a.json", "--markdown", "a.md")
        assert "Nothing moved" in works("compare", "a.json", "a.json")
    tree = json.loads(works("doctor", "--json"))
    assert tree["healthy"]
    found = {one["topic"]: one for one in tree["findings"]}
    assert found["engine native"]["status"] == "ok"
    for extra in ("tinsmith[compile]", "tinsmith[html]", "tinsmith-runtime[images]"):
        assert found[extra]["cure"] == f"pip install '{extra}'"
    code = "import tinsmith; print(tinsmith.load({!r}, 'native').labels, tinsmith.train)"
    line = [str(home / "bin" / "python"), "-c", code.format(str(PLANNED))]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("home", ["3.11"], indirect=True)
@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("train --data data.npz", "tinsmith[compile]"),
        ("train --data digits", "tinsmith[compile]"),
        ("demo --data data.npz", "tinsmith[compile]"),
        ("export model.keras --data data.npz", "tinsmith[compile]"),
        ("check model.keras", "tinsmith[compile]"),
        ("bench {planned} --data data.npz --html page.html", "tinsmith[html]"),
        (
            "bench {planned} --data data.npz --against naive --model model.keras",
            "tinsmith[compile]",
        ),
        ("run {planned} one.png", "tinsmith-runtime[images]"),
        ("run {planned} --camera", "tinsmith-runtime[camera]"),
        ("run {planned} one.npy --backend onnx", "tinsmith-runtime[onnx]"),
        ("selftest {tiny}", "tinsmith-runtime[litert]"),
        ("keygen mine", "tinsmith-runtime[sign]"),
    ],
)
def test_what_needs_an_extra_says_what_installs_it(
    tinsmith: Tinsmith, command: str, extra: str
) -> None:
    done = tinsmith(*command.format(planned=PLANNED, tiny=TINY).split())
    assert done.returncode in (1, 2), done.stdout
    assert f"pip install '{extra}'" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def _by_uv(home: Path, python: str, runtime: Path, *others: Path) -> None:
    folders = {"UV_TOOL_DIR": str(home), "UV_TOOL_BIN_DIR": str(home / "bin")}
    beside = [word for path in others for word in ("--with", path)]
    words = "uv", "tool", "install", "--python", python, runtime, *beside
    install(*words, **uv_settings(), **folders, UV_CACHE_DIR=str(home / "cache"))


def _by_pipx(home: Path, python: str, runtime: Path, *others: Path) -> None:
    # With pip, as Debian's pipx does it: beside uv, pipx would take that.
    settings = {"PIPX_HOME": str(home), "PIPX_BIN_DIR": str(home / "bin")}
    settings |= {"PIPX_MAN_DIR": str(home / "man"), "PIPX_DEFAULT_BACKEND": "pip"}
    install("pipx", "install", "--python", python, runtime, **settings)
    install("pipx", "inject", "tinsmith-runtime", *others, **settings)


@pytest.mark.parametrize(
    ("by", "version"), [(_by_uv, "3.12"), (_by_pipx, "3.13")], ids=["uv", "pipx"]
)
def test_as_a_tool(
    by: Callable[..., None], version: str, wheels: list[Path], tmp_path: Path
) -> None:
    by(tmp_path / "home", installed_python(version), *wheels)

    def works(*words: object) -> str:
        line = [str(tmp_path / "home" / "bin" / "tinsmith"), *map(str, words)]
        done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert works("--version").startswith("tinsmith ")
    assert "32 of 32 golden vectors equal" in works("selftest", PLANNED)
    tree = json.loads(works("doctor", "--json"))
    found = {one["topic"]: one for one in tree["findings"]}
    assert tree["healthy"]
    assert {found[f"tinsmith{name}"]["status"] for name in ("", "-native", "-runtime")} == {"ok"}
    assert found["Python"]["text"].startswith(f"{version}.")
    assert works("compare", "--help").startswith("usage: tinsmith compare ")
