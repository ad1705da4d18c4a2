import gc
import weakref

import numpy as np

from tinsmith_export.heap import give_back_memory


class Linked:
    """Refers to itself, as what a conversion leaves does."""

    def __init__(self) -> None:
        self.array = np.zeros(1000)
        self.itself = self


def test_what_only_a_cycle_holds_is_freed() -> None:
    gc.disable()
    try:
        linked = Linked()
        seen = weakref.ref(linked.array)
        del linked
        assert seen() is not None
        give_back_memory()
        assert seen() is None
    finally:
        gc.enable()
