"""CONTRIBUTING.md shows code that stands where it says, and that other tests execute."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import third

from tinsmith_runtime.backends.registry import GROUP

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
BLOCKS = re.findall(r"^( *)```python\n(.*?)^ *```$", PAGE, re.DOTALL | re.MULTILINE)


def test_links_and_files_are_there() -> None:
    named = re.findall(r"\]\((?!http)([^)#]+)\)|`([\w./-]+/[\w.-]+\.(?:py|md|toml))`", PAGE)
    files = [link or path for link, path in named]
    assert len(files) > 10
    assert [file for file in files if not (ROOT / file).exists()] == []


@pytest.mark.parametrize(("indent", "block"), BLOCKS)
def test_an_example_is_the_code_itself(indent: str, block: str) -> None:
    lines = [line.removeprefix(indent) for line in block.splitlines()]
    path, code = ROOT / lines[0].removeprefix("# "), "\n".join(lines[1:])
    assert code in path.read_text(), f"{path} no longer holds:\n{code}"


def test_the_entry_point_is_that_of_the_third_engine() -> None:
    (block,) = re.findall(r"```toml file=pyproject.toml\n(.*?)```", PAGE, re.DOTALL)
    (point,) = tomllib.loads(block)["project"]["entry-points"][GROUP].items()
    assert point == (third.SPEC.name, "third:SPEC")


def test_every_make_target_and_hook_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([\w-]+)`", PAGE):
        assert f"\n{target}: " in makefile
    assert "entry: make check\n" in (ROOT / ".pre-commit-config.yaml").read_text()


def test_the_commit_of_the_operator_touches_one_file_of_each_kind() -> None:
    (commit,) = re.findall(r"git show (\w+)", PAGE)
    line = ["git", "-C", str(ROOT), "show", "--format=", "--name-only", commit]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"the history is not here: {done.stderr.strip()}")
    files = done.stdout.split()
    assert [file for file in files if file.startswith("export/")] == [
        "export/tinsmith_export/frontend/arithmetic.py",
        "export/tinsmith_export/ir/ops.py",
        "export/tinsmith_export/reference/rebuild.py",
        "export/tinsmith_export/targets/onnx/operators.py",
    ]
