"""Tables of text: terminal, Markdown and HTML only lay them out."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TextTable:
    """A table of text.

    Attributes:
        title: what it shows.
        headings: of the columns; a line break where a narrow page should break.
        rows: the cells.
        note: how to read it.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
