"""A screen that shows flat fields, patterns and pictures, and says by hash what it shows.

A browser in kiosk mode shows a page of this machine. What is proved: the browser painted, in a visible window over the whole
screen, a canvas whose pixels are those that were meant. That the panel is on, and how bright its levels are, is for a camera to see
(a screen's gamma is taken as sRGB). Deliberately not here: the page (`screen_page.py`).
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hil.protocols import RigInfo, Shown
from hil.rigs.refuse import not_open, nothing_shown, other_kind
from hil.rigs.screen_page import ScreenServer
from optics_sim.data.photographs import encode_uint8
from optics_sim.errors import PrivcamError
from optics_sim.measure import Source
from optics_sim.stimulus import Flat, Kind, Pattern, Picture, Stimulus, over

SHOWS: tuple[Kind, ...] = ("flat", "pattern", "picture")
KIOSK = ("chromium", "--kiosk", "--no-first-run", "--no-default-browser-check", "--disable-session-crashed-bubble", "--disable-translate")
_GOODBYE_S = 5.0
_SIZES = 3  # that a window may have while one stimulus is painted


class ScreenRig:
    """A rig that shows on a screen; use in a `with`. `browser` is the command that opens a page; () leaves that to a person.

    The person's address goes to `tell`. A page must come within `open_s`, paint within `paint_s`; `settle_s` is what a panel takes
    after the browser is done. `windowed` allows a window that does not fill the screen. Pictures are looked for in `folder`.
    A browser without a screen ("--headless") is "emulated", whatever `source` says.
    """

    def __init__(self, *, browser: Sequence[str] = KIOSK, folder: Path = Path(), tell: Callable[[str], None] = lambda text: None,
                 open_s: float = 60.0, paint_s: float = 10.0, settle_s: float = 0.2, windowed: bool = False,
                 source: Source = "physical", sleep: Callable[[float], None] = time.sleep) -> None:
        self._browser, self._folder, self._tell = tuple(browser), folder, tell
        self._open_s, self._paint_s, self._settle_s, self._windowed, self._sleep = open_s, paint_s, settle_s, windowed, sleep
        headless = any(word.startswith("--headless") for word in browser)
        self._info = RigInfo(name="screen", source="emulated" if headless else source)
        self._server: ScreenServer | None = None
        self._stack = ExitStack()
        self._last: dict[str, Any] | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._server = stack.enter_context(ScreenServer())
            serving = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
            serving.start()
            stack.callback(serving.join)
            stack.callback(self._server.stop)
            self._start_browser(stack, self._server.url)
            size = self._server.wait_size(self._open_s)
            if size is None:
                raise PrivcamError("no page came up on the screen", got=f"nothing within {self._open_s:g} s",
                                   todo="check the browser's command in bench.toml (browser), and that there is a screen")
            self._info = self._info.model_copy(update={"name": f"screen of {size[0]} x {size[1]} pixels"})
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._last = None
        self._stack.close()
        self._server = None

    @property
    def info(self) -> RigInfo:
        """Returns what the page said of its size."""
        return self._info

    def refusal(self, stimulus: Stimulus) -> PrivcamError | None:
        """Returns why a screen cannot show a stimulus, or None: a black screen still glows, and no pixel is a point."""
        if (refused := other_kind("a screen", stimulus, SHOWS, "use a person, a lamp or a stage")) is not None:
            return refused
        try:
            self._radiance(stimulus, self._size() if self._server is not None else None)
        except PrivcamError as error:
            return error
        return None

    def show(self, stimulus: Stimulus) -> Shown:
        """Returns when the page says that its pixels are the stimulus', and the panel had time to follow."""
        self._last = None
        if (refused := self.refusal(stimulus)) is not None:
            raise refused
        size = self._size()
        for _ in range(_SIZES):
            expected, png = self._picture(stimulus, size)
            told = self._told(png)
            rows, columns = told.get("height"), told.get("width")
            if (rows, columns) == size or not (isinstance(rows, int) and isinstance(columns, int) and rows > 0 < columns):
                break
            size = (rows, columns)  # a window that has just come up may grow once more
        _compare(told, expected)
        self._last = expected
        self._sleep(self._settle_s)
        return Shown(rig=self._info, proof=f"the page painted {expected['sha256']}")

    def _picture(self, stimulus: Stimulus, size: tuple[int, int]) -> tuple[dict[str, Any], bytes]:
        """Returns what the page is to tell of a stimulus, and the PNG to paint."""
        grey = encode_uint8(self._radiance(stimulus, size))
        rgba = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
        expected = {"sha256": hashlib.sha256(rgba.tobytes()).hexdigest(), "height": size[0], "width": size[1], "visible": True}
        return expected | ({} if self._windowed else {"full": True}), _png(rgba)

    def confirm(self) -> None:
        """Raises PrivcamError where the page is gone, hidden, or shows other pixels."""
        if self._last is None:
            raise nothing_shown()
        try:
            _compare(self._told(None), self._last)
        except PrivcamError:
            self._last = None
            raise

    def _told(self, png: bytes | None) -> dict[str, Any]:
        """Returns what the page tells after painting a PNG, or of what is there; PrivcamError where it does not answer."""
        server = self._open()
        told = server.wait_told(server.order(png), self._paint_s)
        if not told:
            raise PrivcamError("the screen does not answer", got=f"nothing within {self._paint_s:g} s",
                               todo="look whether the browser still runs and its window is in front; run the same command again")
        return told

    def _radiance(self, stimulus: Stimulus, size: tuple[int, int] | None) -> NDArray[np.float64]:
        match stimulus:
            case Flat():
                return np.full(size or (1, 1), stimulus.level)
            case Pattern():
                radiance = stimulus.radiance()
            case Picture():
                radiance = stimulus.radiance(self._folder)
            case _:
                raise nothing_shown()
        return over(radiance, size or (radiance.shape[0], radiance.shape[1]))

    def _size(self) -> tuple[int, int]:
        return self._open().wait_size(self._open_s) or (1, 1)

    def _open(self) -> ScreenServer:
        if self._server is None:
            raise not_open("the screen")
        return self._server

    def _start_browser(self, stack: ExitStack, url: str) -> None:
        if not self._browser:
            self._tell(f"open this address on the screen, over all of it (F11): {url}")
            return
        command = [*self._browser]
        if "chrom" in Path(command[0]).name:
            command.append(f"--user-data-dir={stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))}")
        try:
            process = subprocess.Popen([*command, url], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except OSError as error:
            raise PrivcamError("the browser does not start", got=error, todo="name another in bench.toml (browser = [...])") from None
        stack.callback(_end, process)


def _compare(told: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Raises PrivcamError where the page tells of something else than what it should show."""
    wrong = {name: told.get(name) for name, value in expected.items() if told.get(name) != value}
    if wrong:
        raise PrivcamError("the screen does not show what it should", got=wrong, allowed={name: expected[name] for name in wrong},
                           todo="leave its window in front, over the whole screen, and its zoom at 100 %")


def _png(rgba: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(rgba).save(stream, "png", compress_level=1)
    return stream.getvalue()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_GOODBYE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
