"""Published numbers of the video systems, for their own column: other data and networks, never compared one to one.

Reference: BDQ, ALF and low resolution as collected by Ilic et al., CVPR 2024 (the repository's table), on KTH (6 actions,
25 people). How sure: read from that repository, not from the BDQ paper itself. Which rows stand for which is ours.
"""

from __future__ import annotations

from typing import NamedTuple

SOURCE = "KTH: Kumawat and Nagahara 2022, as collected by Ilic et al. 2024 (other data, larger networks)"

OURS = "no paper: our expectation"

# label -> (action accuracy, identity accuracy)
KTH: dict[str, tuple[float, float]] = {
    "raw": (0.9015, 0.9187), "BDQ": (0.9111, 0.0715), "degrader": (0.8589, 0.1927), "low resolution 4": (0.9122, 0.8886),
    "low resolution 8": (0.8557, 0.8256), "low resolution 16": (0.5621, 0.5835), "motion noise": (0.8867, 0.0546),
}


class Ordering(NamedTuple):
    """That one row's measure is above another's: what is said of it, and by whom."""

    measure: str
    above: str
    below: str
    says: str
    who: str = "the paper"


ORDERINGS = (
    Ordering("strongest", "raw", "BDQ", "BDQ takes identity away"),
    Ordering("accuracy", "BD", "B", "the difference carries the action"),
    Ordering("accuracy", "BDQ", "BQ", "the difference carries the action"),
    Ordering("strongest", "B", "BD", "the difference takes some identity"),
    Ordering("strongest", "BD", "BDQ", "quantisation takes identity"),
    Ordering("strongest", "D", "DQ", "quantisation takes identity"),
    Ordering("strongest", "low resolution 4", "BDQ", "low resolution keeps identity"),
    Ordering("trade", "BDQ", "raw", "BDQ trades better than no encoder"),
    Ordering("trade", "BDQ", "low resolution 4", "BDQ trades better than low resolution"),
    Ordering("trade", "BDQ", "low resolution 8", "BDQ trades better than low resolution"),
    Ordering("trade", "BDQ", "low resolution 16", "BDQ trades better than low resolution"),
    Ordering("trade", "BDQ", "degrader", "BDQ trades better than a learned degrader"),
    Ordering("identity/sum frames:small", "D", "BDQ", "blur and quantiser hinder who adds the codes up", OURS),
    Ordering("identity/sum frames:small", "BDQ", "BDQ against sums", "training against who adds the codes up takes that attack away", OURS),
    Ordering("strongest", "BDQ", "BDQ against sums", "and the strongest attack", OURS),
    Ordering("strongest", "BDQ", "BDQ 4 levels", "fewer levels take identity away", OURS),
)
