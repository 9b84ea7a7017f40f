"""The training loop: a recogniser on a camera's codes, and, where the mask is learnable, both together.

Every draw comes from one generator, so a training that is killed and resumed from its checkpoint ends with the
same bits (same machine, CPU, same number of threads).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from optics_sim.camera import PrivacyCamera, image_through
from optics_sim.design import OpenPattern
from optics_sim.experiment import Training
from optics_sim.learning import checkpoint as store
from optics_sim.learning.losses import CONSTRAINTS
from optics_sim.learning.recognisers import Recogniser
from optics_sim.learning.schedule import cosine, warm_up

EVALUATION_BATCH = 256
OnEpoch = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class Labelled:
    """Scenes [n, H, W] (linear radiance) with class labels [n]."""

    scenes: Tensor
    labels: Tensor

    def take(self, indices: Tensor) -> Labelled:
        """Returns the subset at `indices`."""
        return Labelled(self.scenes[indices], self.labels[indices])

    def to(self, device: torch.device | str) -> Labelled:
        """Returns the same data on a device."""
        return Labelled(self.scenes.to(device), self.labels.to(device))

    def __len__(self) -> int:
        return len(self.labels)


class Trainer:
    """One training, epoch by epoch; `state` and `restore` make it stoppable between any two of them."""

    def __init__(self, camera: PrivacyCamera, network: Recogniser, data: Labelled, plan: Training,
                 generator: torch.Generator) -> None:
        self.camera, self.network, self.data, self.plan, self.generator = camera, network, data, plan, generator
        self.epoch = 0
        self.steps_per_epoch = max(1, len(data) // plan.batch)
        self.optimiser = torch.optim.SGD(network.parameters(), plan.learning_rate, momentum=0.9, nesterov=True,
                                         weight_decay=plan.weight_decay)
        mask = camera.mask
        self.mask_optimiser = None if mask is None else torch.optim.Adam(mask.parameters(), plan.mask.learning_rate)
        self.mean_scene = data.scenes.mean(0)
        self._open_psf = open_psf(camera) if mask is not None else None
        self._measure()

    @property
    def epochs(self) -> int:
        """Epochs of the plan."""
        return self.plan.epochs

    def run_epoch(self) -> dict[str, float]:
        """Trains one epoch and returns its mean losses and accuracy."""
        self.network.train()
        self._set_temperature()
        totals: dict[str, Tensor] = {}
        for step, batch in enumerate(self._batches()):
            self._set_rates(self.epoch * self.steps_per_epoch + step)
            for key, value in self._step(batch).items():
                totals[key] = totals.get(key, torch.zeros((), device=value.device)) + value.detach() * len(batch)
        self.epoch += 1
        seen = self.steps_per_epoch * min(self.plan.batch, len(self.data))
        record = {key: float(value) / seen for key, value in totals.items()}
        if self.camera.mask is not None:
            record["open_fraction"] = float(self.camera.mask().detach().mean())
        return record

    def _step(self, batch: Labelled) -> dict[str, Tensor]:
        psf = self.camera.psf()
        codes = self.camera(batch.scenes, generator=self.generator, psf=psf, photons_scale=self._photons_scale(psf))
        with half_where_asked(self.plan, codes):
            scores = self.network(codes).float()
        losses = {"cross_entropy": F.cross_entropy(scores, batch.labels, label_smoothing=self.plan.label_smoothing)}
        total = losses["cross_entropy"]
        if self.plan.constraint != "none" and self.camera.mask is not None:
            losses["constraint"] = self._constraint(batch.scenes, psf)
            total = total + self.plan.constraint_weight * losses["constraint"]
        for optimiser in self._optimisers():
            optimiser.zero_grad(set_to_none=True)
        total.backward()
        for optimiser in self._optimisers():
            optimiser.step()
        return {**losses, "accuracy": (scores.argmax(-1) == batch.labels).float().mean()}

    def _constraint(self, scenes: Tensor, psf: Tensor) -> Tensor:
        measured = image_through(scenes, psf, self.camera.design)
        through_open = image_through(scenes, psf if self._open_psf is None else self._open_psf, self.camera.design)
        mask = self.camera.mask
        return CONSTRAINTS[self.plan.constraint](psf if mask is None else mask(), measured, through_open, scenes)

    def _photons_scale(self, psf: Tensor) -> Tensor | float:
        if self._open_psf is None:
            return 1.0
        with torch.no_grad():
            light = image_through(self.mean_scene, psf, self.camera.design).mean()
            return image_through(self.mean_scene, self._open_psf, self.camera.design).mean() / light.clamp(min=1e-9)

    def _optimisers(self) -> list[torch.optim.Optimizer]:
        return [self.optimiser] if self.mask_optimiser is None else [self.optimiser, self.mask_optimiser]

    def _set_rates(self, step: int) -> None:
        total = self.plan.epochs * self.steps_per_epoch
        self.optimiser.param_groups[0]["lr"] = self.plan.learning_rate * cosine(step, total) * warm_up(step)
        if self.mask_optimiser is not None:
            self.mask_optimiser.param_groups[0]["lr"] = self.plan.mask.learning_rate * cosine(step, total)

    def _set_temperature(self) -> None:
        if self.camera.mask is not None:
            first, last = self.plan.mask.first_temperature, self.plan.mask.last_temperature
            done = self.epoch / max(1, self.plan.epochs - 1)
            self.camera.mask.set_temperature(first * (last / first) ** min(1.0, done))
            self._measure()

    def _measure(self) -> None:
        """Sets the recogniser's input constants from training codes (a named step, never from the batch at hand)."""
        with torch.no_grad():
            some = self.data.scenes[: 4 * EVALUATION_BATCH]
            psf = self.camera.psf()
            scale = self._photons_scale(psf)
            self.network.standardise.measure(self.camera(some, generator=self.generator, psf=psf, photons_scale=scale))

    def _batches(self) -> Iterator[Labelled]:
        order = torch.randperm(len(self.data), generator=self.generator, device=self.generator.device)
        for step in range(self.steps_per_epoch):
            batch = self.data.take(order[step * self.plan.batch:(step + 1) * self.plan.batch])
            yield Labelled(augmented(batch.scenes, self.plan, self.generator), batch.labels)

    def state(self) -> dict[str, Any]:
        """Returns everything the rest of the training depends on."""
        mask = self.camera.mask
        return {
            "epoch": self.epoch, "network": self.network.state_dict(), "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(), "mask": mask.state_dict() if mask is not None else {},
            "mask_optimiser": self.mask_optimiser.state_dict() if self.mask_optimiser is not None else {},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Puts the training back to a saved state."""
        self.epoch = state["epoch"]
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        if self.camera.mask is not None and self.mask_optimiser is not None:
            self.camera.mask.load_state_dict(state["mask"])
            self.mask_optimiser.load_state_dict(state["mask_optimiser"])


class Precise(Protocol):
    """A plan that says in which precision networks run."""

    @property
    def precision(self) -> str:
        """Returns float32 or bfloat16."""


def half_where_asked(plan: Precise, tensor: Tensor) -> torch.autocast:
    """Returns the context in which networks run in bfloat16 when the plan says so; the physics never does."""
    return torch.autocast(tensor.device.type, torch.bfloat16, enabled=plan.precision == "bfloat16")


def open_psf(camera: PrivacyCamera) -> Tensor:
    """Returns the PSF of the camera's aperture with every cell open."""
    opened = camera.design.replace(**{"optics.pattern": OpenPattern().model_dump()})
    device = next((p.device for p in camera.parameters()), torch.device("cpu"))
    return PrivacyCamera(opened).psf().to(device)


class Stoppable(Protocol):
    """A training that can be stopped between any two epochs: a `Trainer`, a `Game`."""

    epoch: int

    @property
    def epochs(self) -> int:
        """Returns how many epochs it takes."""

    def run_epoch(self) -> dict[str, float]:
        """Trains one epoch and returns its numbers."""

    def state(self) -> dict[str, Any]:
        """Returns everything the rest of the training depends on."""

    def restore(self, state: dict[str, Any]) -> None:
        """Puts the training back to a saved state."""


def train(trainer: Stoppable, *, checkpoint: Path | None = None, on_epoch: OnEpoch | None = None) -> None:
    """Runs a training to its end, resuming from `checkpoint` where there is one and saving there after each epoch."""
    if checkpoint is not None and checkpoint.exists():
        trainer.restore(store.load(checkpoint))
    while trainer.epoch < trainer.epochs:
        record = trainer.run_epoch()
        if checkpoint is not None:
            store.save(checkpoint, trainer.state())
        if on_epoch is not None:
            on_epoch({"epoch": trainer.epoch, **record})


def augmented(scenes: Tensor, plan: Training, generator: torch.Generator) -> Tensor:
    """Returns scenes [n, H, W] mirrored at random and moved by up to `shift_px`, with black edges."""
    count, height, width = scenes.shape
    device = scenes.device
    if plan.flip:
        mirrored = torch.rand(count, generator=generator, device=device) < 0.5
        scenes = torch.where(mirrored[:, None, None], scenes.flip(-1), scenes)
    if not plan.shift_px:
        return scenes
    reach = plan.shift_px
    offsets = torch.randint(0, 2 * reach + 1, (2, count), generator=generator, device=device)
    padded = F.pad(scenes, (reach,) * 4)
    rows = offsets[0][:, None, None] + torch.arange(height, device=device)[None, :, None]
    columns = offsets[1][:, None, None] + torch.arange(width, device=device)[None, None, :]
    return padded[torch.arange(count, device=device)[:, None, None], rows, columns]


@torch.no_grad()
def all_codes(camera: PrivacyCamera, scenes: Tensor, generator: torch.Generator) -> Tensor:
    """Returns the codes [n, h, w] of scenes [n, H, W], in batches."""
    return torch.cat([camera(part, generator=generator) for part in scenes.split(EVALUATION_BATCH)])


@torch.no_grad()
def correct(camera: PrivacyCamera, network: Recogniser, data: Labelled, generator: torch.Generator) -> Tensor:
    """Returns for each scene whether its code is recognised, as booleans [n]."""
    return recognised(network, all_codes(camera, data.scenes, generator), data.labels)


@torch.no_grad()
def recognised(network: Recogniser, codes: Tensor, labels: Tensor) -> Tensor:
    """Returns for each code [n, h, w] whether the network gives it its label, as booleans [n]."""
    network.eval()
    scores = torch.cat([network(part) for part in codes.split(EVALUATION_BATCH)])
    return scores.argmax(-1) == labels
