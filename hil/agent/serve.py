"""Serving the agent on this machine alone: its address is 127.0.0.1 and nothing else; other machines come through `ssh -L`.

What reaches it must have been asked by a name of this machine (a page in a browser may reach loopback, under another name), and be
small. Deliberately not here: what is answered (`app.py`).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hil.agent.app import create_app, refused
from hil.agent.desk import Desk
from hil.agent.door import Door, Refused
from hil.agent.once import Once
from hil.agent.served import OpenTable, Served
from hil.agent.wire import BOOT_HEADER, AgentInfo
from optics_sim.errors import PrivcamError

LOOPBACK = "127.0.0.1"
LARGEST_BODY = 32 * 2**20
ANSWER_S = 5.0  # what takes longer is answered by "ask again"
_NAMES = (LOOPBACK, "localhost", "[::1]")


class Guard:
    """Lets requests to this machine's own name pass, with bodies of a known and small length; puts the boot's name on each answer."""

    def __init__(self, app: ASGIApp, boot: str) -> None:
        self._app, self._boot = app, boot.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (BOOT_HEADER.lower().encode(), self._boot)]
            await send(message)

        refusal = _refusal(scope["method"], {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]})
        await (self._app if refusal is None else refused(refusal.status, refusal))(scope, receive, sending)


def _refusal(method: str, headers: dict[str, str]) -> Refused | None:
    host = headers.get("host", "")
    if host.rpartition(":")[0] not in _NAMES and host not in _NAMES:
        return Refused(421, "asked by another name than that of this machine", got=host[:100], allowed=", ".join(_NAMES),
                       todo="come through ssh -L, and ask 127.0.0.1")
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not length.isdecimal():
        return Refused(411, "a body of unknown length", got=method, allowed="a Content-Length", todo="say how long the body is")
    if int(length) > LARGEST_BODY:
        return Refused(413, "a body that is too large", got=f"{length} bytes", allowed=f"{LARGEST_BODY} bytes")
    return None


def desk_of(open_table: OpenTable, *, boot: str, version: str, silent_s: float, clock: Callable[[], float] = time.monotonic,
            answer_s: float = ANSWER_S) -> Desk:
    """Returns a desk with nothing open yet; `boot` names this start of the agent."""
    info = AgentInfo(version=version, boot=boot, held=False, silent_s=silent_s)
    return Desk(info, Door(silent_s, clock), Once(answer_s), Served(open_table, boot))


def server_of(desk: Desk) -> uvicorn.Server:
    """Returns the server, which is given its socket when it is run."""
    return uvicorn.Server(uvicorn.Config(Guard(create_app(desk), desk.info.boot), log_level="warning", lifespan="on",
                                         timeout_graceful_shutdown=5, server_header=False))


def serve(desk: Desk, port: int, on_ready: Callable[[str], None]) -> None:
    """Serves until the program is told to end; `on_ready` gets the address. Port 0 is any free one; PrivcamError for a taken one."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:  # named: asyncio then waits for no acks
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((LOOPBACK, port))
        except (OSError, OverflowError) as error:
            raise PrivcamError("the agent gets no such port", got=f"{port}: {error}", todo="choose another: --port") from None
        listening.listen(16)
        on_ready(f"http://{LOOPBACK}:{listening.getsockname()[1]}")
        with suppress(KeyboardInterrupt):  # uvicorn has ended in order, and tells of Ctrl-C then
            server_of(desk).run(sockets=[listening])
