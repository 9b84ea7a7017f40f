"""A BBC micro:bit in QEMU that runs Debian's build of MicroPython, and a look at its pins that does not go through MicroPython."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any, Self

import pytest

FIRMWARE = Path("/usr/share/firmware-microbit-micropython/firmware.hex")
_OUT, _PIN0 = 0x50000504, 1 << 3  # nRF51 Series Reference Manual: GPIO OUT; the micro:bit's pin 0 is P0.03


def needs() -> pytest.MarkDecorator:
    missing = [what for what, there in (("qemu-system-arm", shutil.which("qemu-system-arm")),
                                        ("firmware-microbit-micropython", FIRMWARE.exists())) if not there]
    return pytest.mark.skipif(bool(missing), reason=f"missing: apt install {' '.join(missing)}")


class Microbit:
    """A running board; `port` is its serial line's on this machine."""

    def __enter__(self) -> Self:
        with socket.create_server(("127.0.0.1", 0)) as line, socket.create_server(("127.0.0.1", 0)) as looking:
            self.port = line.getsockname()[1]
            self._process = subprocess.Popen(
                ["qemu-system-arm", "-M", "microbit", "-device", f"loader,file={FIRMWARE}", "-display", "none", "-monitor", "none",
                 "-chardev", f"socket,id=line,fd={line.fileno()},server=on,wait=off", "-serial", "chardev:line",
                 "-chardev", f"socket,id=look,fd={looking.fileno()},server=on,wait=off", "-mon", "chardev=look,mode=control"],
                pass_fds=[line.fileno(), looking.fileno()], stdin=subprocess.DEVNULL)
            self._looking = socket.create_connection(looking.getsockname())
        self._lines = self._looking.makefile("rw")
        json.loads(self._lines.readline())
        self._ask("qmp_capabilities")
        return self

    def __exit__(self, *_) -> None:
        self._looking.close()
        self._process.terminate()
        self._process.wait()

    def pin0(self) -> bool:
        """Whether the chip drives pin 0 high, as the emulator's memory says."""
        said = self._ask("human-monitor-command", {"command-line": f"xp /1wx {_OUT:#x}"})
        return bool(int(said.split(":")[1], 16) & _PIN0)

    def reset(self) -> None:
        self._ask("system_reset")

    def _ask(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        self._lines.write(json.dumps({"execute": command, "arguments": arguments or {}}) + "\n")
        self._lines.flush()
        while "return" not in (said := json.loads(self._lines.readline())):
            assert "error" not in said, said
        return said["return"]
