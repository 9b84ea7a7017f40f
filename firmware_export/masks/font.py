"""A dot-matrix alphabet of our own, five dots wide and seven high, so that a film can be read without any font.

Each dot is drawn as a separate square, so no letter has an island that a stencil would lose.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, ADVANCE = 5, 7, 6  # in dots

# Seven rows of each letter, two hexadecimal digits of five bits a row, the leftmost dot the highest bit.
_ROWS = {
    "A": "0E 11 11 1F 11 11 11", "B": "1E 11 11 1E 11 11 1E", "C": "0E 11 10 10 10 11 0E", "D": "1C 12 11 11 11 12 1C",
    "E": "1F 10 10 1E 10 10 1F", "F": "1F 10 10 1E 10 10 10", "G": "0E 11 10 17 11 11 0F", "H": "11 11 11 1F 11 11 11",
    "I": "0E 04 04 04 04 04 0E", "J": "07 02 02 02 02 12 0C", "K": "11 12 14 18 14 12 11", "L": "10 10 10 10 10 10 1F",
    "M": "11 1B 15 15 11 11 11", "N": "11 11 19 15 13 11 11", "O": "0E 11 11 11 11 11 0E", "P": "1E 11 11 1E 10 10 10",
    "Q": "0E 11 11 11 15 12 0D", "R": "1E 11 11 1E 14 12 11", "S": "0F 10 10 0E 01 01 1E", "T": "1F 04 04 04 04 04 04",
    "U": "11 11 11 11 11 11 0E", "V": "11 11 11 11 11 0A 04", "W": "11 11 11 15 15 15 0A", "X": "11 11 0A 04 0A 11 11",
    "Y": "11 11 11 0A 04 04 04", "Z": "1F 01 02 04 08 10 1F", "0": "0E 11 13 15 19 11 0E", "1": "04 0C 04 04 04 04 0E",
    "2": "0E 11 01 02 04 08 1F", "3": "1F 02 04 02 01 11 0E", "4": "02 06 0A 12 1F 02 02", "5": "1F 10 1E 01 01 11 0E",
    "6": "06 08 10 1E 11 11 0E", "7": "1F 01 02 04 08 08 08", "8": "0E 11 11 0E 11 11 0E", "9": "0E 11 11 0F 01 02 0C",
    " ": "00 00 00 00 00 00 00", ".": "00 00 00 00 00 0C 0C", "-": "00 00 00 1F 00 00 00", "/": "00 01 02 04 08 10 00",
    ":": "00 0C 0C 00 0C 0C 00", "_": "00 00 00 00 00 00 1F",
}


def dots(text: str) -> NDArray[np.bool_]:
    """Returns the dots [7, 6 * letters - 1] of a line; capitals only, and a letter that is not drawn becomes `-`."""
    rows = np.zeros((HEIGHT, max(ADVANCE * len(text) - 1, 0)), bool)
    for place, letter in enumerate(text.upper()):
        rows[:, place * ADVANCE:place * ADVANCE + WIDTH] = _letter(letter)
    return rows


def _letter(letter: str) -> NDArray[np.bool_]:
    rows = [int(row, 16) for row in _ROWS.get(letter, _ROWS["-"]).split()]
    return np.array([[row >> (WIDTH - 1 - column) & 1 for column in range(WIDTH)] for row in rows], bool)
