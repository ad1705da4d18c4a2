"""Every fenced block of every page is run, or says why not; what is not run is still read."""

import configparser
import contextlib
import json
import re
import subprocess
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml
from docs.commands import NOT_TYPED
from docs.pages import PAGES, ROOT, SHELLS, Block, blocks_of, commands_in, page_marks
from docs.places import PLACES

from tinsmith.parsers import all_parsers

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
RUN_HERE = (*SHELLS, "python", "c", "toml", "json", "yaml", "ini", "text")
PARSERS = all_parsers()
SCHEMA = json.loads((ROOT / "docs/tinsmith.schema.json").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()
EXTRAS = {
    package: {"", *tomllib.loads((ROOT / path).read_text())["project"]["optional-dependencies"]}
    for package, path in (
        ("tinsmith", "pyproject.toml"),
        ("tinsmith-runtime", "runtime/pyproject.toml"),
    )
}
_REQUIREMENT = re.compile(
    r"(?:\./)?(tinsmith[-_]runtime|tinsmith|runtime)(?:-[\w.-]+\.whl)?\[(.*)\]"
)


def of(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


def parametrized(*languages: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", of(*languages), ids=str)


def test_there_are_blocks_of_every_kind() -> None:
    assert len(BLOCKS) > 80
    assert {block.language for block in BLOCKS} >= set(RUN_HERE)


def test_every_block_is_run_or_says_why_not() -> None:
    unknown = [
        str(block) for block in BLOCKS if block.is_run_here and block.language not in RUN_HERE
    ]
    assert unknown == [], f"expected one of {', '.join(RUN_HERE)}, or a mark: see CONTRIBUTING.md"


def test_another_test_that_is_named_reads_the_page() -> None:
    for block in BLOCKS:
        for mark in ("run by", "all run by"):
            if mark in block.marks:
                test = ROOT / block.marks[mark]
                assert test.is_file(), f"{block}: no {test}"
                assert Path(block.page).name in test.read_text(), (
                    f"{block}: {test} reads no such page"
                )


def test_a_page_that_runs_names_its_place() -> None:
    for page in PAGES:
        assert page_marks(page).get("typed in", "empty") in PLACES, page


@parametrized(*SHELLS)
def test_options_are_there(block: Block) -> None:
    for words in commands_in(block, "tinsmith"):
        assert words, f"{block}: expected a sub-command"
        if not words[0].startswith("-"):
            _parse(block, words)


def _parse(block: Block, words: list[str]) -> None:
    assert words[0] in PARSERS, f"{block}: tinsmith {words[0]}: no such sub-command"
    parser, line = PARSERS[words[0]], f"{block}: tinsmith {' '.join(words)}"
    said: list[str] = []

    def refuse(message: str) -> None:
        said.append(message)
        parser.exit(2)

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(SystemExit):
        patch.setattr(parser, "error", refuse)
        parser.parse_args(words[1:])
    assert said == [], line


@parametrized(*SHELLS)
def test_what_is_not_typed_is_there(block: Block) -> None:
    for words in commands_in(block, "make"):
        for target in words:
            assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), f"{block}: make {target}"
    for name in set(NOT_TYPED) - {"make"}:
        for words in commands_in(block, name):
            for found in filter(None, map(_REQUIREMENT.fullmatch, words)):
                package = "tinsmith" if found[1] == "tinsmith" else "tinsmith-runtime"
                assert {*found[2].split(",")} <= EXTRAS[package], f"{block}: {found[0]}"


@parametrized("toml")
def test_toml(block: Block) -> None:
    found = tomllib.loads(block.text)
    if block.file in ("", "tinsmith.toml"):
        errors = jsonschema.Draft7Validator(SCHEMA).iter_errors(found)
        assert [error.message for error in errors] == [], block


@parametrized("json")
def test_json(block: Block) -> None:
    json.loads(block.text)


@parametrized("ini")
def test_ini(block: Block) -> None:
    """As systemd has it: a key may come twice, `%` stands for itself."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read_string(block.text)
    assert parser.sections()


@parametrized("yaml")
def test_yaml(block: Block) -> None:
    assert yaml.safe_load(block.text)


@parametrized("c")
def test_c(block: Block) -> None:
    options = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c", "-")
    line = ["cc", "-I", str(ROOT / "runtime/native/include"), *options]
    done = subprocess.run(line, input=block.text, capture_output=True, text=True)
    assert done.returncode == 0, f"{block}: {done.stderr}"


@parametrized("python")
def test_python_is_python(block: Block) -> None:
    if block.is_run_here:
        compile(block.text, str(block), "exec")
