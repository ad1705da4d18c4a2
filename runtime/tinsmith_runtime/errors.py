"""Every error a tinsmith user can meet, each with the exit status the command ends with.

TinsmithError            1  something failed: a gate, a model, an engine
├── BundleError          1  a bundle that is damaged, foreign or not what its manifest says
├── BackendError         1  an engine that is missing, does not start or fails the self-test
└── UsageError           2  a call that cannot work: a missing file, an unknown name
    └── InputError       2  an image or array that does not fit the model
"""


def printable(text: str) -> str:
    r"""Text that a terminal may show: what would steer it becomes its escape, such as `\x1b`.

    Those are control characters, line breaks, marks that turn the direction of writing, and the
    lone surrogates by which Python keeps the bytes of a file name that no encoding explains.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class TinsmithError(Exception):
    """Base of every error tinsmith raises on purpose; `str(error)` is one line for a person."""

    exit_status = 1

    def __str__(self) -> str:
        # What an engine or a library says of its trouble is part of many messages, and may go on
        # for several lines.
        return printable(" ".join(line.strip() for line in super().__str__().splitlines()))


class BundleError(TinsmithError):
    """A bundle that is damaged, hostile, of an unknown version, or not what its manifest says."""


class BackendError(TinsmithError):
    """An engine that is not installed, does not start, or fails the self-test."""


class UsageError(TinsmithError):
    """A call that cannot work as it was made: a missing file, an unknown name, a bad option."""

    exit_status = 2


class InputError(UsageError):
    """An image or array whose shape, dtype or values the model cannot take."""
