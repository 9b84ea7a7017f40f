"""The page that shows on a screen, and the server of this machine that it asks what to show and tells what it sees.

The page draws each picture pixel for pixel, waits until the browser has painted, reads its own canvas back, and posts the SHA-256
of what is there. Guards as in the study's server: loopback, a `Host` that is this one's, a random path, bounded bodies.
Deliberately not here: what is shown, and what its answers prove (`screen.py`).
"""

from __future__ import annotations

import json
import secrets
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

LARGEST_BODY = 4096
_LONG_POLL_S = 5.0

PAGE = """<!doctype html><meta charset="utf-8"><title>privcam screen</title>
<style>html,body{margin:0;height:100%;background:#000;overflow:hidden;cursor:none}canvas{position:fixed;left:0;top:0}</style>
<canvas id="c"></canvas><script>
"use strict";
const canvas = document.getElementById("c"), pen = canvas.getContext("2d", {willReadFrequently: true});
const frame = () => new Promise(requestAnimationFrame), rest = (ms) => new Promise((done) => setTimeout(done, ms));
function fit() {
  const size = [Math.round(innerWidth * devicePixelRatio), Math.round(innerHeight * devicePixelRatio)];
  if (canvas.width === size[0] && canvas.height === size[1]) return;
  [canvas.width, canvas.height] = size;
  canvas.style.width = innerWidth + "px"; canvas.style.height = innerHeight + "px";
}
async function seen() {
  const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
  const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", pixels));
  return Array.from(sum, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
async function draw(number) {
  const blob = await (await fetch("picture/" + number, {cache: "no-store"})).blob();
  const picture = await createImageBitmap(blob, {colorSpaceConversion: "none", premultiplyAlpha: "none"});
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(picture, 0, 0);
}
async function main() {
  for (let last = 0;;) {
    try {
      fit();
      const size = "width=" + canvas.width + "&height=" + canvas.height;
      const answer = await fetch("next?after=" + last + "&" + size, {cache: "no-store"});
      if (answer.status !== 200) { if (answer.status !== 204) await rest(300); continue; }
      const order = await answer.json();
      if (order.picture) await draw(order.number);
      await frame(); await frame();
      const full = screen.width === innerWidth && screen.height === innerHeight;
      const told = {number: order.number, sha256: await seen(), width: canvas.width, height: canvas.height, full: full,
                    visible: document.visibilityState === "visible"};
      await fetch("seen", {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(told)});
      last = order.number;
    } catch (error) { await rest(300); }
  }
}
main();
</script>
"""


class ScreenServer(ThreadingHTTPServer):
    """Serves one page on a free port of this machine; use in a `with`. Orders go out by number, answers come back by it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token = secrets.token_urlsafe(24)
        self.turn = threading.Condition()
        self.number, self.picture = 0, b""
        self.has_picture = self.stopped = False
        self.size: tuple[int, int] | None = None
        self.told: dict[str, Any] = {}

    @property
    def url(self) -> str:
        """The address to open."""
        return f"http://127.0.0.1:{self.server_address[1]}/{self.token}/"

    def order(self, picture: bytes | None) -> int:
        """Returns the number of an order to show a PNG, or, without one, to look again at what is there."""
        with self.turn:
            self.number, self.has_picture = self.number + 1, picture is not None
            self.picture = picture or self.picture
            self.told = {}
            self.turn.notify_all()
            return self.number

    def wait_size(self, timeout_s: float) -> tuple[int, int] | None:
        """Returns (rows, columns) of the page's canvas as soon as a page is there, None where none comes in time."""
        with self.turn:
            self.turn.wait_for(lambda: self.size is not None, timeout_s)
            return self.size

    def wait_told(self, number: int, timeout_s: float) -> dict[str, Any]:
        """Returns what the page told of an order; {} where it told nothing in time."""
        with self.turn:
            self.turn.wait_for(lambda: self.told.get("number") == number, timeout_s)
            return dict(self.told)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: a browser that goes away leaves connections behind, and what it did not tell is missed anyway."""

    def stop(self) -> None:
        """Returns when no request is waited for any more."""
        with self.turn:
            self.stopped = True
            self.turn.notify_all()
        self.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def _screen(self) -> ScreenServer:
        return cast(ScreenServer, self.server)

    def do_GET(self) -> None:
        """Serves the page, the next order, or its picture."""
        path, _, query = self._asked().partition("?")
        if path == "":
            self._answer(HTTPStatus.OK, PAGE.encode(), "text/html; charset=utf-8")
        elif path == "next":
            self._next(dict(pair.partition("=")[::2] for pair in query.split("&")))
        elif path == f"picture/{self._screen.number}":
            self._answer(HTTPStatus.OK, self._screen.picture, "image/png")
        else:
            self._answer(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """Takes what the page sees."""
        size = int(self.headers.get("Content-Length") or 0)
        if self._asked() != "seen" or not 0 < size <= LARGEST_BODY:
            self.close_connection = True
            return self._answer(HTTPStatus.BAD_REQUEST)
        try:
            told = json.loads(self.rfile.read(size))
        except ValueError:
            return self._answer(HTTPStatus.BAD_REQUEST)
        with self._screen.turn:
            if isinstance(told, dict) and told.get("number") == self._screen.number:
                self._screen.told = told
                self._screen.turn.notify_all()
        return self._answer(HTTPStatus.NO_CONTENT)

    def _next(self, query: dict[str, str]) -> None:
        screen = self._screen
        try:
            after, size = int(query["after"]), (int(query["height"]), int(query["width"]))
        except (KeyError, ValueError):
            return self._answer(HTTPStatus.BAD_REQUEST)
        with screen.turn:
            screen.size = size
            screen.turn.notify_all()
            due = screen.turn.wait_for(lambda: screen.number > after or screen.stopped, _LONG_POLL_S)
            order = {"number": screen.number, "picture": screen.has_picture}
            due = due and not screen.stopped
        return self._answer(HTTPStatus.OK, json.dumps(order).encode(), "application/json") if due else self._answer(HTTPStatus.NO_CONTENT)

    def _asked(self) -> str:
        """Returns the path behind the token, or one that nothing answers to."""
        start = f"/{self._screen.token}/"
        host = f"127.0.0.1:{self._screen.server_address[1]}"
        return self.path[len(start):] if self.path.startswith(start) and self.headers.get("Host") == host else "-"

    def _answer(self, status: HTTPStatus, body: bytes = b"", kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing: the session tells what is shown."""
