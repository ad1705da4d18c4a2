"""`tinsmith.toml`: what it says is what would be typed; what is typed wins; nonsense is refused."""

import argparse
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinsmith_runtime.cli import main, settings
from tinsmith_runtime.cli.settings import Settings, find_settings, keys_of
from tinsmith_runtime.cli.toml import effective, toml_text
from tinsmith_runtime.errors import UsageError

COMMANDS = ["train", "make", "verify"]


def _seconds(text: str) -> float:
    if not text.endswith("s"):
        raise argparse.ArgumentTypeError(f"expected seconds such as 5s, got {text!r}")
    return float(text[:-1])


def _counts(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


def _parser() -> argparse.ArgumentParser:
    """One option of each kind that the sub-commands have."""
    parser = argparse.ArgumentParser(prog="tinsmith make", exit_on_error=False)
    settings.add_config(parser)
    parser.add_argument("model", type=Path)
    parser.add_argument("others", nargs="*", type=Path)
    names = parser.add_mutually_exclusive_group()
    names.add_argument("--data")
    names.add_argument("--dataset", help=argparse.SUPPRESS)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--input-range", type=float, nargs=2, default=(0.0, 1.0))
    parser.add_argument("--keep-float", action="append", default=[])
    parser.add_argument("--recipe", choices=("ptq", "qat"), default="ptq")
    parser.add_argument("--budget", type=_seconds)
    parser.add_argument("--threads", type=_counts, default=(1,))
    parser.add_argument("--camera", nargs="?", const="0")
    parser.add_argument("--key", required=True, type=Path)
    parser.add_argument("--flips", action=argparse.BooleanOptionalAction, default=True)
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument("--quiet", action="store_true")
    loudness.add_argument("--verbose", action="store_true")
    board = parser.add_argument_group("board", "over ssh")
    board.add_argument("--host")
    return parser


@pytest.fixture
def parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., argparse.Namespace]:
    """Parses words in a folder whose `tinsmith.toml` is a text."""
    monkeypatch.chdir(tmp_path)

    def parsed(text: str, *words: str) -> argparse.Namespace:
        Path("tinsmith.toml").write_text(text)
        parser = _parser()
        found = find_settings(parser, "make", words, COMMANDS)
        arguments = parser.parse_args(words)
        if found:
            found.fill(arguments)
        return arguments

    return parsed


Parse = Callable[..., argparse.Namespace]
NEEDED = '[make]\nmodel = "a.keras"\nkey = "k"\n'


def test_every_kind_of_option(parse: Parse) -> None:
    found = parse(
        NEEDED
        + """
others = ["b", "c"]
data = "photos"
epochs = 5
learning-rate = 1
input-range = [-1, 1]
keep-float = ["first", "last"]
recipe = "qat"
budget = "5s"
threads = [1, 2]
camera = true
flips = false
quiet = true
[board]
host = "pi@board"
[train]
unread = 1
"""
    )
    assert vars(found) == {
        "config": None,
        "no_config": False,
        "model": Path("a.keras"),
        "others": [Path("b"), Path("c")],
        "data": "photos",
        "dataset": None,
        "epochs": 5,
        "learning_rate": 1.0,
        "input_range": [-1.0, 1.0],
        "keep_float": ["first", "last"],
        "recipe": "qat",
        "budget": 5.0,
        "threads": (1, 2),
        "camera": "0",
        "key": Path("k"),
        "flips": False,
        "quiet": True,
        "verbose": False,
        "host": "pi@board",
    }
    assert type(found.learning_rate) is float


@pytest.mark.parametrize("threads", ["2", '"1,2"', "[1, 2]"])
def test_what_stands_between_commas_may_be_a_list(parse: Parse, threads: str) -> None:
    assert parse(f"{NEEDED}threads = {threads}").threads in ((2,), (1, 2))


