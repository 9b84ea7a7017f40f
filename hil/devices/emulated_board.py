"""A board of the firmware in QEMU, its serial line a socket of this machine.

Deliberately not here: building the image (`firmware_export.images`), and any claim about a real board's time.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from optics_sim.errors import PrivcamError

QEMU = "qemu-system-arm"
_GOODBYE_S = 5.0
_BOOTED_S = 0.5  # of the emulator's processor time: QEMU itself takes a tenth, the firmware's start microseconds
_STARTS_WITHIN_S = 60.0
MACHINES = {"mps2-an386": "mps2-an386", "mps2-an500": "mps2-an500", "mps3-an547": "mps3-an547", "stm32f405": "netduinoplus2"}
"""QEMU's machine for each board that it knows."""


class EmulatedBoard:
    """A running image; inside `with`, `url` is for `SerialDevice`.

    `counts_instructions` runs one instruction per virtual nanosecond: a 25 MHz tick is then 40 instructions, the same every time.
    """

    def __init__(self, board: str, image: Path, *, counts_instructions: bool = False) -> None:
        if board not in MACHINES:
            raise PrivcamError("a board for the emulator", got=board, allowed=", ".join(MACHINES))
        self._board, self._image, self._counts_instructions = board, image, counts_instructions
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        program = shutil.which(QEMU)
        if program is None:
            raise PrivcamError("the emulator is missing", got=QEMU, todo="install Debian's qemu-system-arm")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.url = f"socket://127.0.0.1:{listener.getsockname()[1]}"
            command = [program, *self._arguments(listener.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL,
                                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_GOODBYE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def wait_until_running(self) -> None:
        """Returns when the emulator has computed for long enough that the firmware listens: what is sent before is lost."""
        if self._process is None:
            raise PrivcamError("this board is not running", got="no process", todo="use it inside `with`")
        spent = Path(f"/proc/{self._process.pid}/stat")
        deadline = time.monotonic() + _STARTS_WITHIN_S
        while spent.exists() and _computed_s(spent) < _BOOTED_S and time.monotonic() < deadline:
            time.sleep(0.02)
        if not spent.exists():  # no Linux
            time.sleep(_BOOTED_S)

    def _arguments(self, listener: int) -> list[str]:
        counting = ["-icount", "shift=0"] if self._counts_instructions else []
        line = ["-chardev", f"socket,id=line,fd={listener},server=on,wait=off", "-serial", "chardev:line"]
        return ["-M", MACHINES[self._board], "-display", "none", "-monitor", "none", *counting, *line, "-kernel", str(self._image)]


def _computed_s(stat: Path) -> float:
    """Returns the processor time of a process, from its /proc/PID/stat: user and system ticks are the 14th and 15th field."""
    after_name = stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")
