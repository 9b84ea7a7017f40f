"""The game that trains an exposure code, alone or with the mask in front of it, on clips: one camera, one recogniser.

Camera and network share an aim: to name the action from the single coded image, or to give the clip back. The network
learns from some of the people, code and mask from the others: on clips that the network has learned by heart every
code serves, and a code trained there learns nothing. Where `alpha` is above 0 an adversary names the actor from the
image, and the camera also raises its doubt, as in the game of the encoders (`learning.clips`). What is measured
afterwards is never the game's own networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optics_sim.camera import PrivacyCamera, image_through
from optics_sim.clip_experiment import ClipTraining
from optics_sim.errors import PrivcamError
from optics_sim.learning.clip_decoder import ClipDecoder
from optics_sim.learning.clips import Clips, batches, dealt, descent, entropy, hits, joined
from optics_sim.learning.game import Game, Losses, Player
from optics_sim.learning.recognisers import Recogniser, recogniser
from optics_sim.learning.seeds import torch_generator
from optics_sim.learning.train import half_where_asked, open_psf
from optics_sim.sensor.coded import first_guess

Aim = Literal["actions", "video"]
DECODER_LEARNING_RATE = 2e-3
CODE_BETAS = (0.9, 0.9)  # the gradient shrinks as the network learns: its mean square is remembered no longer than itself
MEASURED_CLIPS = 32
BLACK_CODE = -128.0


@dataclass(frozen=True)
class _Sides:
    """The camera, the network that shares its aim, and the adversary (none: no one is hidden from).

    `unseen` [k] are the actors whom the network never learns from, and the camera alone does; none: both learn from everyone.
    """

    camera: PrivacyCamera
    network: Recogniser | ClipDecoder
    adversary: Recogniser | None
    plan: ClipTraining
    exposure: Callable[[Tensor], Tensor | float]
    unseen: Tensor

    def see(self, scenes: Tensor, drawn: torch.Generator) -> Tensor:
        """Returns coded images [n, h, w] of clips, with a gradient to code and mask."""
        psf = self.camera.psf()
        return self.camera(scenes, generator=drawn, psf=psf, photons_scale=self.exposure(psf))

    def learn(self, batch: Clips, drawn: torch.Generator) -> Losses:
        """Returns the network's loss on the people it may know; the camera does not move."""
        known = batch.take(~torch.isin(batch.actors, self.unseen))
        with torch.no_grad():
            images = self.see(known.values, drawn)
        return self._aimed(images, known)

    def show(self, batch: Clips, drawn: torch.Generator) -> Losses:
        """Returns the camera's loss, on the people whom the network does not know where there are any."""
        if len(self.unseen):
            batch = batch.take(torch.isin(batch.actors, self.unseen))
        images = self.see(batch.values, drawn)
        losses = self._aimed(images, batch)
        if self.adversary is not None:
            with half_where_asked(self.plan, images):
                guess = self.adversary(images).float()
            losses["adversary_entropy"] = entropy(guess)
            losses["loss"] = losses["loss"] - self.plan.alpha * losses["adversary_entropy"]
        return losses

    def _aimed(self, images: Tensor, batch: Clips) -> Losses:
        if isinstance(self.network, ClipDecoder):
            return self._recovered(images, batch)
        return self._named(self.network, images, batch)

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
    def prepare(self, scenes: Tensor, drawn: torch.Generator, epoch: int) -> None:
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
    unseen = _unseen(scenes, plan)
    sides = _Sides(camera, _network(aim, camera, scenes, plan, seed), adversary, plan, _full_light(camera, some), unseen)
    generator = torch_generator(seed, "coding", device=device)
    network_moves, camera_moves = _moves(sides)

    def prepare() -> None:
        sides.prepare(some, generator, game.epoch)

    if len(unseen):
        players = [Player("network", [sides.network], sides.learn, network_moves, prepare=prepare),
                   Player("camera", [camera], sides.show, camera_moves)]
        deal, steps = _dealt_together(scenes, unseen, plan)
    else:
        players = [Player("camera", [camera, sides.network], sides.show, [*network_moves, *camera_moves], prepare=prepare)]
        deal, steps = dealt(scenes, plan), batches(scenes, plan)
    if adversary is not None:
        players.append(Player("adversary", [adversary], partial(sides.seek, adversary), [descent(adversary, plan)]))
    game = Game(players, deal, steps, plan.epochs, generator)
    return game


def _unseen(scenes: Clips, plan: ClipTraining) -> Tensor:
    """Returns the actors [k] whom the network never learns from; none where it learns from everyone."""
    actors = torch.arange(int(scenes.actors.max()) + 1, device=scenes.actors.device)
    people = len(actors)
    if not plan.unseen_people:
        return actors[:0]
    if people < 2:
        raise PrivcamError("a code learns from people whom its network never sees", got=f"{people} person to learn from",
                           allowed="two or more", todo="more people, or --set training.unseen_people=0")
    return actors[people - min(people - 1, max(1, round(plan.unseen_people * people))) :]


def _dealt_together(scenes: Clips, unseen: Tensor, plan: ClipTraining) -> tuple[Callable[[torch.Generator], Iterator[Clips]], int]:
    """Returns what deals an epoch's batches, each with clips of known and unseen people in proportion, and how many they are."""
    if plan.batch < 3:
        raise PrivcamError("a batch holds two clips for the network and one for the code", got=plan.batch, allowed=">= 3",
                           todo="--set training.batch=16")
    theirs = torch.isin(scenes.actors, unseen)
    some = min(plan.batch - 2, max(1, round(float(theirs.double().mean()) * plan.batch)))
    parts = [(scenes.take(~theirs), plan.model_copy(update={"batch": plan.batch - some})),
             (scenes.take(theirs), plan.model_copy(update={"batch": some}))]
    dealers = [dealt(*part) for part in parts]

    def deal(generator: torch.Generator) -> Iterator[Clips]:
        for known, others in zip(*(dealer(generator) for dealer in dealers), strict=False):  # the longer one's rest is left out
            yield joined(known, others)

    return deal, min(batches(*part) for part in parts)


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


def _moves(sides: _Sides) -> tuple[list[torch.optim.Optimizer], list[torch.optim.Optimizer]]:
    """Returns the optimisers of the network and those of code and mask."""
    plan, camera = sides.plan, sides.camera
    decodes = isinstance(sides.network, ClipDecoder)
    network = torch.optim.Adam(sides.network.parameters(), DECODER_LEARNING_RATE) if decodes else descent(sides.network, plan)
    moves: list[torch.optim.Optimizer] = []
    if camera.coded is not None and isinstance(camera.coded.learned, nn.Module):
        moves.append(torch.optim.Adam(camera.coded.learned.parameters(), plan.encoder_learning_rate, betas=CODE_BETAS))
    if camera.mask is not None:
        moves.append(torch.optim.Adam(camera.mask.parameters(), plan.mask.learning_rate))
    return [network], moves


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
