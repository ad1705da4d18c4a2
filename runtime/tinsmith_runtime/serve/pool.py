"""The models that predict: each in a thread, beside the event loop; requests wait in one line."""

from __future__ import annotations

import asyncio
import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from tinsmith_runtime.serve.answers import Predictor

if TYPE_CHECKING:
    from collections.abc import Callable

    from tinsmith_runtime.model import Model

T = TypeVar("T")

MAX_WAITING = 64
"""How many requests may wait for a worker."""


class BusyError(Exception):
    """As many requests wait as may."""


class Pool:
    """A model and its clones, which compute at the same time.

    Attributes:
        model: the first of them.
        predictor: answers with any of them.
        workers: how many they are.

    Args:
        model: the first; the pool closes it.
        workers: how many models there are in all.
    """

    def __init__(self, model: Model, workers: int) -> None:
        self.model = model
        self.predictor = Predictor(model.manifest)
        self.workers = workers
        self._models = [model, *(model.clone() for _ in range(workers - 1))]
        self._free: queue.SimpleQueue[Model] = queue.SimpleQueue()
        for one in self._models:
            self._free.put(one)
        self._threads = ThreadPoolExecutor(workers, "tinsmith-serve")
        self._room = threading.BoundedSemaphore(workers + MAX_WAITING)

    async def run(self, work: Callable[[Model], T]) -> T:
        """Has a worker do something with its model.

        Cancelled, it takes back what has not begun. What has begun ends, and keeps its place.

        Raises:
            BusyError: too many wait already.
        """
        if not self._room.acquire(blocking=False):
            raise BusyError
        future = self._threads.submit(self._with_model, work)
        future.add_done_callback(self._leave)
        return await asyncio.wrap_future(future)

    def _with_model(self, work: Callable[[Model], T]) -> T:
        model = self._free.get()  # there is one for each thread
        try:
            return work(model)
        finally:
            self._free.put(model)

    def _leave(self, _: Future[T]) -> None:
        self._room.release()

    def close(self) -> None:
        """Waits for what is under way and what waits, then frees the engines."""
        self._threads.shutdown()
        for model in self._models:
            model.close()
