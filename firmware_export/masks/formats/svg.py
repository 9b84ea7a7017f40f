"""SVG at 1:1: millimetres on the page and in the numbers, one path filled by the even-odd rule."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np

from firmware_export.masks.job import Job, corrupt
from firmware_export.masks.region import Integers, ring_edges, rings

HOW = "film: print at 100 %, in black without screening or smoothing; the drawing's unit is the millimetre"
_NAMESPACE = "{http://www.w3.org/2000/svg}"
_TOKEN = re.compile(r"[MHVZ]|-?\d+(?:\.\d+)?|\S")


def write(job: Job) -> bytes:
    """Returns the file: the page is the sheet with its bleed."""
    height, width = (mm(2 * half) for half in job.bleed_nm)
    path = "".join(_path(ring + np.array([job.bleed_nm[1], job.bleed_nm[0]])) for ring in rings(job.region))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}mm" height="{height}mm" viewBox="0 0 {width} {height}">\n'
            f'<title>{job.title}</title>\n'
            f'<path fill="#000" fill-rule="evenodd" shape-rendering="crispEdges" d="{path}"/>\n</svg>\n').encode()


def mm(length_nm: int) -> str:
    """Returns whole nanometres in millimetres, exact."""
    whole, rest = divmod(abs(length_nm), 10**6)
    return f"{'-' if length_nm < 0 else ''}{whole}.{rest:06d}".rstrip("0").rstrip(".")


def to_nm(text: str) -> int:
    """Returns millimetres in whole nanometres; PrivcamError where they are not whole."""
    match = re.fullmatch(r"(-?)(\d*)(?:\.(\d{0,6})0*)?", text)
    if match is None or not text.strip("-."):
        raise corrupt("a number is not whole nanometres", text)
    sign, whole, rest = match.groups()
    return (-1 if sign else 1) * (int(whole or 0) * 10**6 + int((rest or "").ljust(6, "0")))


def read(data: bytes) -> Integers:
    """Returns the edges of the one path; PrivcamError where page and drawing have different scales."""
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise corrupt("it is no XML", error) from None
    width, height = root.get("width", ""), root.get("height", "")
    if root.get("viewBox") != f"0 0 {width.removesuffix('mm')} {height.removesuffix('mm')}" or not width.endswith("mm"):
        raise corrupt("its scale is not 1:1", f"{width} x {height}, viewBox {root.get('viewBox')}")
    paths = root.findall(f"{_NAMESPACE}path")
    if len(paths) != 1 or paths[0].get("fill-rule") != "evenodd":
        raise corrupt("it is not one path", len(paths))
    page = np.array([to_nm(width.removesuffix("mm")), to_nm(height.removesuffix("mm"))])
    found = [ring_edges(ring - page // 2) for ring in _rings(paths[0].get("d", ""))]
    return np.vstack([np.zeros((0, 3), np.int64), *found])


def _path(ring: Integers) -> str:
    """Returns one ring that starts with a horizontal step, as every ring of ours or its reverse does."""
    points = ring.tolist()
    if points[0][1] != points[1][1]:
        points = points[1:] + points[:1]
    steps = (f"H{mm(x)}" if place % 2 else f"V{mm(y)}" for place, (x, y) in enumerate(points[1:], 1))
    return f"M{mm(points[0][0])} {mm(points[0][1])}{''.join(steps)}Z"


def _rings(path: str) -> list[Integers]:
    tokens = iter(_TOKEN.findall(path))
    found: list[Integers] = []
    points: list[tuple[int, int]] = []
    try:
        for token in tokens:
            if token == "M":
                points = [(to_nm(next(tokens)), to_nm(next(tokens)))]
            elif token == "H":
                points.append((to_nm(next(tokens)), points[-1][1]))
            elif token == "V":
                points.append((points[-1][0], to_nm(next(tokens))))
            elif token == "Z":
                found.append(np.array(points, np.int64))
            else:
                raise corrupt("its path holds something else", token)
    except (StopIteration, IndexError):
        raise corrupt("its path is cut") from None
    return found