def test_what_is_typed_wins(parse: Parse, capsys: pytest.CaptureFixture[str]) -> None:
    text = NEEDED + 'keep-float = ["a"]\nepochs = 5\nquiet = true\ndata = "x"\nflips = false\n'
    words = ["b.keras", "--keep-float", "b", "--epochs", "7", "--verbose", "--dataset", "y"]
    found = parse(text, *words, "--flips")
    assert (found.model, found.keep_float, found.epochs) == (Path("b.keras"), ["b"], 7)
    assert (found.quiet, found.verbose) == (False, True)
    assert (found.data, found.dataset, found.flips) == (None, "y", True)
    assert found.key == Path("k")
    assert capsys.readouterr().err == "tinsmith: tinsmith.toml sets key\n"


@pytest.mark.parametrize("typed", [(), ("--quiet",)])
def test_it_is_told_what_the_file_sets(
    parse: Parse, typed: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """A file cannot hush that by itself."""
    parse(NEEDED + "quiet = true\n", *typed)
    told = "" if typed else "tinsmith: tinsmith.toml sets model, key, quiet\n"
    assert capsys.readouterr().err == told


def test_no_file_no_settings(
    parse: Parse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = parse("nonsense", "--no-config", "m", "--key", "k")
    assert (found.epochs, found.threads) == (3, (1,))
    other = tmp_path / "other.toml"
    other.write_text("[make]\nepochs = 9\n")
    assert parse("nonsense", "--config", str(other), "m", "--key", "k").epochs == 9
    assert "other.toml sets epochs" in capsys.readouterr().err
    assert parse("", "m", "--key", "k").epochs == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[make]\nepoch = 1", r"\[make\] 'epoch': unknown key: did you mean epochs\?"),
        ("[make]\nzzz = 1", r"\[make\] 'zzz': unknown key: known are model, others, data"),
        ("[make]\ndataset = 'x'", "'dataset': unknown key"),
        ("[make]\nconfig = 'x'", "'config': unknown key"),
        ("[make]\nhelp = true", "'help': unknown key"),
        ("[make]\nhost = 'x'", r"'host': unknown key: it stands in \[board\]"),
        ("[board]\nepochs = 1", r"\[board\] 'epochs': unknown key: it stands in \[make\]"),
        ("[mke]\n", r"'mke': unknown table: did you mean make\?"),
        ("epochs = 3", "'epochs': unknown table: known are train, make, board"),
        ("make = 3", "make: expected a table, got 3"),
        ("[verify]\nkey = ['mine.pub']", r"\[verify\]: it reads no settings"),
        ("[make]\nepochs = '5'", r"\[make\] epochs: expected a whole number, got '5'"),
        ("[make]\nepochs = true", "epochs: expected a whole number, got True"),
        ("[make]\nepochs = 5.0", "epochs: expected a whole number, got 5.0"),
        ("[make]\nlearning-rate = 'x'", "learning-rate: expected a number"),
        ("[make]\nlearning-rate = 1979-05-27", "learning-rate: expected a number, got datetime"),
        ("[make]\nmodel = 5", "model: expected text, got 5"),
        ("[make]\nmodel = ['a']", r"model: expected text, got \['a'\]"),
        ("[make]\nothers = 'a'", "others: expected a list, got 'a'"),
        ("[make]\ninput-range = [1]", r"input-range: expected a list of 2, got \[1\]"),
        ("[make]\nkeep-float = 'a'", "keep-float: expected a list"),
        ("[make]\nkeep-float = [1]", "keep-float: expected text, got 1"),
        ("[make]\nrecipe = 'ptw'", "recipe: expected ptq or qat, got 'ptw'"),
        ("[make]\nbudget = '5m'", "budget: expected seconds such as 5s, got '5m'"),
        ("[make]\nbudget = {a = 1}", "budget: expected text, a number or a list"),
        ("[make]\nthreads = [true]", "threads: expected text, a number or a list of these"),
        ("[make]\nthreads = 'x'", r"\[make\] threads: "),
        ("[make]\nquiet = 1", "quiet: expected true or false, got 1"),
        ("[make]\nquiet = true\nverbose = true", "quiet: expected it alone, got verbose too"),
        ("[make]\n[make]\n", "expected TOML"),
        ("a = " + "[" * 30_000, "expected TOML"),
        ("a = " + "9" * 5000, "expected TOML"),
        ("a = '" + "x" * 70_000 + "'", "expected at most 65536 bytes, got more"),
        ('[make]\n"\\u001b[2J" = 1', "unknown key"),
    ],
)
def test_nonsense_is_refused(parse: Parse, text: str, expected: str) -> None:
    with pytest.raises(UsageError, match=expected) as caught:
        parse(text)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "not text"])
