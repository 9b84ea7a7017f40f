"""Published numbers of the lensless paper, for their own column: other data, other network, never compared one to one.

Reference: Nguyen Canh, Ngo, Nagahara, IEEE Access 11 (2023), as printed in Nagahara, "Designing a Camera for
Privacy Preserving" (talk paper). The printed header of the recognition table is damaged: that its first three columns
are MS-Celeb at 63/32, 127/32 and 127/64 is inferred from its row of coded ratios. In the mask table the order
(blurriness, aperture) is inferred from the example slide.
"""

from __future__ import annotations

SOURCE = "IEEE Access 2023, MS-Celeb-1M, 10 people (column assignment inferred)"

ACCURACY: dict[tuple[int, int], dict[str, float]] = {
    (63, 32): {"pinhole": 98.57, "open": 76.88, "random": 74.77, "lwoc": 92.36, "sim": 93.12, "tv": 93.23, "inv": 85.78,
               "rip": 91.12},
    (127, 32): {"pinhole": 98.51, "open": 92.74, "random": 92.58, "lwoc": 99.17, "sim": 99.02, "tv": 99.04, "inv": 92.38,
                "rip": 95.18},
    (127, 64): {"pinhole": 99.35, "open": 77.96, "random": 78.52, "lwoc": 95.77, "sim": 91.11, "tv": 96.18, "inv": 84.54,
                "rip": 93.20},
}

# (blurriness, aperture ratio); the fixed patterns' numbers are from the example slide, at one size
MASKS: dict[tuple[int, int], dict[str, tuple[float, float]]] = {
    (63, 32): {"pinhole": (0.357, 0.001), "open": (0.723, 1.0), "random": (0.617, 0.510), "lwoc": (0.721, 0.111),
               "tv": (0.128, 0.254), "inv": (0.808, 0.778), "rip": (0.563, 0.195)},
    (127, 32): {"lwoc": (0.788, 0.044), "tv": (0.371, 0.356), "inv": (0.801, 0.660), "rip": (0.706, 0.183)},
    (127, 64): {"lwoc": (0.840, 0.042), "tv": (0.751, 0.566), "inv": (0.963, 0.962), "rip": (0.704, 0.063)},
}

# "first above second" in recognition, as the paper's hard setting (63/32) shows it
ORDERINGS: tuple[tuple[str, str], ...] = (
    ("pinhole", "lwoc"), ("pinhole", "random"), ("lwoc", "random"), ("lwoc", "open"), ("sim", "random"), ("tv", "random"),
    ("inv", "random"), ("rip", "random"), ("lwoc", "rip"), ("lwoc", "inv"), ("rip", "inv"), ("random", "open"),
)
# of which the printed table itself holds the last only at 127/64; it is listed because both are often said to be equal
