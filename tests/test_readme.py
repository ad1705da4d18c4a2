"""The README's commands are typed, its numbers held against a report, its links followed."""

import re
import shlex
from pathlib import Path

import pytest
from demonstration import demonstrate, require_everything
from shell import tinsmith

from tinsmith_bench import read_report

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.split("#")[0].strip()
    for kind, block in BLOCKS
    if kind == "sh"
    for line in block.splitlines()
    if line.startswith("tinsmith ")
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """On `digits`, which needs no network; a third of its 58 epochs already learn it."""
    folder = tmp_path_factory.mktemp("digits")
    demonstrate(folder, "--data", "digits", "--epochs", "20")
    return folder


def test_make_does_what_the_readme_says() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert f"make {target}" in README
        assert f"\n{target}: " in makefile


def test_the_demo_on_digits(demo: Path) -> None:
    require_everything(demo, "digits")


@pytest.mark.parametrize("command", [c for c in COMMANDS if " train " not in c])
def test_commands_work_after_the_demo(command: str, demo: Path) -> None:
    words = shlex.split(command)[1:]
    words = [word.replace("mnist", "digits") for word in words]
    # The demo has fine-tuned and measured for as long as the defaults are.
    words += {"export": ["--qat-steps", "40"], "bench": ["--quick"]}.get(words[0], [])
    assert tinsmith(*words, folder=demo)


def test_python_works_after_the_demo(
    demo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(demo)
    for code in [block for kind, block in BLOCKS if kind == "python"]:
        exec(compile(code.replace("mnist", "digits"), "README.md", "exec"), {})
        assert "label='" in capsys.readouterr().out


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target


def test_the_numbers_come_from_the_report_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import readme

    assert "make readme" in README
    assert "docs/mnist.json" in README
    report = read_report(ROOT / "docs/mnist.json")
    assert readme.insert(README, readme.measured(report)) == README
    with pytest.raises(ValueError, match="expected <!-- measured"):
        readme.insert("no marks", "text")
