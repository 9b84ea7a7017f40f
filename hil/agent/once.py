"""One thread that does named jobs, each once: who asks for a job again gets its answer, or waits for it.

A client whose connection was cut asks the same again, and nothing happens twice. One thread: cameras and rigs are used by one at a
time, and always by the same. Deliberately not here: which jobs there are (`desk.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, TypeVar

from optics_sim.errors import PrivcamError

Answer = TypeVar("Answer")
Name = tuple[Hashable, ...]


class NotYet(Exception):
    """A job is not done yet: ask again."""

    def __init__(self, name: Name) -> None:
        super().__init__(" ".join(map(str, name)))


class Once:
    """Jobs in one thread. A job's answer, or its error, is kept until it is forgotten; `do` waits for it `wait_s` at most."""

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="bench")
        self._jobs: dict[Name, Future[Any]] = {}

    async def do(self, name: Name, job: Callable[[], Answer]) -> Answer:
        """Returns what a job returned or raises what it raised; NotYet where it goes on, PrivcamError where it was forgotten."""
        future: Future[Answer] | None = self._jobs.get(name)
        if future is None:
            future = self._jobs[name] = self._worker.submit(job)
        waiting = asyncio.wrap_future(future)
        waiting.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # its error is told by the one who asks again
        await asyncio.wait([waiting], timeout=self._wait_s)
        if not future.done():
            raise NotYet(name)
        try:
            return future.result()
        except CancelledError:
            raise PrivcamError("a later request of this session ended this one", got=" ".join(map(str, name))) from None

    def done(self, *name: Hashable) -> bool:
        """Returns whether the answer of a job is there."""
        return name in self._jobs and self._jobs[name].done()

    def forget(self, *name: Hashable) -> None:
        """Drops the answers of jobs whose names begin so; a job that was not begun is not done."""
        for one in [one for one in self._jobs if one[:len(name)] == name]:
            self._jobs.pop(one).cancel()

    def close(self, last: Callable[[], None]) -> None:
        """Returns after the job that runs, and then a last one, are done."""
        self.forget()
        self._worker.submit(last).result()
        self._worker.shutdown()
