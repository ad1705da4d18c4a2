"""`boards.toml`: what it may say, and what a mistake costs: one line that names it."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tinsmith_runtime import UsageError
from tinsmith_search.boards import Boards

GOOD = """
[boards.kitchen]
host = "pi@kitchen.local"
tags = ["pi4", "slow"]
identity = "~/.ssh/boards"
ssh-option = ["Port=2222"]
remote-python = "tinsmith/bin/python"
wait = 60

[boards.attic]
host = "pi@attic.local"
tags = ["pi4"]
"""


def _refused(path: Path, text: str) -> str:
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        Boards.read(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert "\n" not in said
    return said.removeprefix(f"{path}: ")


def test_every_key(tmp_path: Path) -> None:
    path = tmp_path / "boards.toml"
    path.write_text(GOOD)
    kitchen, attic = Boards.read(path).tagged("pi4")
    assert (kitchen.name, attic.name) == ("kitchen", "attic")
    host = kitchen.host
    assert (host.destination, host.identity) == ("pi@kitchen.local", Path("~/.ssh/boards"))
    assert (host.options, host.python) == (("Port=2222",), "tinsmith/bin/python")
    assert (host.wait_s, attic.host.wait_s) == (60, 3600)


def test_the_file_of_the_how_to(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs/how-to/boards.md"
    (text,) = re.findall(r"```toml file=boards.toml\n(.*?)```", page.read_text(), re.DOTALL)
    path = tmp_path / "boards.toml"
    path.write_text(text)
    assert [board.name for board in Boards.read(path).tagged("pi4")] == ["kitchen", "attic"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a table [boards.NAME] for each board, got none"),
        ("boards = 3", "expected a table [boards.NAME] for each board, got none"),
        ("[boards]\n", "expected a table [boards.NAME] for each board, got none"),
        ("[board.a]\nhost = 'pi'", "'board': unknown table: did you mean boards?"),
        ("[boards]\na = 3", "[boards.a]: expected a table, got 3"),
        ("[boards.a]\ntags = ['x']", "[boards.a] host: missing: expected `host ="),
        ("[boards.a]\nhost = 'pi'", "[boards.a] tags: expected a list of tags"),
        ("[boards.a]\nhost = 'pi'\ntags = 'x'", "[boards.a] tags: expected a list of tags"),
        ("[boards.a]\nhost = 'pi'\ntags = []", "[boards.a] tags: expected a list of tags"),
        ("[boards.a]\nhost = 'pi'\ntags = ['on pi']", "got ['on pi']"),
        ("[boards.a]\nhosts = 'pi'\ntags = ['x']", "'hosts': unknown key: did you mean host?"),
        ("[boards.a]\nhost = 'pi'\ntag = ['x']", "'tag': unknown key: did you mean tags?"),
        ("[boards.a]\nhost = 3\ntags = ['x']", "[boards.a] host: expected text, got 3"),
        ("[boards.a]\nhost = ''\ntags = ['x']", "[boards.a] host: expected [USER@]HOST, got ``"),
        ("[boards.a]\nhost = '-oProxyCommand=id'\ntags = ['x']", "host: expected [USER@]HOST"),
        ("[boards.a]\nhost = 'pi'\ntags = ['x']\nwait = -1", "[boards.a] wait: expected a whole"),
        ("[boards.a]\nhost = 'pi'\ntags = ['x']\nwait = 1.5", "[boards.a] wait: expected a whole"),
        ("[boards.a]\nhost = 'pi'\ntags = ['x']\nssh-option = 'x'", "ssh-option: expected a list"),
        ("[boards.'a b']\nhost = 'pi'\ntags = ['x']", "[boards.'a b']: expected a name of 1 to 64"),
        ('[boards."a\\nb"]', "[boards.'a\\nb']: expected a name of 1 to 64"),
        ("[boards.a\n", "expected TOML"),
        (
            "[boards.a]\nhost = 'pi'\ntags = ['x']\n[boards.b]\nhost = 'pi'\ntags = ['y']",
            "[boards.b] host: it is [boards.a] already",
        ),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    assert message in _refused(tmp_path / "boards.toml", text)


def test_a_file_that_is_missing_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        Boards.read(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="expected a file"):
        Boards.read(tmp_path)


@settings(max_examples=150, deadline=None)
@given(
    at=st.integers(0, len(GOOD)),
    length=st.integers(0, 20),
    piece=st.text(st.sampled_from("[]\"'=.,ab7-\n\x1b é\0"), max_size=6),
)
@example(at=2, length=0, piece="\x1b")
def test_whatever_it_says_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, length: int, piece: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    path.write_text(GOOD[:at] + piece + GOOD[at + length :], encoding="utf-8")
    try:
        boards = Boards.read(path)
    except UsageError as error:
        said = str(error)
    else:
        said = f"{path}: "
        assert 1 <= len(boards.boards) <= 3
        assert all(board.tags for board in boards.boards)
    assert said.startswith(f"{path}: ")
    assert "\n" not in said
