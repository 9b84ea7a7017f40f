"""A learned decoder of coded images: GAP-TV, mended by a small network that treats all slots alike.

The attacker knows the code. He starts from the clip that GAP-TV is on the way to. Each stage shows the network the code and what
the clip lacks of the measurement; the last clip is brought into agreement, so that it never contradicts what was seen.
Deliberately not here: training (`snapshot_training`).
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn

from optics_sim.attacks.snapshot import agreeing, first_guess, gap_tv, measured
from optics_sim.errors import PrivcamError
from optics_sim.learning import checkpoint as store
from optics_sim.sensor.coded import per_open_slot

START_ITERATIONS = 20
"""Half of what GAP-TV takes by itself: the network makes up for the rest."""
DEVIATION_GAIN, LACKING_GAIN = 4.0, 10.0
"""Bring a clip's distance from its mean frame, and from its measurement, to the size of the other planes."""
PLANES = 5


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv3d(width, width, 3, 1, 1), _framewise(width, width)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.second(F.relu(self.first(features)))


class _Mender(nn.Module):
    """A residual U-Net of two scales at half resolution, convolved over slots, rows and columns: what a stage adds to the clip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fine = nn.Sequential(_framewise(4 * PLANES, width), _Residual(width))
        self.coarse = nn.Sequential(_framewise(width, 2 * width), _Residual(2 * width), nn.Conv3d(2 * width, width, 1))
        self.joined = _Residual(width)
        self.last = _framewise(width, 4)

    def forward(self, planes: Tensor) -> Tensor:
        """Returns clips [n, slots, H, W] of planes [n, slots, PLANES, H, W]."""
        halved = F.pixel_unshuffle(planes, 2).transpose(1, 2).contiguous(memory_format=torch.channels_last_3d)
        fine = self.fine(halved)
        coarse = self.coarse(F.avg_pool3d(fine, (1, 2, 2)))
        joined = self.joined(fine + F.interpolate(coarse, scale_factor=(1.0, 2.0, 2.0)))
        return F.pixel_shuffle(self.last(joined).transpose(1, 2), 2).squeeze(2)


def _framewise(inputs: int, outputs: int) -> nn.Conv3d:
    return nn.Conv3d(inputs, outputs, (1, 3, 3), 1, (0, 1, 1))


class SnapshotDecoder(nn.Module):
    """Clips from coded images and their code, for any code, number of slots and size (multiples of 4).

    Reference: the unrolled projection of Meng, Jalali and Yuan, GAP-net (arXiv 2012.08364); ours starts from
    GAP-TV, shows each stage the code and what is lacking, and shares its weights among the slots.
    """

    def __init__(self, width: int = 32, stages: int = 1) -> None:
        super().__init__()
        self.width = width
        self.stages = nn.ModuleList(_Mender(width) for _ in range(stages))
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # torch's stubs lack it

    def forward(self, measurement: Tensor, bits: Tensor, start: Tensor) -> Tensor:
        """Returns clips [n, slots, H, W] from measurements [n, H, W], bits [slots, H, W] and a first clip."""
        clip, mean = start, per_open_slot(measurement, bits).unsqueeze(-3)
        for stage in self.stages:
            lacking = measurement - measured(clip, bits)
            share, lit = per_open_slot(lacking, bits).unsqueeze(-3), first_guess(lacking, bits)
            planes = (DEVIATION_GAIN * (clip - mean), bits - 0.5, mean - 0.5, LACKING_GAIN * lit, LACKING_GAIN * share)
            clip = clip + lit + stage(torch.stack([plane.expand_as(clip) for plane in planes], -3))
        return agreeing(clip, measurement, bits)


def started(measurement: Tensor, bits: Tensor) -> Tensor:
    """Returns the clips [n, slots, H, W] a decoder starts from."""
    return gap_tv(measurement, bits, START_ITERATIONS)


@torch.no_grad()
def decode_snapshots(decoder: SnapshotDecoder, measurement: Tensor, bits: Tensor) -> Tensor:
    """Returns the decoder's clips [n, slots, H, W] of measurements [n, H, W], clamped to 0 to 1."""
    if any(side % 4 for side in measurement.shape[-2:]):
        raise PrivcamError("the decoder halves an image twice", got=tuple(measurement.shape), allowed="sides that are multiples of 4",
                           todo="cut image and code to such a size")
    return torch.cat([decoder(one, bits, started(one, bits)) for one in measurement.split(1)]).clamp(0, 1)


def save_decoder(decoder: SnapshotDecoder, path: Path) -> None:
    """Writes a decoder as one safetensors file."""
    store.save(path, {"width": decoder.width, "stages": len(decoder.stages), "weights": decoder.state_dict()})


def load_decoder(path: Path) -> SnapshotDecoder:
    """Returns the decoder that `save_decoder` wrote, ready to decode; PrivcamError for another file."""
    try:
        state = store.load(path)
        decoder = SnapshotDecoder(state["width"], state["stages"])
        decoder.load_state_dict(state["weights"])
    except (OSError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise PrivcamError("no decoder of coded images", got=f"{path}: {error}", allowed="a file that `privcam snapshot` made",
                           todo="train one") from None
    return decoder.eval()
