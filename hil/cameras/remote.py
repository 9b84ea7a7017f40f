"""The camera of an agent on another machine; its frames come as that camera gave them, their source included.

Deliberately not here: the session with the agent (`hil/agent/client.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hil.agent.client import RemoteAgent
from hil.agent.wire import Head
from hil.cameras.replay import check_count
from optics_sim.frame import CameraInfo, CaptureSettings, Frame


class RemoteCamera:
    """A camera beyond a wire. One capture at a time: another one ends it, as does the end of the agent's session.

    Where the agent was started anew, a live camera counts anew too: its index then goes on one after the last, so that there is a gap
    for what was lost, and a clock that fell back goes on by what passed on this machine's. `metadata["remote"]` says how far both
    were moved. Stored frames keep what they have.
    """

    def __init__(self, agent: RemoteAgent, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._agent, self._clock = agent, clock
        self._last: Frame | None = None
        self._came_s = 0.0
        self._restarts = 0
        self._moved: tuple[int, float] | None = None  # index, seconds

    @property
    def info(self) -> CameraInfo:
        """Returns what the camera said of itself."""
        return self._agent.opened.camera

    def capture(self, settings: CaptureSettings, count: int) -> Iterator[Frame]:
        """Returns `count` frames of the agent's camera; see `hil.protocols.Camera`. PrivcamError where the agent gives none any more."""
        check_count(count)
        begun: tuple[int, int, int] | None = None  # restarts, number, place of the first frame

        def taken(place: int) -> tuple[Head, NDArray[np.uint16]]:
            nonlocal begun
            if begun is None or begun[0] != self._agent.restarts:
                restarts = self._agent.restarts
                begun = (restarts, self._agent.begin(settings, count - place), place)
            return self._agent.frame(begun[1], place - begun[2])

        for place in range(count):
            head, raw = self._agent.steady(lambda place=place: taken(place))  # type: ignore[misc]
            yield self._moved_on(head.entry.frame(raw))

    def _moved_on(self, frame: Frame) -> Frame:
        """Returns a frame whose index and clock rise, also over a new start of the agent."""
        now_s = self._clock()
        if self._restarts != self._agent.restarts:
            self._restarts = self._agent.restarts
            self._moved = None if self._last is None or frame.replayed else _move(self._last, frame, now_s - self._came_s)
        if self._moved is not None:
            index, seconds = self._moved
            frame = replace(frame, index=frame.index + index, timestamp_s=frame.timestamp_s + seconds,
                            metadata=frame.metadata | {"remote": {"index_moved": index, "clock_moved_s": seconds}})
        self._last, self._came_s = frame, now_s
        return frame


def _move(last: Frame, frame: Frame, passed_s: float) -> tuple[int, float]:
    """Returns what to add to index and timestamp of the first frame after a new start, and of all that follow it."""
    seconds = 0.0 if frame.timestamp_s > last.timestamp_s else last.timestamp_s + passed_s - frame.timestamp_s
    return last.index + 2, seconds
