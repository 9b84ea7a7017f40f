"""The study's own small web server: one page, one place to post an answer, on this machine only.

Guards: loopback unless asked otherwise; a `Host` that is this server's (against DNS rebinding); a random token and a
JSON content type on every answer (another site's page can send neither); a bounded body; nothing but the page is
served, so the key cannot be fetched.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import os
import re
import secrets
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from optics_sim.errors import PrivcamError
from optics_sim.report.study_page import with_session

LARGEST_BODY = 4096
PERSON = re.compile(r"[A-Za-z0-9_-]{1,32}")
ANSWERS = ("same", "different", "unsure")


class StudyServer(ThreadingHTTPServer):
    """Serves one study folder; `url` is where. Use as a context manager; answers are on the disk before the reply."""

    daemon_threads = True
    request_queue_size = 128  # connections that wait to be accepted: with the usual 5, a busy machine refuses answers

    def __init__(self, folder: Path, address: tuple[str, int], *, remote: bool) -> None:
        self.page = (folder / "index.html").read_text(encoding="utf-8")
        self.pairs = frozenset(json.loads((folder / "key.json").read_text(encoding="utf-8"))["pairs"])
        self.token = secrets.token_urlsafe(24)
        self.host, self.remote = address[0], remote
        self.journal = folder / "answers.jsonl"
        self.answered = _answered(self.journal)
        self.lock = threading.Lock()
        super().__init__(address, _Handler)

    @property
    def url(self) -> str:
        """The address to open."""
        return f"http://{self.host}:{self.server_address[1]}/"

    def host_is_ours(self, host: str) -> bool:
        """Whether a request's `Host` names this server by a loopback name (any name when remote is allowed)."""
        port = self.server_address[1]
        return self.remote or host in {f"{name}:{port}" for name in ("127.0.0.1", "localhost", self.host)}

    def keep(self, entry: dict[str, Any]) -> bool:
        """Appends an answer, flushed to the disk, and returns whether it is this person's first to the pair."""
        who = (entry["person"], entry["id"])
        with self.lock:
            if who in self.answered:
                return False
            with self.journal.open("ab") as stream:
                stream.write((json.dumps(entry, sort_keys=True) + "\n").encode())
                stream.flush()
                os.fsync(stream.fileno())
            self.answered.add(who)
        return True


def study_server(folder: Path, port: int = 0, host: str = "127.0.0.1", *, allow_remote: bool = False) -> StudyServer:
    """Returns a server bound to `host` and `port` (0 picks a free one), not yet serving.

    Raises PrivcamError for a host other than loopback unless `allow_remote`, or when the folder holds no study.
    """
    if not allow_remote and not _is_loopback(host):
        raise PrivcamError("a study is served to this machine only", got=host, allowed="127.0.0.1",
                           todo="pass allow_remote=True if everybody on the network may see the pictures")
    missing = [name for name in ("index.html", "key.json") if not (folder / name).is_file()]
    if missing:
        raise PrivcamError("no study in this folder", got=f"{folder} lacks {', '.join(missing)}",
                           allowed="a folder made by build_study", todo="build the study first")
    try:
        return StudyServer(folder, (host, port), remote=allow_remote)
    except OSError as error:
        raise PrivcamError("the study cannot be served there", got=f"{host}:{port}: {error}", allowed="a free port",
                           todo="choose another port") from None


class _Handler(BaseHTTPRequestHandler):
    server: StudyServer
    timeout = 30
    server_version = "study"
    sys_version = ""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        person = parse_qs(parts.query).get("person", ["1"])[0]
        if not self.server.host_is_ours(self.headers.get("Host", "")):
            return self._reply(HTTPStatus.FORBIDDEN, "not this server's name")
        if parts.path not in ("/", "/index.html"):
            return self._reply(HTTPStatus.NOT_FOUND, "only the study page is here")
        if not PERSON.fullmatch(person):
            return self._reply(HTTPStatus.BAD_REQUEST, "person: 1 to 32 letters, digits, - or _")
        with self.server.lock:
            done = sorted(pair for who, pair in self.server.answered if who == person)
        page = with_session(self.server.page, {"token": self.server.token, "person": person, "answered": done})
        return self._reply(HTTPStatus.OK, page, kind="text/html; charset=utf-8")

    def do_POST(self) -> None:
        status, text = self._refusal()
        if status is None:
            status, text = self._answer(self.rfile.read(int(self.headers["Content-Length"])))
        self._reply(status, text)

    def _refusal(self) -> tuple[HTTPStatus | None, str]:
        length = self.headers.get("Content-Length", "")
        if not self.server.host_is_ours(self.headers.get("Host", "")):
            return HTTPStatus.FORBIDDEN, "not this server's name"
        if not hmac.compare_digest(self.headers.get("X-Study-Token", "").encode(), self.server.token.encode()):
            return HTTPStatus.FORBIDDEN, "the token is not this server's: reload the page"
        if self.headers.get_content_type() != "application/json":
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "answers are application/json"
        if not length.isascii() or not length.isdigit():
            return HTTPStatus.LENGTH_REQUIRED, "say how long the body is"
        if len(length) > 9 or int(length) > LARGEST_BODY:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {LARGEST_BODY} bytes"
        return (None, "") if urlsplit(self.path).path == "/answer" else (HTTPStatus.NOT_FOUND, "answers go to /answer")

    def _answer(self, body: bytes) -> tuple[HTTPStatus, str]:
        try:
            given = json.loads(body)
            person, pair, answer = str(given["person"]), str(given["id"]), given["answer"]
            seconds = float(given.get("seconds", -1.0))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return HTTPStatus.BAD_REQUEST, "an answer is {person, id, answer, seconds}"
        if not PERSON.fullmatch(person) or answer not in ANSWERS or pair not in self.server.pairs:
            return HTTPStatus.BAD_REQUEST, f"an answer is one of {', '.join(ANSWERS)} to a pair of this study"
        entry = {"person": person, "id": pair, "answer": answer, "seconds": seconds if abs(seconds) < 1e6 else -1.0,
                 "unix_s": round(time.time(), 3)}
        if not self.server.keep(entry):
            return HTTPStatus.CONFLICT, "this pair is answered already; the first answer counts"
        return HTTPStatus.OK, "kept"

    def _reply(self, status: HTTPStatus, text: str, kind: str = "text/plain; charset=utf-8") -> None:
        body = text.encode()
        self.close_connection = True
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", "no-store"),
                            ("X-Content-Type-Options", "nosniff"), ("X-Frame-Options", "DENY"),
                            ("Cross-Origin-Resource-Policy", "same-origin"), ("Connection", "close")):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: a library does not print."""


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False


def _answered(journal: Path) -> set[tuple[str, str]]:
    """What the journal holds; a last line cut short by a kill is ended, so that the next answer starts a line."""
    if not journal.exists():
        return set()
    data = journal.read_bytes()
    if data and not data.endswith(b"\n"):
        with journal.open("ab") as stream:
            stream.write(b"\n")
    found = set()
    for line in data.splitlines():
        try:
            entry = json.loads(line)
            found.add((str(entry["person"]), str(entry["id"])))
        except (ValueError, KeyError, TypeError):
            continue
    return found
