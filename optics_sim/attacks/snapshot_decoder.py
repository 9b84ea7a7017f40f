"""A learned decoder of coded images: unrolled projections with a small network, trained on other people's video.

The attacker knows the code and owns video of his own. He starts from a few iterations of GAP-TV; each stage lets a network
mend the clip and then brings it back into agreement with the measurement, so that it never contradicts what was seen.
Deliberately not here: the benchmark it is judged on (never trained on), and reading videos.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optics_sim.attacks.snapshot import agreeing, gap_tv, measured
from optics_sim.errors import PrivcamError
from optics_sim.learning import checkpoint as store
from optics_sim.learning.recognisers import initialise
from optics_sim.learning.schedule import cosine
from optics_sim.learning.seeds import torch_generator
from optics_sim.sensor.coded import per_open_slot

START_ITERATIONS = 12
LEARNING_RATE = 1e-3
BATCH = 8
CROP = 64
STILL_SHARE = 0.3
"""Of the training clips that are one picture moved evenly: real video of people holds little fast motion."""


class _Mender(nn.Module):
    """A U-Net of two scales at half resolution: what a stage adds to the clip."""

    def __init__(self, slots: int, width: int) -> None:
        super().__init__()
        self.first = _double(4 * (2 * slots + 1), width)
        self.second = _double(width, 2 * width)
        self.back = _double(3 * width, width)
        self.last = nn.Conv2d(width, 4 * slots, 3, 1, 1)

    def forward(self, planes: Tensor) -> Tensor:
        fine = self.first(F.pixel_unshuffle(planes, 2))
        coarse = self.second(F.avg_pool2d(fine, 2))
        joined = torch.cat([fine, F.interpolate(coarse, scale_factor=2.0)], 1)
        return F.pixel_shuffle(self.last(self.back(joined)), 2)


class SnapshotDecoder(nn.Module):
    """Clips from coded images and their code, for one number of slots and any code and size (multiples of 4).

    Reference: the unrolled projection of Meng, Jalali and Yuan, GAP-net (arXiv 2012.08364); ours starts from
    GAP-TV and shows each stage the code.
    """

    def __init__(self, slots: int = 8, width: int = 48, stages: int = 2) -> None:
        super().__init__()
        self.stages = nn.ModuleList(_Mender(slots, width) for _ in range(stages))

    def forward(self, measurement: Tensor, bits: Tensor, start: Tensor) -> Tensor:
        """Returns clips [n, slots, H, W] from measurements [n, H, W], bits [slots, H, W] and a first clip."""
        clip = start
        shown = torch.cat([bits.expand_as(start), per_open_slot(measurement, bits).unsqueeze(-3)], -3)
        for stage in self.stages:
            clip = agreeing(clip + stage(torch.cat([clip, shown], -3)), measurement, bits)
        return clip


def _double(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 1, 1), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, 1, 1), nn.ReLU())


@torch.no_grad()
def decode_snapshots(decoder: SnapshotDecoder, measurement: Tensor, bits: Tensor) -> Tensor:
    """Returns the decoder's clips [n, slots, H, W] of measurements [n, H, W], clamped to 0 to 1."""
    return torch.cat([decoder(one, bits, _start(one, bits)) for one in measurement.split(1)]).clamp(0, 1)


def _start(measurement: Tensor, bits: Tensor) -> Tensor:
    return gap_tv(measurement, bits, START_ITERATIONS)


