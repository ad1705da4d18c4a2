"""Builds distributions and installs them, in environments of their own."""

import ast
import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
# How pip and uv say that they cannot reach the registry.
OFFLINE = (
    "dns error",
    "error sending request",
    "Failed to establish a new connection",
    "Temporary failure in name resolution",
    "ProxyError",
    "Read timed out",
    "Connection refused",
)


# What uv calls the settings of pip that say where packages come from.
UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
}


def install(*words: object, **variables: str) -> None:
    """Runs a module that needs the package registry, as `pip install …`."""
    environment = {**os.environ, "PIP_CONSTRAINT": str(CONSTRAINTS), **variables}
    line = [sys.executable, "-m", *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, env=environment)
    if done.returncode and "CI" not in os.environ:
        missing = next((line for line in OFFLINE if line in done.stdout + done.stderr), None)
        if missing:
            pytest.skip(f"the package registry does not answer: {missing}")
    assert done.returncode == 0, done.stdout + done.stderr


def uv_settings() -> dict[str, str]:
    """What pip is set to, on this machine, as uv's variables: uv does not read pip's settings."""
    line = [sys.executable, "-m", "pip", "config", "list"]
    said = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    pairs = [line.partition("=")[::2] for line in said.splitlines()]
    pairs.sort(key=lambda pair: pair[0].startswith(":env:"))  # the environment wins
    found = {name.rpartition(".")[2]: str(ast.literal_eval(value)) for name, value in pairs}
    settings = {UV[name]: value for name, value in found.items() if name in UV}
    # Like pip, it takes the best version of all places.
    return {"UV_INDEX_STRATEGY": "unsafe-best-match", "UV_CONSTRAINT": str(CONSTRAINTS), **settings}


def build(source: Path, folder: Path) -> Path:
    """Builds an sdist, and the wheel from it; gives the wheel."""
    before = set(folder.glob("*.whl"))
    install("build", "--outdir", folder, source)
    (path,) = set(folder.glob("*.whl")) - before
    return path


def installed_python(version: str) -> str:
    """Finds the Python of a version, on the PATH or as pyenv keeps it; skips without one."""
    kept = Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python{version}")
    for python in (f"python{version}", *map(str, kept)):
        # pyenv has a name for each on the PATH, that of those too which it is not to use.
        with contextlib.suppress(OSError):
            if subprocess.run([python, "-c", ""], capture_output=True).returncode == 0:
                return python
    pytest.skip(f"Python {version} is not installed")


def environment(home: Path, python: str = sys.executable) -> Path:
    """Makes an empty environment; gives its Python."""
    # Without pip of its own: it is made in a second, and on a Debian without ensurepip too.
    subprocess.run([python, "-m", "venv", "--without-pip", home], check=True)
    return home / "bin" / "python"
