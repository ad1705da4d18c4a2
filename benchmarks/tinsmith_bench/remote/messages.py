"""What a board may say: each message is one line of JSON, `{KIND: {FIELD: VALUE}}`."""

from dataclasses import dataclass
from typing import Annotated, Any

from tinsmith_bench.remote.agent import LONGEST_WORDS
from tinsmith_bench.strict import read_strict
from tinsmith_runtime.backends import BackendSpec, known_backends
from tinsmith_runtime.record import Rule, mismatch, parse_record

STAGES = ("accuracy", "speed", "cold start", "profile")
"""What a benchmark does, one after the other; each may be missing."""

_WORDS = Rule(f"at most {LONGEST_WORDS} characters", lambda text: len(text) <= LONGEST_WORDS)
_COUNT = Rule("1 or more", lambda number: number > 0)
# It is given to scp, which may hand it to a shell over there.
_FOLDER = Rule(
    "an absolute path of letters, digits and . _ - + / alone",
    lambda path: _is_plain_path(path),
)

Words = Annotated[str, _WORDS]


def engine_distributions(spec: BackendSpec) -> tuple[str, ...]:
    """The distributions that a backend's engine may come from; the first is the one to install."""
    return tuple(package.replace("_", "-") for package in spec.packages)


def distributions() -> tuple[str, ...]:
    """What a board is asked about: numpy and every engine."""
    found = (name for spec in known_backends() for name in engine_distributions(spec))
    return tuple(dict.fromkeys(("numpy", *found)))


@dataclass(frozen=True)
class Board:
    """`arrived`: what was found on the other side.

    Attributes:
        folder: the private folder that was made there.
        free_bytes: on the disk that it lies on.
        python: version.
        executable: that Python's path.
        architecture: `aarch64`, `x86_64`, …
        packages: versions of numpy and of the engines that are installed, by distribution.
    """

    folder: Annotated[str, _FOLDER]
    free_bytes: Annotated[int, Rule("0 or more", lambda number: number >= 0)]
    python: Words
    executable: Words
    architecture: Words
    packages: Annotated[
        dict[str, Words],
        Rule(
            "versions of numpy and of engines", lambda found: found.keys() <= set(distributions())
        ),
    ]


@dataclass(frozen=True)
class Waiting:
    """`waiting`: somebody else measures there.

    Attributes:
        holder: who, as they call themselves.
    """

    holder: Words


@dataclass(frozen=True)
class Turn:
    """`turn`: nobody else measures there until the agent ends.

    Attributes:
        waited_s: how long that took, in seconds.
    """

    waited_s: Annotated[float, Rule("0 or more", lambda seconds: seconds >= 0)]


@dataclass(frozen=True)
class Progress:
    """`progress`: how far the measuring process has come.

    Attributes:
        what: one of `STAGES`.
        done: how much of it is done.
        total: how much there is.
    """

    what: Annotated[str, Rule(f"one of {', '.join(STAGES)}", lambda what: what in STAGES)]
    done: Annotated[int, _COUNT]
    total: Annotated[int, _COUNT]


@dataclass(frozen=True)
class Described:
    """`machine`: what it is.

    Attributes:
        hardware: as `Machine.hardware` says it.
    """

    hardware: Words


@dataclass(frozen=True)
class Found:
    """`report`: what was measured.

    Attributes:
        json: a report, as `report_data.parse_report` reads it.
    """

    json: str


@dataclass(frozen=True)
class Failed:
    """`failed`: the measuring process could not do what it was asked.

    Attributes:
        error: what a person is told.
        status: the exit status that it would end with here.
    """

    error: Words
    status: Annotated[int, Rule("1 or 2", lambda status: status in (1, 2))]


@dataclass(frozen=True)
class AgentFailed:
    """`agent_failed`: the agent could not do what it was asked.

    Attributes:
        error: what a person is told.
    """

    error: Words


@dataclass(frozen=True)
class Ended:
    """`ended`: the measuring process did.

    Attributes:
        status: its exit status; of a signal, its negative number.
        last_words: the last line that it wrote.
    """

    status: int
    last_words: Words


Message = Board | Waiting | Turn | Progress | Described | Found | Failed | AgentFailed | Ended

_KINDS: dict[str, Any] = {
    "arrived": Board,
    "waiting": Waiting,
    "turn": Turn,
    "progress": Annotated[Progress, Rule("done <= total", lambda one: one.done <= one.total)],
    "machine": Described,
    "report": Found,
    "failed": Failed,
    "agent_failed": AgentFailed,
    "ended": Ended,
}


def parse_message(line: bytes) -> Message:
    """Reads a message.

    Args:
        line: its JSON.

    Raises:
        ValueError: it is none, or a field is missing, unknown or out of range.
    """
    tree = read_strict(line)
    if not isinstance(tree, dict) or len(tree) != 1:
        raise ValueError(mismatch("message", "an object with one key", tree))
    ((kind, fields),) = tree.items()
    if kind not in _KINDS:
        raise ValueError(mismatch("message", f"one of {', '.join(_KINDS)}", kind))
    message: Message = parse_record(_KINDS[kind], fields)
    return message


def _is_plain_path(path: str) -> bool:
    plain = path.isascii() and path.translate(dict.fromkeys(map(ord, "._-+/"))).isalnum()
    return plain and path.startswith("/") and ".." not in path.split("/") and len(path) < 1000
