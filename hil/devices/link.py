"""One request, one answer, over a line that may lose, damage and invent bytes.

Deliberately not here: opening the line (`ports.py`) and what is asked (`serial_device.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from hil.devices.packets import ANSWER_BIT, LAST_SEQUENCE, Packet, PieceReader, Status, framed, unframed
from optics_sim.errors import PrivcamError

_DAMAGED = (Status.BAD_FRAMING, Status.BAD_CRC, Status.OVERSIZED)  # of a packet whose sequence number nobody knows


class Port(Protocol):
    """What is used of a pyserial port; `read` waits a short while at most."""

    def read(self, size: int = 1) -> bytes:
        """Returns at most `size` bytes."""
        ...

    def write(self, data: bytes) -> int | None:
        """Returns what pyserial returns; all bytes are on their way."""
        ...

    @property
    def in_waiting(self) -> int:
        """Returns the number of bytes that can be read at once."""
        ...


@dataclass
class LinkCounts:
    """What happened on the line: `resent` requests, of those `timed_out` without any answer, and `discarded` pieces."""

    requests: int = 0
    resent: int = 0
    timed_out: int = 0
    discarded: int = 0


class Link:
    """Asks over a port and retries: the device does no work twice for a sequence number it has just answered.

    `timeout_s` is waited for each of `tries` answers by `clock` (seconds, monotonic).
    """

    def __init__(self, port: Port, *, timeout_s: float, tries: int, clock: Callable[[], float]) -> None:
        self.counts = LinkCounts()
        self._port, self._timeout_s, self._tries, self._clock = port, timeout_s, tries, clock
        self._sequence = 0
        self._reader = PieceReader()

    def request(self, command: int, payload: bytes = b"", *, patience_s: float = 0.0) -> bytes:
        """Returns the payload of the answer; `patience_s` is waited in addition, for work that takes its time.

        Raises PrivcamError where the device refuses, does not answer, or its line breaks.
        """
        self._sequence = self._sequence % LAST_SEQUENCE + 1
        self.counts.requests += 1
        answer = self._answer(Packet(command, self._sequence, payload), self._timeout_s + patience_s)
        if answer.status != Status.OK:
            raise PrivcamError("the device refuses a request", got=f"{_name(answer.status)} to command {command}",
                               todo="see docs/firmware-protocol.md for what it means")
        return answer.payload

    def _answer(self, request: Packet, timeout_s: float) -> Packet:
        for attempt in range(self._tries):
            self.counts.resent += attempt > 0
            self._send(framed(request.to_bytes()))
            answer = self._wait(request, self._clock() + timeout_s)
            if answer is not None:
                return answer
        raise PrivcamError("the device does not answer", got=f"silence or damage after {self._tries} tries of {timeout_s:g} s",
                           todo="check wires, baud rate and power, and that privcam's firmware runs on it")

    def _send(self, data: bytes) -> None:
        try:
            self._port.write(data)
        except OSError as error:
            raise _broken(error) from error

    def _receive(self) -> list[bytes]:
        try:
            return self._reader.feed(self._port.read(max(1, self._port.in_waiting)))
        except OSError as error:
            raise _broken(error) from error

    def _wait(self, request: Packet, deadline_s: float) -> Packet | None:
        """Returns the answer to this very request, or None where it is time to send it again."""
        while self._clock() < deadline_s:
            packets = [packet for piece in self._receive() if (packet := self._packet(piece)) is not None]
            self.counts.discarded += len(packets)
            for answer in packets:
                if _answers(answer, request):
                    self.counts.discarded -= 1
                    return answer
            if any(answer.sequence == 0 and answer.status in _DAMAGED for answer in packets):
                return None
        self.counts.timed_out += 1
        return None

    def _packet(self, piece: bytes) -> Packet | None:
        data = unframed(piece)
        packet = None if data is None else Packet.from_bytes(data)
        self.counts.discarded += packet is None
        return packet


def _answers(answer: Packet, request: Packet) -> bool:
    return (answer.command, answer.sequence) == (request.command | ANSWER_BIT, request.sequence)


def _name(status: int) -> str:
    return Status(status).name if status in list(Status) else f"status {status}"


def _broken(error: OSError) -> PrivcamError:
    return PrivcamError("the line to the device broke", got=error, todo="plug it in again, and open the device anew")
