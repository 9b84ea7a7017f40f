"""Elementwise work as one pass over memory where a compiler is there, and eagerly where none is.

A fast path is the eager function itself, compiled: nothing is written twice, and both can be compared.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R], *, varied: bool = False) -> Callable[P, R]:
    """Returns the function compiled for the shapes it is given; itself where nothing can compile it.

    The first call with new shapes compiles for some seconds, and later processes find it in the compiler's cache. With
    `varied` the second shape compiles a function of every such shape: for batches whose last one is smaller.
    """
    fast = torch.compile(function, dynamic=None if varied else False)
    broken = False

    @functools.wraps(function)
    def run(*arguments: P.args, **named: P.kwargs) -> R:
        nonlocal broken
        if not broken:
            try:
                return fast(*arguments, **named)
            except Exception:  # a missing compiler shows as one of many types, none of them public
                broken = True
        return function(*arguments, **named)

    return run
