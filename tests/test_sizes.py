"""Functions and modules that can be read at once: how long they may be."""

import ast
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
LONGEST_FUNCTION = 60
LONGEST_MODULE = 300
MEDIAN_MODULE = 130


def lines_of(module: Path) -> list[str]:
    return module.read_text().splitlines()


PACKAGES = [init.parent for init in sorted(ROOT.glob("*/tinsmith*/__init__.py"))]
MODULES = [module for package in PACKAGES for module in sorted(package.rglob("*.py"))]


def test_every_package_is_looked_at() -> None:
    assert {
        "tinsmith",
        "tinsmith_runtime",
        "tinsmith_train",
        "tinsmith_export",
        "tinsmith_bench",
    } <= {package.name for package in PACKAGES}


def test_no_function_is_long() -> None:
    long = {}
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    long[f"{module.relative_to(ROOT)}:{node.lineno} {node.name}"] = lines
    assert long == {}


def test_no_module_is_long() -> None:
    sizes = {str(module.relative_to(ROOT)): len(lines_of(module)) for module in MODULES}
    assert {name: size for name, size in sizes.items() if size > LONGEST_MODULE} == {}


def test_half_of_the_modules_are_short() -> None:
    """An `__init__.py` holds re-exports alone: it does not count."""
    sizes = [len(lines_of(module)) for module in MODULES if module.name != "__init__.py"]
    assert median(sizes) < MEDIAN_MODULE
