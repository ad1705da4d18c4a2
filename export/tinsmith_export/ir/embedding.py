"""Tables that are read at the places that an input names."""

from dataclasses import dataclass
from typing import ClassVar

from tinsmith_export.ir.ops import Floats, InputLayer, Node

LARGEST = 1 << 16
"""How many rows a table may have: two bytes name one of them."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Ids(InputLayer):
    """An input of whole numbers; inside, each is two bytes, the lower first, `(…, 2)`.

    Attributes:
        size: how many numbers there are, from 0.
    """

    size: int

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """See `InputLayer.sample_shape`."""
        return self.shape[:-1]


@dataclass(frozen=True, eq=False, kw_only=True)
class Embedding(Node):
    """A row of `table`, `float32 (rows, C)`, for each number; the last one for those beyond it."""

    table: Floats

    requantizes: ClassVar[bool] = True