def test_what_is_no_file_of_text(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("tinsmith.toml")
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("/dev/zero")
    else:
        path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"tinsmith\.toml: "):
        find_settings(_parser(), "make", [], COMMANDS)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system has no owners of files")
def test_a_file_of_somebody_else_must_be_named(
    parse: Parse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in /tmp, where anybody may put one."""
    Path("tinsmith.toml").write_text(NEEDED)
    owner = Path("tinsmith.toml").stat().st_uid
    if owner == 0:
        os.chown("tinsmith.toml", 4242, -1)  # and root is told apart from it
    else:
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(UsageError, match="belongs to another user: read it and name it with"):
        parse(NEEDED)
    assert parse(NEEDED, "--config", "tinsmith.toml").model == Path("a.keras")
    assert parse(NEEDED, "--no-config", "m", "--key", "k").model == Path("m")


@pytest.mark.parametrize("command", ["verify", "install", "sign", "boot", "confirm", "keygen"])
def test_whom_to_trust_is_typed(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tinsmith.toml").write_text("nonsense")
    with pytest.raises(SystemExit) as stop:
        main([command, "--config", "tinsmith.toml", "a", "b"])
    assert stop.value.code == 2
    assert "tinsmith.toml sets" not in capsys.readouterr().err


def test_the_command_reads_it(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tinsmith.toml").write_text(toml_text({"inspect": {"bundle": str(tiny), "json": True}}))
    assert main(["inspect"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith('{\n "format_version"')
    assert captured.err == "tinsmith: tinsmith.toml sets bundle, json\n"
    Path("tinsmith.toml").write_text("[inspect]\nbundel = 1\n")
    assert main(["inspect"]) == 2
    assert "did you mean bundle?" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:  # help is given whatever the file holds
        main(["inspect", "--help"])
    assert stop.value.code == 0


def test_what_was_in_effect_can_be_read_again(parse: Parse) -> None:
    words = [
        *("m.keras", "x y", "--data", 'a"b\x7f\n', "--epochs", "0", "--learning-rate", "1e-05"),
        *("--input-range", "-1", "1", "--keep-float", "a", "--recipe", "qat", "--threads", "1,2"),
        *("--key", "k", "--quiet", "--host", "pi"),
    ]
    typed = parse("", *words)
    text = toml_text(effective(_parser(), "make", typed))
    again = parse(text)
    again.input_range = list(again.input_range)
    assert vars(again) == vars(typed)


def test_what_a_file_could_not_say_is_left_out(parse: Parse) -> None:
    found = parse("", "m", "--key", "k", "--budget", "5s")
    assert "budget" not in effective(_parser(), "make", found)["make"]


plain = st.booleans() | st.text() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False)


@given(st.dictionaries(st.from_regex(r"[a-z-]{1,9}", fullmatch=True), plain | st.lists(plain)))
def test_toml_is_read_as_it_was_written(table: dict[str, Any]) -> None:
    assert tomllib.loads(toml_text({"table": table})).get("table", {}) == table


KEYS = sorted({name for table in keys_of(_parser(), "make").values() for name in table})
tables = st.dictionaries(st.sampled_from(KEYS), plain | st.lists(plain, max_size=3))


@given(tables)
def test_any_value_is_taken_or_refused_in_a_line(table: dict[str, Any]) -> None:
    parser, said = _parser(), ""
    try:
        read = tomllib.loads(toml_text({"make": table}))
        values = dict(settings._values(Path("x"), keys_of(parser, "make"), read))
        Settings(Path("x"), parser, values)
    except UsageError as error:
        said = str(error)
    assert said == "" or said.startswith("x: ")
    assert len(said) < 400
