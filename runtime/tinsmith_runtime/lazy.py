"""numpy, imported when it is first used: that takes longer than the rest of a start."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
else:

    class _Numpy:
        def __getattr__(self, name):
            import numpy

            found = getattr(numpy, name)
            setattr(self, name, found)  # the next time it is there
            return found

    np = _Numpy()

__all__ = ["np"]
