"""ARCHITECTURE.md names every package, and the packages in packages."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "ARCHITECTURE.md").read_text()
PACKAGES = [init.parent for init in sorted(ROOT.glob("*/tinsmith*/__init__.py"))]
INNER = [init.parent for package in PACKAGES for init in sorted(package.glob("*/__init__.py"))]


@pytest.mark.parametrize("package", [*PACKAGES, *INNER], ids=lambda path: path.name)
def test_a_package_is_named(package: Path) -> None:
    assert f"`{package.name}`" in PAGE


def test_files_that_are_named_are_there() -> None:
    for name in ("runtime", "train", "export", "benchmarks", "tinsmith"):
        assert f"`{name}/`" in PAGE
        assert (ROOT / name).is_dir()
