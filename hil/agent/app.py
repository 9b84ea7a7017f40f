"""The agent's HTTP: which request leads to which of the desk's, described as OpenAPI, and every error in the same four parts.

Deliberately not here: what is done (`desk.py`), and on which address it is served (`serve.py`).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Path, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from hil.agent.desk import Desk
from hil.agent.door import Refused
from hil.agent.once import NotYet
from hil.agent.wire import LARGEST_NUMBER, LENT, TOKEN, AgentInfo, Begun, CaptureRequest, Opened, Opening, Refusable, Refusal, Waiting
from hil.protocols import Shown
from optics_sim.errors import PrivcamError
from optics_sim.stimulus import Stimulus

_ABOUT = {
    202: {"model": Waiting, "description": "it takes its time: ask the same again"},
    400: {"model": Refusal, "description": "no request that can be read"},
    401: {"model": Refusal, "description": "no token, or one of another shape"},
    404: {"model": Refusal, "description": "there is none"},
    409: {"model": Refusal, "description": "the session, the camera or the rig says no"},
    410: {"model": Refusal, "description": "it is over"},
    411: {"model": Refusal, "description": "a body of unknown length"},
    413: {"model": Refusal, "description": "a body that is too large"},
    421: {"model": Refusal, "description": "asked by another name than that of this machine"},
    422: {"model": Refusal, "description": "a field is wrong"},
}
_ALWAYS: dict[int | str, dict[str, Any]] = {code: dict(_ABOUT[code]) for code in (400, 411, 413, 421, 422)}
_SESSION: dict[int | str, dict[str, Any]] = {code: dict(_ABOUT[code]) for code in (202, 401, 409)}
_FRAME: dict[int | str, dict[str, Any]] = {code: dict(_ABOUT[code]) for code in (202, 401, 404, 409, 410)}
_FRAME[200] = {"description": "one line of JSON, then an NPY file: see docs/agent.md",
               "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}

_FILE = {"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}

_bearer = HTTPBearer(auto_error=False, description="the session's token: 32 to 128 letters, digits, - and _, made up by the client")


def _token(given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> str:
    if given is None or not re.fullmatch(TOKEN, given.credentials):
        raise Refused(401, "a session's token is missing", allowed="Authorization: Bearer and 32 to 128 letters, digits, - and _",
                      todo="make one up and open a session with it")
    return given.credentials


Token = Annotated[str, Depends(_token)]
Number = Annotated[int, Path(ge=0, le=LARGEST_NUMBER)]


def create_app(desk: Desk) -> FastAPI:
    """Returns the agent as an application; when it shuts down, the bench is closed."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        desk.stop()

    app = FastAPI(title="privcam agent", version=desk.info.version, lifespan=lifespan, docs_url=None, redoc_url=None, responses=_ALWAYS,
                  description="A camera, and what shows to it, for one session at a time. Every answer has the header Privcam-Boot.")
    _add_errors(app)
    _add_session(app, desk)
    _add_camera(app, desk)
    _add_rig(app, desk)
    _require_kinds(app.openapi())
    return app


def _require_kinds(description: dict[str, Any]) -> None:
    """Puts into the description, which the application keeps, that a stimulus names its kind: in Python it has a default."""
    for model in description["components"]["schemas"].values():
        if "const" in model.get("properties", {}).get("kind", {}):
            model["required"] = ["kind", *(name for name in model.get("required", []) if name != "kind")]


def _add_session(app: FastAPI, desk: Desk) -> None:
    @app.get("/v1/agent")
    async def agent() -> AgentInfo:
        """Returns what the agent says to everybody."""
        return desk.info

    @app.put("/v1/session", responses=_SESSION)
    async def open_session(token: Token, asked: Opening) -> Opened:
        """Opens the bench for the session of this token; asked again, it is the same session."""
        return await desk.open(token, asked)

    @app.delete("/v1/session", status_code=204, responses=_SESSION)
    async def close_session(token: Token) -> None:
        """Closes the bench; the agent is free."""
        await desk.close(token)


def _add_camera(app: FastAPI, desk: Desk) -> None:
    @app.put("/v1/captures/{number}", responses=_SESSION)
    async def begin_capture(token: Token, number: Number, asked: CaptureRequest) -> Begun:
        """Begins a capture; the one before it is over."""
        return await desk.begin(token, number, asked)

    @app.get("/v1/captures/{number}/frames/{place}", response_class=Response, responses=_FRAME)
    async def frame(token: Token, number: Number, place: Number) -> Response:
        """Takes a frame, or gives again the one that was taken last; asking for the next acknowledges it."""
        return Response(await desk.frame(token, number, place), media_type="application/octet-stream")


def _add_rig(app: FastAPI, desk: Desk) -> None:
    @app.put("/v1/pictures/{name}", status_code=204, responses=_SESSION, openapi_extra=_FILE)
    async def lend(token: Token, name: Annotated[str, Path(pattern=LENT)], request: Request) -> None:
        """Keeps the file of a picture that will be shown, until the session ends."""
        await desk.lend(token, name, await request.body())

    @app.put("/v1/shown/{number}", responses=_SESSION)
    async def show(token: Token, number: Number, stimulus: Stimulus) -> Shown:
        """Shows a stimulus, and returns when it is there."""
        return await desk.show(token, number, stimulus)

    @app.put("/v1/confirmed/{number}", status_code=204, responses=_SESSION)
    async def confirm(token: Token, number: Number) -> None:
        """Returns where what was shown last is still there."""
        await desk.confirm(token, number)

    @app.post("/v1/refusal", responses=_SESSION)
    async def refusal(token: Token, stimulus: Stimulus) -> Refusable:
        """Returns why the rig cannot show a stimulus; nothing is shown."""
        return await desk.refusal(token, stimulus)


def refused(status: int, error: PrivcamError) -> JSONResponse:
    """Returns an error as an answer."""
    return JSONResponse(Refusal.of(error).model_dump(), status)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(PrivcamError)
    async def ours(request: Request, error: PrivcamError) -> JSONResponse:
        return refused(error.status if isinstance(error, Refused) else 409, error)

    @app.exception_handler(NotYet)
    async def not_yet(request: Request, job: NotYet) -> JSONResponse:
        return JSONResponse(Waiting(waiting_for=str(job)).model_dump(), 202)

    @app.exception_handler(RequestValidationError)
    async def wrong_field(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return refused(422, PrivcamError(f"`{where}` is not valid", got=repr(first.get("input"))[:200], allowed=first["msg"],
                                         todo="see /openapi.json"))

    @app.exception_handler(HTTPException)
    async def no_such_way(request: Request, error: HTTPException) -> JSONResponse:
        answer = refused(error.status_code, PrivcamError(str(error.detail), got=f"{request.method} {request.url.path}"[:200],
                                                         todo="see /openapi.json"))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> JSONResponse:
        return refused(500, PrivcamError("a fault of the agent", got=f"{type(error).__name__}: {error}"[:200],
                                         todo="its terminal says more; report it"))
