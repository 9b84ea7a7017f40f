"""Lines for tests whose cable can be pulled: a pseudo-terminal with a program at its end, and a cable before a socket."""

from __future__ import annotations

import os
import select
import socket
import threading
import tty
from collections.abc import Callable
from contextlib import suppress
from typing import Self


class Pty:
    """A pseudo-terminal; `feed` gets what is written and returns what is answered. `pull` is a cable that is unplugged."""

    def __init__(self, feed: Callable[[bytes], bytes]) -> None:
        self._feed = feed

    def __enter__(self) -> Self:
        self._far, near = os.openpty()
        tty.setraw(near)
        self.url = os.ttyname(near)
        os.close(near)
        os.set_blocking(self._far, False)
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.pull()

    def pull(self) -> None:
        if self._thread.is_alive():
            os.write(self._stopped, b"x")
            self._thread.join()
            os.close(self._far)
            os.close(self._stop)
            os.close(self._stopped)

    def _serve(self) -> None:
        while True:
            ready = select.select([self._far, self._stop], [], [])[0]
            if self._stop in ready:
                return
            try:
                answer = self._feed(os.read(self._far, 4096))
            except OSError:  # nobody has opened the near end yet, or has it no more
                threading.Event().wait(0.005)
                continue
            while answer and not select.select([self._stop], [self._far], [])[0]:
                answer = answer[os.write(self._far, answer):]


class Cable:
    """A cable to a socket of this machine: `url` is its near end, which `pull` cuts and `plug` brings back."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"socket://127.0.0.1:{self._listener.getsockname()[1]}"
        self._ends: list[socket.socket] = []
        self._plugged = True
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.pull()
        self._listener.close()

    def pull(self) -> None:
        self._plugged = False
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._ends = []

    def plug(self) -> None:
        self._plugged = True

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self._plugged:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._port))
            self._ends += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=(one, other), daemon=True).start()


def _pump(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(4096):
            other.sendall(data)
    for end in (one, other):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
