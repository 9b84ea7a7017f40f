"""Tasks over worker processes: each of one thread and its own seed, so that the order they run in changes nothing."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")
Say = Callable[[str], None]


def _one_thread() -> None:
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.WARNING, format="           %(message)s")
    logging.getLogger("privcam").setLevel(logging.INFO)


def run_all(function: Callable[..., Result], tasks: Iterable[tuple[Any, ...]], workers: int) -> Iterator[Result]:
    """Yields the results of function(*task) as they are finished, over `workers` processes (0: in this one).

    The first task that raises ends the rest: what is finished is kept by the tasks themselves.
    """
    if workers < 1:
        for task in tasks:
            yield function(*task)
        return
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # read when a child starts
        os.environ.setdefault(name, "1")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
        waiting: set[Future[Result]] = {pool.submit(function, *task) for task in tasks}
        try:
            while waiting:
                finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield future.result()
        finally:
            for future in waiting:
                future.cancel()


def announce(results: Iterator[str], what: str, total: int, say: Say) -> None:
    """Says each finished task, and how many there are."""
    for done, text in enumerate(results, 1):
        say(f"{what} {done}/{total}  {text}")
