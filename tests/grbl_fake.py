"""A fake of Grbl 1.1, written from its wiki ("Grbl v1.1 Interface", "Commands"): enough of it to move a stage, no firmware of anybody.

It moves at once or takes `slow` status reports for it, loses its position at a reset while it moves, and knows soft limits, homing
lock, absolute millimetres and machine coordinates.
"""

from __future__ import annotations

import re

BANNER = b"\r\nGrbl 1.1h ['$' for help]\r\n"


class GrblFake:
    def __init__(self, *, slow: int = 0, homing: bool = True, travel_mm: float = 300.0) -> None:
        self.slow, self.homing, self.travel_mm = slow, homing, travel_mm
        self.position_mm = {"X": 0.0, "Y": 0.0, "Z": 0.0}
        self.left, self.locked, self.inches, self.relative = 0, homing, False, False
        self.heard, self.text = [], b""

    def feed(self, data: bytes) -> bytes:
        out = b""
        for byte in data:
            one = bytes([byte])
            if one == b"\x18":
                out += self.reset()
            elif one == b"?":
                out += self._report()
            elif one in b"\r\n":
                line, self.text = self.text.decode(), b""
                out += self._line(line) if line else b""
            else:
                self.text += one
        return out

    def reset(self) -> bytes:
        self.text, self.locked, self.inches, self.relative = b"", self.homing, False, False
        return BANNER + (b"[MSG:'$H'|'$X' to unlock]\r\n" if self.locked else b"")

    def _report(self) -> bytes:
        state = "Alarm" if self.locked else "Run" if self.left else "Idle"
        self.left = max(0, self.left - 1)
        x, y, z = self.position_mm.values()
        return f"<{state}|MPos:{x:.3f},{y:.3f},{z:.3f}|FS:0,0|Ov:100,100,100>\r\n".encode()

    def _line(self, line: str) -> bytes:
        self.heard.append(line)
        if line == "$H":
            self.locked, self.position_mm = False, {"X": -1.0, "Y": -1.0, "Z": -1.0}
            return b"ok\r\n"
        if self.locked:
            return b"error:9\r\n"
        target = dict(self.position_mm)
        for letter, number in re.findall(r"([A-Z])([-\d.]+)", line):
            if letter == "G" and float(number) not in (0, 21, 53, 90):
                return b"error:20\r\n"
            if letter in target:
                target[letter] = float(number)
        if any(not -self.travel_mm <= value <= 0 for value in target.values()) and self.homing:
            self.locked = True
            return b"ALARM:2\r\n[MSG:Reset to continue]\r\n"
        self.left = self.slow if target != self.position_mm else 0
        self.position_mm = target
        return b"ok\r\n"
