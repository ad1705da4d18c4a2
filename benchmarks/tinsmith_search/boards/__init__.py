"""Measures bundles on boards: one at a time on each, many searches on few boards."""

from tinsmith_search.boards.boards import Boards
from tinsmith_search.boards.file import Board
from tinsmith_search.boards.measurement import Measurement

__all__ = ["Board", "Boards", "Measurement"]
