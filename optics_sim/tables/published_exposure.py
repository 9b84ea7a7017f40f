"""What papers say of coded exposure, as orderings between rows: other data and networks, so never numbers side by side.

How sure: SnapPix's table and the unified framework's figures were read from their repositories' logs and pages; that codes beat
long and short exposures is the abstracts' claim.
"""

from __future__ import annotations

OKAWARA = "Okawara et al., ICCP 2020"
SNAPPIX = "SnapPix, DAC 2025"
UNIFIED = "Shedligeri et al., WACV 2021"
OURS = "no paper: our expectation"

# (measure, above, below, what is said, who says it)
ORDERINGS: tuple[tuple[str, str, str, str, str], ...] = (
    ("accuracy", "tile", "long", "a learned code tells more of the action than a long exposure", OKAWARA),
    ("accuracy", "tile", "short", "a learned code tells more of the action than a short exposure", OKAWARA),
    ("accuracy", "tile", "random tile", "learning the code helps", OKAWARA),
    ("accuracy", "video", "tile", "sixteen frames tell more than one image read by a shift-variant network (41.7 against 26.1)", SNAPPIX),
    ("accuracy", "decorrelated", "random tile", "codes that decorrelate a tile's pixels tell more", SNAPPIX),
    ("inverted/psnr", "random tile", "flutter", "codes per pixel are undone better than a fluttering shutter", UNIFIED),
    ("inverted/psnr", "tile for video", "random tile", "a code learned for the video is undone better", UNIFIED),
    ("strongest", "video", "tile", "one coded image tells less of who it is than the video", OURS),
    ("strongest", "tile", "tile against adversary", "training against an adversary takes identity away", OURS),
    ("accuracy", "tile", "bump", "fewer allowed codes cost accuracy", OURS),
    ("accuracy", "tile", "tile by frames", "summing frames after reading costs accuracy", OURS),
    ("strongest", "tile", "mask and tile", "a mask in front takes identity away", OURS),
    ("accuracy", "mask and tile", "mask", "a code behind the mask tells more of the action", OURS),
)
