"""Opening a serial line by its name, and what the name tells about the other end.

Deliberately not here: rfc2217 and the other schemes of pyserial, which nobody has tried with a device.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

import serial

from optics_sim.errors import PrivcamError
from optics_sim.measure import Source

_POLL_S = 0.02  # the longest wait for a first byte before the clock is looked at again
_ALLOWED = "/dev/tty..., COM3, a pseudo-terminal (/dev/pts/N), socket://127.0.0.1:PORT"


def open_port(url: str, *, baud: int, allow_remote: bool) -> Any:
    """Returns an open pyserial port; a tty is held exclusively. Raises PrivcamError where it cannot be opened."""
    check_url(url, allow_remote=allow_remote)
    exclusive = {} if _is_socket(url) else {"exclusive": True}
    try:
        return serial.serial_for_url(url, baudrate=baud, timeout=_POLL_S, write_timeout=5.0, **exclusive)
    except (OSError, ValueError) as error:
        raise PrivcamError("the device's line cannot be opened", got=f"{url} ({error})", allowed=_ALLOWED,
                           todo="check the name, your permission (group dialout) and that no other program holds it") from error


def check_url(url: str, *, allow_remote: bool) -> None:
    """Raises PrivcamError for a name that is neither a tty nor a socket, or a socket of another machine unless allowed."""
    if _is_socket(url):
        _check_host(url, allow_remote)
    elif "://" in url or not url:
        raise PrivcamError("a name of a serial line", got=url, allowed=_ALLOWED)


def _check_host(url: str, allow_remote: bool) -> None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port:
        raise PrivcamError("a socket names a host and a port", got=url, allowed="socket://127.0.0.1:PORT")
    if not allow_remote and not _is_loopback(host):
        raise PrivcamError("frames would leave this machine without encryption", got=url, allowed="a loopback address",
                           todo="tunnel the port (ssh -L), or pass allow_remote=True on a network you trust")


def source_of(url: str, claimed: Source | None) -> Source:
    """Returns what the codes of this line are: "physical" for a tty, else "emulated" unless it is claimed to be physical.

    Raises PrivcamError where the claim cannot be: "simulated" is no device, and a pseudo-terminal has no wires.
    """
    is_pseudo = re.match(r"/dev/(pts/|pty)", url) is not None
    if claimed == "simulated" or (claimed == "physical" and is_pseudo):
        raise PrivcamError("the source of a device's codes", got=f"{claimed} over {url}", allowed="emulated" if is_pseudo
                           else "emulated or physical")
    return claimed or ("emulated" if is_pseudo or _is_socket(url) else "physical")


def _is_socket(url: str) -> bool:
    return url.lower().startswith("socket://")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
