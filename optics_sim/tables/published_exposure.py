"""What papers say of coded exposure, as orderings between rows: other data and networks, so never numbers side by side.

How sure: SnapPix's table and the unified framework's figures were read from their repositories' logs and pages; that codes beat
long and short exposures is the abstracts' claim.
"""

from __future__ import annotations

from optics_sim.tables.published_clips import OURS, Ordering

OKAWARA = "Okawara et al., ICCP 2020"
SNAPPIX = "SnapPix, DAC 2025"
UNIFIED = "Shedligeri et al., WACV 2021"

ORDERINGS = (
    Ordering("accuracy", "tile", "long", "a learned code tells more of the action than a long exposure", OKAWARA),
    Ordering("accuracy", "tile", "short", "a learned code tells more of the action than a short exposure", OKAWARA),
    Ordering("accuracy", "tile", "random tile", "learning the code helps", OKAWARA),
    Ordering("accuracy", "video", "tile", "sixteen frames tell more than one image in a shift-variant network", SNAPPIX),
    Ordering("accuracy", "decorrelated", "random tile", "codes that decorrelate a tile's pixels tell more", SNAPPIX),
    Ordering("inverted/psnr", "random tile", "flutter", "codes per pixel are undone better than a fluttering shutter", UNIFIED),
    Ordering("inverted/psnr", "tile for video", "random tile", "a code learned for the video is undone better", UNIFIED),
    Ordering("accuracy", "tile", "tile same people", "a code learns more from people whom its network does not know", OURS),
    Ordering("accuracy", "tile", "random slots", "which slots are open matters, not only how many", OURS),
    Ordering("strongest", "video", "tile", "one coded image tells less of who it is than the video", OURS),
    Ordering("strongest", "tile", "tile against adversary", "training against an adversary takes identity away", OURS),
    Ordering("accuracy", "tile", "bump", "fewer allowed codes cost accuracy", OURS),
    Ordering("accuracy", "tile", "tile by frames", "summing frames after reading costs accuracy", OURS),
    Ordering("strongest", "tile", "mask and tile", "a mask in front takes identity away", OURS),
    Ordering("accuracy", "mask and tile", "mask", "a code behind the mask tells more of the action", OURS),
)
