"""The game that trains an exposure code, alone or with the mask in front of it, on clips: one camera, one recogniser.

Camera and network share an aim: to name the action from the single coded image, or to give the clip back. Where
`alpha` is above 0 an adversary names the actor from the image, and the camera also raises its doubt, as in the game of
the encoders (`learning.clips`). What is measured afterwards is never the game's own networks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optics_sim.camera import PrivacyCamera, image_through
from optics_sim.clip_experiment import ClipTraining
from optics_sim.learning.clip_decoder import ClipDecoder
from optics_sim.learning.clips import Clips, batches, dealt, descent, entropy, hits
from optics_sim.learning.game import Game, Losses, Player
from optics_sim.learning.recognisers import Recogniser, recogniser
from optics_sim.learning.seeds import torch_generator
from optics_sim.learning.train import half_where_asked, open_psf
from optics_sim.sensor.coded import first_guess

Aim = Literal["actions", "video"]
DECODER_LEARNING_RATE = 2e-3
MEASURED_CLIPS = 32
BLACK_CODE = -128.0


@dataclass(frozen=True)
class _Sides:
    """The camera, the network that shares its aim, and the adversary (none: no one is hidden from)."""

    camera: PrivacyCamera
    network: Recogniser | ClipDecoder
    adversary: Recogniser | None
    plan: ClipTraining
    exposure: Callable[[Tensor], Tensor | float]

    def see(self, scenes: Tensor, drawn: torch.Generator) -> Tensor:
        """Returns coded images [n, h, w] of clips, with a gradient to code and mask."""
        psf = self.camera.psf()
        return self.camera(scenes, generator=drawn, psf=psf, photons_scale=self.exposure(psf))

    def show(self, batch: Clips, drawn: torch.Generator) -> Losses:
        images = self.see(batch.values, drawn)
        losses = self._recovered(images, batch) if isinstance(self.network, ClipDecoder) else self._named(self.network, images, batch)
        if self.adversary is not None:
            with half_where_asked(self.plan, images):
                guess = self.adversary(images).float()
            losses["adversary_entropy"] = entropy(guess)
            losses["loss"] = losses["loss"] - self.plan.alpha * losses["adversary_entropy"]
        return losses

    def _named(self, network: Recogniser, images: Tensor, batch: Clips) -> Losses:
        with half_where_asked(self.plan, images):
            scores = network(images).float()
        loss = F.cross_entropy(scores, batch.actions, label_smoothing=self.plan.label_smoothing)
        return {"loss": loss, "cross_entropy": loss, "accuracy": hits(scores, batch.actions)}

    def _recovered(self, images: Tensor, batch: Clips) -> Losses:
        with half_where_asked(self.plan, images):
            clip = self.network(spread(images, self.camera)).float()
        return {"loss": F.l1_loss(clip, batch.values)}

    def seek(self, adversary: Recogniser, batch: Clips, drawn: torch.Generator) -> Losses:
        with torch.no_grad():
            images = self.see(batch.values, drawn)
        with half_where_asked(self.plan, images):
            scores = adversary(images).float()
        return {"loss": F.cross_entropy(scores, batch.actors), "accuracy": hits(scores, batch.actors)}

    @torch.no_grad()
    def prepare(self, scenes: Tensor, epoch: int, drawn: torch.Generator) -> None:
        """Sets the mask's temperature and the networks' input constants for an epoch."""
        mask, plan = self.camera.mask, self.plan.mask
        if mask is not None:
            done = epoch / max(1, self.plan.epochs - 1)
            mask.set_temperature(plan.first_temperature * (plan.last_temperature / plan.first_temperature) ** min(1.0, done))
        images = self.see(scenes, drawn)
        self.network.standardise.measure(spread(images, self.camera) if isinstance(self.network, ClipDecoder) else images)
        if self.adversary is not None:
            self.adversary.standardise.measure(images)


def spread(images: Tensor, camera: PrivacyCamera) -> Tensor:
    """Returns clips [n, slots, h, w] of codes [n, h, w]: each pixel's light shared evenly by its open slots."""
    if camera.coded is None:
        raise ValueError("this camera has no exposure code")
    return first_guess(images - BLACK_CODE, camera.coded.bits())


def coding_game(camera: PrivacyCamera, aim: Aim, scenes: Clips, plan: ClipTraining, seed: int) -> Game[Clips]:
    """Returns the game that trains what learns of a coded camera, its code, its mask or both, on scene clips.

    Reference: Okawara et al., ICCP 2020 (code and recogniser of actions); Yoshida et al., ECCV 2018 (code and decoder);
    the mask beside the code, and the adversary, are ours.
    """
    device = scenes.values.device
    some = scenes.values[:MEASURED_CLIPS]
    adversary = None
    if plan.alpha:
        adversary = recogniser(plan.adversary, int(scenes.actors.max()) + 1, torch_generator(seed, "coding", "adversary")).to(device)
    sides = _Sides(camera, _network(aim, camera, scenes, plan, seed), adversary, plan, _full_light(camera, some))
    generator = torch_generator(seed, "coding", device=device)
    players = [Player("camera", [camera, sides.network], sides.show, _moves(sides),
                      prepare=lambda: sides.prepare(some, game.epoch, generator))]
    if adversary is not None:
        players.append(Player("adversary", [adversary], partial(sides.seek, adversary), [descent(adversary, plan)]))
    game = Game(players, dealt(scenes, plan), batches(scenes, plan), plan.epochs, generator)
    return game


def _network(aim: Aim, camera: PrivacyCamera, scenes: Clips, plan: ClipTraining, seed: int) -> Recogniser | ClipDecoder:
    drawn = torch_generator(seed, "coding", "network")
    if aim == "actions":
        return recogniser(plan.image_recognisers[0], int(scenes.actions.max()) + 1, drawn).to(scenes.values.device)
    decoder = ClipDecoder(camera.design.scene).to(scenes.values.device)
    some = scenes.values[:MEASURED_CLIPS]
    with torch.no_grad():
        images = camera(some, generator=torch_generator(seed, "coding", "start", device=some.device))
        decoder.start(spread(images, camera), some, drawn)
    return decoder


def _moves(sides: _Sides) -> list[torch.optim.Optimizer]:
    plan, camera = sides.plan, sides.camera
    decodes = isinstance(sides.network, ClipDecoder)
    moves: list[torch.optim.Optimizer] = [torch.optim.Adam(sides.network.parameters(), DECODER_LEARNING_RATE) if decodes
                                          else descent(sides.network, plan)]
    if camera.coded is not None and isinstance(camera.coded.learned, nn.Module):
        moves.append(torch.optim.Adam(camera.coded.learned.parameters(), plan.encoder_learning_rate))
    if camera.mask is not None:
        moves.append(torch.optim.Adam(camera.mask.parameters(), plan.mask.learning_rate))
    return moves


def _full_light(camera: PrivacyCamera, scenes: Tensor) -> Callable[[Tensor], Tensor | float]:
    """Returns what keeps a mask's mean light at that of the open aperture while the mask changes."""
    if camera.mask is None:
        return lambda psf: 1.0
    mean, opened = scenes.flatten(0, -3).mean(0), open_psf(camera)
    wanted = image_through(mean, opened, camera.design).mean()

    @torch.no_grad()
    def scale(psf: Tensor) -> Tensor:
        return wanted / image_through(mean, psf, camera.design).mean().clamp(min=1e-9)

    return scale
