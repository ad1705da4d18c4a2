"""The built wheel, alone in an empty environment with one engine: what a board gets."""

import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from installing import ROOT, build, environment, install

pytestmark = [
    pytest.mark.slow,
    pytest.mark.not_on_a_board(reason="builds and installs: there, the wheel is installed"),
]
PACKAGES = {"litert": "ai-edge-litert", "onnx": "onnxruntime"}


def _contents(wheel: Path) -> tuple[list[str], str, Message]:
    """Names in a wheel, that of its `.dist-info`, and its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (info,) = (name.split("/")[0] for name in names if name.endswith("/METADATA"))
        return names, info, Parser().parsestr(archive.read(f"{info}/METADATA").decode())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT / "runtime", tmp_path_factory.mktemp("wheel"))


def test_both_distributions_have_the_one_version(wheel: Path, tmp_path: Path) -> None:
    *_, runtime = _contents(wheel)
    names, _, tinsmith = _contents(build(ROOT, tmp_path))
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        files = [name.partition("/")[2] for name in archive.getnames()]
    assert {name.split("/")[0] for name in files if "/" in name} == {
        "benchmarks",
        "export",
        "runtime",
        "tinsmith",
        "train",
    }
    assert [name for name in files if name.startswith("runtime")] == ["runtime/pyproject.toml"]
    assert tinsmith["Version"] == runtime["Version"]
    required = tinsmith.get_all("Requires-Dist", [])
    assert [r for r in required if "extra ==" not in r] == [
        "numpy",
        "rich",
        "scipy",
        f"tinsmith-runtime=={runtime['Version']}",
    ]
    assert {
        "tinsmith_train/__init__.py",
        "tinsmith_export/templates/export.html",
        "tinsmith_bench/templates/benchmark.html",
        "tinsmith_report/templates/report.css",
    } <= set(names)


def test_wheel(wheel: Path) -> None:
    # 1.5 kB of it let a program start without numpy, in a third of the time and memory.
    assert wheel.stat().st_size <= 170_000
    names, info, metadata = _contents(wheel)
    assert {name.split("/")[0] for name in names} == {"tinsmith_runtime", info}
    assert "tinsmith_runtime/py.typed" in names
    assert f"{info}/licenses/LICENSE" in names
    required = [r for r in metadata.get_all("Requires-Dist", []) if "extra ==" not in r]
    assert required == ["numpy"]
    assert set(metadata.get_all("Provides-Extra", [])) == {
        "native",
        "litert",
        "onnx",
        "images",
        "camera",
        "serve",
        "sign",
    }
    assert "pip install" in metadata.get_payload()


@pytest.mark.parametrize("engine", PACKAGES)
def test_empty_environment(
    wheel: Path,
    tmp_path: Path,
    tiny: Path,
    images: Path,
    engine: str,
    one_line: Callable[[str], str],
) -> None:
    home = tmp_path / "environment"
    python = environment(home)
    install("pip", "--python", python, "install", "--quiet", f"{wheel}[{engine}]")

    def tinsmith(*words: object) -> subprocess.CompletedProcess[str]:
        line = [str(home / "bin" / "tinsmith"), *map(str, words)]
        # From elsewhere, so that nothing of the checkout is importable.
        return subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=120)

    done = tinsmith("selftest", tiny)
    assert (done.returncode, done.stderr) == (0, "")
    assert "32 of 32 golden vectors equal to the bit" in done.stdout
    done = tinsmith("run", tiny, images / "c.npy")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{images / 'c.npy'}: ")

    done = tinsmith("run", tiny, images / "a.png")
    assert done.returncode == 1
    assert "pip install 'tinsmith-runtime[images]'" in done.stderr.splitlines()[0]
    (other,) = PACKAGES.keys() - {engine}
    done = tinsmith("run", tiny, images / "c.npy", "--backend", other)
    assert done.returncode == 1
    assert f"pip install 'tinsmith-runtime[{other}]'" in one_line(done.stderr)
    done = tinsmith("serve", tiny)
    assert done.returncode == 2
    assert "pip install 'tinsmith-runtime[serve]'" in one_line(done.stderr)
    done = tinsmith("export", "model.keras")
    assert done.returncode == 2
    assert "pip install 'tinsmith[compile]'" in one_line(done.stderr)
