"""Video from one coded image, learned and not: a decoder trained on ordinary video, judged on a benchmark it never saw.

Deliberately not here: what the numbers look like (`optics_sim.report.snapshot_table`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optics_sim.attacks.evaluate import digest_of
from optics_sim.attacks.snapshot import gap_tv, measured
from optics_sim.attacks.snapshot_decoder import SnapshotDecoder, decode_snapshots, save_decoder
from optics_sim.attacks.snapshot_training import SnapshotPlan, SnapshotTraining, train_snapshot_decoder
from optics_sim.data.gray_videos import load_gray_videos
from optics_sim.data.snapshot_benchmark import SnapshotBenchmark
from optics_sim.plain import Plain
from optics_sim.report.metrics import psnr, ssim
from optics_sim.sensor.coded import per_open_slot
from optics_sim.tables.work import Say

DECODER = "decoder.safetensors"
SAY_EVERY_S = 20.0


class SnapshotSetting(Plain):
    """What a run learns from, what it is judged on, and how it is trained."""

    videos: str
    benchmark: str
    plan: SnapshotPlan = SnapshotPlan()
    device: str = "cpu"


class Recovered(NamedTuple):
    """What one method made of one video: clips [n, slots, H, W], the seconds an image took, PSNR in dB and SSIM per frame."""

    clips: NDArray[np.float32]
    seconds: float
    psnr: NDArray[np.float64]
    ssim: NDArray[np.float64]


Judged = dict[str, dict[str, Recovered]]
"""By video, then by method: `mean frame` (no code), `gap_tv`, `decoder`, `wrong code` (the decoder with a mirrored one)."""


def trained(setting: SnapshotSetting, benchmark: SnapshotBenchmark, out: Path, say: Say) -> SnapshotDecoder:
    """Returns the decoder of a setting, trained on from where its folder's checkpoint is, and kept there."""
    videos = [torch.from_numpy(video) for video in load_gray_videos(setting.videos).values()]
    bits = torch.from_numpy(benchmark.bits).float()
    say(f"learning from {len(videos)} videos, {sum(map(len, videos))} frames")
    key = digest_of(setting.plan.model_dump(mode="json"), tensors=[bits, *videos])[:12]
    training = SnapshotTraining(videos, bits.to(setting.device), setting.plan)
    decoder = train_snapshot_decoder(training, checkpoint=out / f"training-{key}.safetensors", on_step=_teller(setting.plan.steps, say))
    save_decoder(decoder, out / DECODER)
    return decoder


def _teller(steps: int, say: Say) -> Callable[[int, float], None]:
    """Returns what says the mean loss now and then, and about how long the rest will take."""
    losses: list[float] = []
    begun = spoke = time.monotonic()
    first: int | None = None

    def tell(step: int, loss: float) -> None:
        nonlocal begun, spoke, first
        losses.append(loss)
        now = time.monotonic()
        if first is None:  # a lesson was prepared, and maybe something compiled: no measure of what follows
            begun, spoke, first = now, now, step
        if step == steps or now - spoke > SAY_EVERY_S:
            left_s = (now - begun) / max(step - first, 1) * (steps - step)
            say(f"step {step} of {steps}, L1 {sum(losses) / len(losses):.4f}, about {left_s / 60:.0f} min left")
            losses.clear()
            spoke = now

    return tell


# --- judging --------------------------------------------------------------------------------------
@torch.no_grad()
def judged(decoder: SnapshotDecoder, benchmark: SnapshotBenchmark, device: str, say: Say) -> Judged:
    """Returns what every method makes of every video of a benchmark, one image at a time."""
    bits = torch.from_numpy(benchmark.bits).float().to(device)
    found: Judged = {}
    for name, frames in benchmark.clips.items():
        truth = torch.from_numpy(frames).float() / 255
        images = measured(truth.to(device), bits)
        methods = {"mean frame": lambda image: per_open_slot(image, bits).unsqueeze(-3).expand(-1, len(bits), -1, -1),
                   "gap_tv": lambda image: gap_tv(image, bits), "decoder": lambda image: decode_snapshots(decoder, image, bits),
                   "wrong code": lambda image: decode_snapshots(decoder, image, bits.flip(-1))}
        found[name] = {method: _recovered(recover, images, truth) for method, recover in methods.items()}
        say(f"{name}: GAP-TV {found[name]['gap_tv'].psnr.mean():.2f} dB, decoder {found[name]['decoder'].psnr.mean():.2f} dB")
    return found


def _recovered(recover: Callable[[Tensor], Tensor], images: Tensor, truth: Tensor) -> Recovered:
    begun = time.perf_counter()
    clips = torch.cat([recover(image).cpu() for image in images.split(1)])
    seconds = (time.perf_counter() - begun) / len(images)
    pairs = clips.flatten(0, 1).numpy(), truth.flatten(0, 1).numpy()
    return Recovered(clips.numpy(), seconds, psnr(*pairs), ssim(*pairs))
