"""The training of a decoder of coded images, on other people's video and on motion made from it.

Deliberately not here: the benchmark it is judged on (never trained on), and reading videos.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from optics_sim.attacks.snapshot import measured
from optics_sim.attacks.snapshot_clips import below, training_clip, window
from optics_sim.attacks.snapshot_decoder import SnapshotDecoder, started
from optics_sim.errors import PrivcamError
from optics_sim.experiment import ExperimentFile
from optics_sim.learning import checkpoint as store
from optics_sim.learning.recognisers import initialise
from optics_sim.learning.schedule import cosine, warm_up
from optics_sim.learning.seeds import torch_generator
from optics_sim.learning.train import half_where_asked

LESSON_BATCHES, LESSON_STEPS = 8, 64
"""GAP-TV costs as much as a step of the network, so its clips are seen eight times, mirrored or turned otherwise each time."""
STARTED_AT_ONCE = 16
BRANCH_GAIN = 0.3
"""Of a residual branch's first weights: each adds little to what it is given."""


class SnapshotPlan(ExperimentFile):
    """How a decoder is trained."""

    steps: int = Field(4000, ge=1, description="of Adam down the L1 distance, with warm-up and cosine decay")
    batch: int = Field(8, ge=1, description="clips in a step")
    crop: int = Field(64, ge=8, multiple_of=4, description="side of a clip in pixels")
    width: int = Field(32, ge=1, description="channels of the network")
    stages: int = Field(1, ge=1, description="networks one after the other, each shown what is still lacking")
    learning_rate: float = Field(2e-3, gt=0, description="at its highest; twice as much does not converge")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of the network; the projections are always float32")
    seed: int = Field(0, ge=0, description="of weights and clips")


class _Lesson:
    """Clips, their measurements and what GAP-TV makes of them, through one window of the code."""

    def __init__(self, videos: list[Tensor], code: Tensor, plan: SnapshotPlan, generator: torch.Generator) -> None:
        clips = [training_clip(videos, len(code), plan.crop, generator) for _ in range(LESSON_BATCHES * plan.batch)]
        self.bits, self.truth = window(code, plan.crop, generator), torch.stack(clips).to(code.device)
        self.image = measured(self.truth, self.bits)
        self.start = torch.cat([started(some, self.bits) for some in self.image.split(STARTED_AT_ONCE)])

    def drawn(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns (truth, image, bits, start) of some clips, all mirrored, turned or reversed together."""
        some = torch.randperm(len(self.truth), generator=generator)[:count].to(self.truth.device)
        axes = [axis for axis in (-1, -2) if below(2, generator)]
        turned, reverse = below(2, generator), [-3] if below(2, generator) else []

        def placed(values: Tensor, flips: list[int]) -> Tensor:
            return (values.transpose(-1, -2) if turned else values).flip(flips)

        image = placed(self.image[some], axes)
        truth, bits, start = (placed(values, axes + reverse) for values in (self.truth[some], self.bits, self.start[some]))
        return truth, image, bits, start


class SnapshotTraining:
    """The training of a decoder: L1 to the true clip, Adam with a cosine; its whole state can be saved and restored.

    `videos` are gray clips [T, H, W] in 0 to 1, on the CPU; `bits` [slots, H, W] the code, of which each lesson sees another part,
    on the device of the training. Each lesson and step draws from a generator of its own number, so that a resumed training ends as
    an unbroken one.
    """

    def __init__(self, videos: list[Tensor], bits: Tensor, plan: SnapshotPlan) -> None:
        small = min(bits.shape[-2:]) < plan.crop or not videos
        if small or any(min(video.shape[-2:]) < plan.crop or len(video) < len(bits) for video in videos):
            raise PrivcamError("videos or code are too small to train on", got=[tuple(some.shape) for some in (bits, *videos)],
                               allowed=f"{len(bits)} frames of {plan.crop} x {plan.crop} or more",
                               todo="take longer videos or a smaller crop")
        self.videos, self.bits, self.plan, self.step = videos, bits, plan, 0
        self.decoder = SnapshotDecoder(plan.width, plan.stages)
        _draw(self.decoder, torch_generator(plan.seed, "snapshot", "weights"))
        self.decoder.to(bits.device)
        self.optimiser = torch.optim.Adam(self.decoder.parameters(), plan.learning_rate)
        self._lesson: tuple[int, _Lesson] | None = None

    def advance(self) -> float:
        """Returns the loss of one more step."""
        generator = torch_generator(self.plan.seed, "snapshot", "step", self.step)
        truth, image, bits, start = self._current().drawn(self.plan.batch, generator)
        with half_where_asked(self.plan, start):
            loss = F.l1_loss(self.decoder(image, bits, start), truth)
        self.optimiser.param_groups[0]["lr"] = self.plan.learning_rate * cosine(self.step, self.plan.steps) * warm_up(self.step)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.step += 1
        return float(loss.detach())

    def _current(self) -> _Lesson:
        number = self.step // LESSON_STEPS
        if self._lesson is None or self._lesson[0] != number:
            generator = torch_generator(self.plan.seed, "snapshot", "lesson", number)
            self._lesson = number, _Lesson(self.videos, self.bits, self.plan, generator)
        return self._lesson[1]

    def state(self) -> dict[str, Any]:
        """Returns all that `restore` needs."""
        return {"step": self.step, "decoder": self.decoder.state_dict(), "optimiser": self.optimiser.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Puts a training back to where `state` was taken."""
        self.step = state["step"]
        self.decoder.load_state_dict(state["decoder"])
        self.optimiser.load_state_dict(state["optimiser"])


def _draw(decoder: SnapshotDecoder, generator: torch.Generator) -> None:
    """Draws the weights so that the decoder begins as its start brought into agreement."""
    initialise(decoder, generator)
    with torch.no_grad():
        for name, weight in decoder.named_parameters():
            if name.endswith("second.weight"):
                weight.mul_(BRANCH_GAIN)
            elif name.endswith("last.weight"):
                weight.zero_()


def train_snapshot_decoder(training: SnapshotTraining, *, checkpoint: Path | None = None,
                           on_step: Callable[[int, float], None] | None = None) -> SnapshotDecoder:
    """Returns the decoder at the end of a training, resumed from `checkpoint` where there is one and saved there after each lesson."""
    if checkpoint is not None and checkpoint.exists():
        training.restore(store.load(checkpoint))
    while training.step < training.plan.steps:
        loss = training.advance()
        if on_step is not None:
            on_step(training.step, loss)
        if checkpoint is not None and (training.step % LESSON_STEPS == 0 or training.step == training.plan.steps):
            store.save(checkpoint, training.state())
    return training.decoder.eval()
