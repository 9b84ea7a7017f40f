"""Gerber (RS-274X, X2 attributes) for stencils and photoplots: dark regions in millimetres with six decimals, which is 1 nm.

Reference: Ucamco, "The Gerber Layer Format Specification", revision 2022.02: 4.10 (regions), 5 (attributes).
"""

from __future__ import annotations

import re

import numpy as np

from firmware_export.masks.job import Job, corrupt
from firmware_export.masks.region import Integers, rectangles, ring_edges

HOW = "stencil: what is drawn is an opening; foil is what is left. No shrinking or rounding of the openings, no step and repeat"
_HEADER = ("%TF.GenerationSoftware,privcam*%", "%TF.FileFunction,Paste,Top*%", "%TF.FilePolarity,Positive*%", "%FSLAX46Y46*%",
           "%MOMM*%", "%LPD*%", "%ADD10C,0.001*%", "G01*")  # the aperture is never used; some readers want one
_POINT = re.compile(r"X(-?\d+)Y(-?\d+)D0([12])")
_HARMLESS = re.compile(r"G01|G04.*|M02|TF\..*|ADD10C,0\.001")


def write(job: Job) -> bytes:
    """Returns the file; y goes up."""
    lines = [_HEADER[0], f"G04 {job.title}*", *_HEADER[1:]]
    lines += [_region(*rectangle) for rectangle in rectangles(job.region).tolist()]
    return ("\n".join([*lines, "M02*"]) + "\n").encode("ascii")


def read(data: bytes) -> Integers:
    """Returns the edges of all dark regions; PrivcamError for any other unit, format or drawing."""
    commands = [command.strip() for command in data.decode("latin-1").replace("%", "").split("*")]
    if not {"FSLAX46Y46", "MOMM", "LPD", "M02"} <= set(commands):
        raise corrupt("it is not dark regions in nm, or ends too early")
    found: list[Integers] = [np.zeros((0, 3), np.int64)]
    points: list[tuple[int, int]] = []
    for command in commands:
        if match := _POINT.fullmatch(command):
            points = [*(points if match[3] == "1" else []), (int(match[1]), -int(match[2]))]
        elif command == "G37":
            if len(points) < 5 or points[0] != points[-1]:
                raise corrupt("a region is not closed", points[:1])
            found.append(ring_edges(np.array(points[:-1])))
        elif command not in ("", "G36", "FSLAX46Y46", "MOMM", "LPD") and not _HARMLESS.fullmatch(command):
            raise corrupt("it holds something else", command)
    return np.vstack(found)


def _region(left: int, top: int, right: int, bottom: int) -> str:
    corners = [(right, -top), (right, -bottom), (left, -bottom), (left, -top)]
    lines = "".join(f"X{x}Y{y}D01*\n" for x, y in corners)
    return f"G36*\nX{left}Y{-top}D02*\n{lines}G37*"
