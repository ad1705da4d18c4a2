"""The pages, their fenced blocks, and what comments say of them: see CONTRIBUTING.md."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("*/README.md")),
    *sorted(ROOT.glob("runtime/*/README.md")),
]
_FENCE = re.compile(r"( *)(`{3,}|~{3,})(\w*)(?: file=(\S+))?$")
_MARK = re.compile(r" *<!-- (not run|run by|ends with status): (.+) -->$")
_PAGE_MARK = re.compile(r"^<!-- (typed in|all run by): (.+) -->$", re.MULTILINE)
SHELLS = ("sh", "console")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: its path in the repository.
        line: of the fence.
        language: the word behind the fence; `` if there is none.
        file: the name of the file that it is, if it says one.
        text: what is in it.
        marks: what comments above it, and at the top of the page, say.
    """

    page: str
    line: int
    language: str
    file: str
    text: str
    marks: dict[str, str]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def is_run_here(self) -> bool:
        """Whether no mark says that it is not run, or that another test does."""
        return not {"not run", "run by", "all run by"} & self.marks.keys()


def page_marks(page: Path) -> dict[str, str]:
    """What the comments at the top of a page say of all its blocks."""
    return dict(_PAGE_MARK.findall(page.read_text()))


def blocks_of(page: Path) -> list[Block]:
    """Gives the blocks of a page, in their order."""
    lines = page.read_text().splitlines()
    name, of_page, found = str(page.relative_to(ROOT)), page_marks(page), []
    marks: dict[str, str] = {}
    numbers = iter(range(len(lines)))
    for number in numbers:
        if mark := _MARK.match(lines[number]):
            marks[mark[1]] = mark[2]
        elif re.match(r" *(```|~~~)", lines[number]):
            fence = _FENCE.match(lines[number])
            assert fence, f"{name}:{number + 1}: expected ```LANGUAGE or ```LANGUAGE file=NAME"
            indent, ticks, language, file = fence.groups(default="")
            inside = []
            for inner in numbers:
                if lines[inner].strip() == ticks:
                    break
                inside.append(lines[inner].removeprefix(indent) + "\n")
            else:
                raise AssertionError(f"{name}:{number + 1}: the block does not end")
            found.append(Block(name, number + 1, language, file, "".join(inside), of_page | marks))
            marks = {}
        elif lines[number].strip():
            assert not marks, f"{name}:{number + 1}: expected a block after {marks}"
    return found


def lines_of(block: Block) -> list[str]:
    """Gives the command lines of a block, each whole, without comments that fill a line."""
    text = block.text.replace("\\\n", "")
    lines = text.splitlines()
    if block.language == "console":
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    found = [""]
    for line in lines:
        found[-1] += line
        try:
            shlex.split(found[-1], comments=True)
        except ValueError:  # a quotation goes on
            found[-1] += "\n"
        else:
            found.append("")
    return [line for line in found if line.strip() and not line.strip().startswith("#")]


def words_of(line: str) -> list[str]:
    """Splits a line as a shell does; its signs (`|`, `>`, `&&`, …) are words of their own."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)


def commands_in(block: Block, name: str) -> Iterator[list[str]]:
    """Gives the words behind a command's name wherever it stands in a block of commands."""
    for line in lines_of(block):
        words: list[str] = []
        for word in [*words_of(line), ";"]:
            if re.fullmatch(r"[|&;<>()]+", word):
                if name in words[:3]:  # behind `sudo`, `NAME=VALUE`, `!`
                    yield words[words.index(name) + 1 :]
                words = []
            else:
                words.append(word)