# --- training -------------------------------------------------------------------------------------
class SnapshotTraining:
    """The training of a decoder: L1 to the true clip, Adam with a cosine; its whole state can be saved and restored.

    `videos` are gray clips [T, H, W] in 0 to 1; `bits` [slots, H, W] the code, of which each batch sees another part.
    Each step draws from a generator of its own number, so that a resumed training ends as an unbroken one.
    """

    def __init__(self, videos: list[Tensor], bits: Tensor, *, steps: int, seed: int = 0, width: int = 48, crop: int = CROP) -> None:
        if crop % 4 or not videos or any(min(video.shape[-2:]) < crop or len(video) < len(bits) for video in videos):
            raise PrivcamError("the videos are too small to train on", got=[tuple(video.shape) for video in videos],
                               allowed=f"{len(bits)} frames of {crop} x {crop} or more, crop a multiple of 4", todo="take a smaller crop")
        self.videos, self.bits, self.steps, self.seed, self.crop, self.step = videos, bits, steps, seed, crop, 0
        self.decoder = SnapshotDecoder(len(bits), width)
        initialise(self.decoder, torch_generator(seed, "snapshot", "weights"))
        for stage in self.decoder.stages:
            nn.init.zeros_(stage.last.weight)  # type: ignore[arg-type,union-attr]  # ModuleList forgets its items' type
        self.optimiser = torch.optim.Adam(self.decoder.parameters(), LEARNING_RATE)

    def advance(self) -> float:
        """Returns the loss of one more step."""
        generator = torch_generator(self.seed, "snapshot", self.step)
        truth = torch.stack([training_clip(self.videos, len(self.bits), self.crop, generator) for _ in range(BATCH)])
        bits = _window(self.bits, self.crop, generator)
        image = measured(truth, bits)
        loss = F.l1_loss(self.decoder(image, bits, _start(image, bits)), truth)
        self.optimiser.param_groups[0]["lr"] = LEARNING_RATE * cosine(self.step, self.steps)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.step += 1
        return float(loss.detach())

    def state(self) -> dict[str, object]:
        """Returns all that `restore` needs."""
        return {"step": self.step, "decoder": self.decoder.state_dict(), "optimiser": self.optimiser.state_dict()}

    def restore(self, state: dict[str, object]) -> None:
        """Puts a training back to where `state` was taken."""
        self.step = int(state["step"])  # type: ignore[call-overload]  # written by `state`
        self.decoder.load_state_dict(state["decoder"])  # type: ignore[arg-type]
        self.optimiser.load_state_dict(state["optimiser"])  # type: ignore[arg-type]


def train_snapshot_decoder(training: SnapshotTraining, *, checkpoint: Path | None = None, every: int = 100,
                           on_step: Callable[[int, float], None] | None = None) -> SnapshotDecoder:
    """Returns the decoder at the end of a training, resumed from `checkpoint` where there is one and saved there."""
    if checkpoint is not None and checkpoint.exists():
        training.restore(store.load(checkpoint))
    while training.step < training.steps:
        loss = training.advance()
        if on_step is not None:
            on_step(training.step, loss)
        if checkpoint is not None and (training.step % every == 0 or training.step == training.steps):
            store.save(checkpoint, training.state())
    return training.decoder.eval()


def training_clip(videos: list[Tensor], slots: int, crop: int, generator: torch.Generator) -> Tensor:
    """Returns one clip [slots, crop, crop]: a piece of a video, turned, mirrored and reversed, or a picture that moves."""
    video = videos[_below(len(videos), generator)]
    if _below(1000, generator) < 1000 * STILL_SHARE:
        clip = _moved(video[_below(len(video), generator)], slots, crop, generator)
    else:
        stride = 1 + _below(min(3, (len(video) - 1) // max(slots - 1, 1)), generator)
        first = _below(len(video) - stride * (slots - 1), generator)
        clip = _window(video[first : first + stride * (slots - 1) + 1 : stride], crop, generator)
    for axis in (0, 1, 2):
        clip = clip.flip(axis) if _below(2, generator) else clip
    return clip.transpose(1, 2) if _below(2, generator) else clip


def _moved(picture: Tensor, slots: int, crop: int, generator: torch.Generator) -> Tensor:
    """Returns a picture seen through a window that moves evenly by up to 3 pixels a slot, with subpixel steps."""
    speed = 6 * torch.rand(2, generator=generator) - 3
    corner = torch.rand(2, generator=generator) * (torch.tensor(picture.shape) - crop)
    slot = torch.arange(slots)[:, None]
    top_left = (corner + slot * speed).clamp(min=0).minimum(torch.tensor(picture.shape) - crop)
    rows, columns = ((top_left[:, axis, None] + torch.arange(crop)) * 2 / (picture.shape[axis] - 1) - 1 for axis in (0, 1))
    places = torch.stack([columns[:, None, :].expand(slots, crop, crop), rows[:, :, None].expand(slots, crop, crop)], -1)
    return F.grid_sample(picture.expand(slots, 1, *picture.shape), places, padding_mode="border", align_corners=True)[:, 0]


def _window(stack: Tensor, crop: int, generator: torch.Generator) -> Tensor:
    top, left = (_below(int(size) - crop + 1, generator) for size in stack.shape[-2:])
    return stack[..., top : top + crop, left : left + crop]


def _below(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))
