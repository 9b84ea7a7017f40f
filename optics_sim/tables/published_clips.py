"""Published numbers of the video systems, for their own column: other data and networks, never compared one to one.

Reference: BDQ, ALF and low resolution as collected by Ilic et al., CVPR 2024 (the repository's table), on KTH (6 actions,
25 people). How sure: read from that repository, not from the BDQ paper itself. Which rows stand for which is ours.
"""

from __future__ import annotations

SOURCE = "KTH: Kumawat and Nagahara 2022, as collected by Ilic et al. 2024 (other data, larger networks)"

# label -> (action accuracy, identity accuracy)
KTH: dict[str, tuple[float, float]] = {
    "raw": (0.9015, 0.9187), "BDQ": (0.9111, 0.0715), "degrader": (0.8589, 0.1927), "low resolution 4": (0.9122, 0.8886),
    "low resolution 8": (0.8557, 0.8256), "low resolution 16": (0.5621, 0.5835), "motion noise": (0.8867, 0.0546),
}

# (measure, above, below, what the paper says)
ORDERINGS: tuple[tuple[str, str, str, str], ...] = (
    ("strongest", "raw", "BDQ", "BDQ takes identity away"),
    ("accuracy", "BD", "B", "the difference carries the action"),
    ("accuracy", "BDQ", "BQ", "the difference carries the action"),
    ("strongest", "B", "BD", "the difference takes some identity"),
    ("strongest", "BD", "BDQ", "quantisation takes identity"),
    ("strongest", "D", "DQ", "quantisation takes identity"),
    ("strongest", "low resolution 4", "BDQ", "low resolution keeps identity"),
    ("trade", "BDQ", "raw", "BDQ trades better than no encoder"),
    ("trade", "BDQ", "low resolution 4", "BDQ trades better than low resolution"),
    ("trade", "BDQ", "low resolution 8", "BDQ trades better than low resolution"),
    ("trade", "BDQ", "low resolution 16", "BDQ trades better than low resolution"),
    ("trade", "BDQ", "degrader", "BDQ trades better than a learned degrader"),
)
