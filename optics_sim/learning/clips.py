"""Clips as training sees them, the networks trained on their codes, and the game that trains an encoder.

An encoder's game is that of the BDQ paper: encoder and action recogniser against an adversary who names the actor
from single frames. What is measured afterwards is never the game's own networks: `fit` trains fresh ones on the
frozen encoder's codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optics_sim.camera import PrivacyCamera
from optics_sim.clip_experiment import ClipTraining
from optics_sim.encoders.factory import LearnableEncoder
from optics_sim.encoders.running_sum import running_sum
from optics_sim.learning.clip_recognisers import ClipNetwork, ClipRecogniser, FrameRecogniser, clip_recogniser, frame_recogniser
from optics_sim.learning.game import Game, Losses, Player
from optics_sim.learning.recognisers import Recogniser, initialise
from optics_sim.learning.seeds import torch_generator
from optics_sim.learning.train import OnEpoch, half_where_asked, train

EVALUATION_CLIPS = 32
MOMENTUM = 0.9
PICTURE_EPOCHS = 40  # of one frame a clip: some hundred steps
Net = TypeVar("Net", ClipRecogniser, FrameRecogniser, ClipNetwork, Recogniser)
See = Callable[[Tensor, torch.Generator], Tensor]
"""Codes of dealt values: a camera's of scenes, with the noise that the generator draws."""


@dataclass(frozen=True)
class Clips:
    """Clips [n, T, H, W] of scene radiance, or [n, T, h, w] of codes, with who does what; `takes` number recordings."""

    values: Tensor
    actions: Tensor
    actors: Tensor
    takes: Tensor

    def take(self, indices: Tensor) -> Clips:
        """Returns the clips at `indices`."""
        return Clips(*(getattr(self, field.name)[indices] for field in fields(self)))

    def to(self, device: torch.device | str) -> Clips:
        """Returns the same clips on a device."""
        return Clips(*(getattr(self, field.name).to(device) for field in fields(self)))

    def with_values(self, values: Tensor) -> Clips:
        """Returns other values of the same clips."""
        return replace(self, values=values)

    def __len__(self) -> int:
        return len(self.actions)


def joined(first: Clips, second: Clips) -> Clips:
    """Returns the clips of both, in that order."""
    return Clips(*(torch.cat([getattr(first, field.name), getattr(second, field.name)]) for field in fields(first)))


@torch.no_grad()
def readout_codes(camera: PrivacyCamera, scenes: Tensor, generator: torch.Generator) -> Tensor:
    """Returns what the readout makes of scenes [n, H, W] or [n, T, H, W]: 8-bit codes [n, ..., h, w], before any encoder."""
    parts = [camera.sensor.code(camera.capture(part, generator=generator)) for part in scenes.split(EVALUATION_CLIPS)]
    return torch.cat(parts)


def moved(codes: Tensor, plan: ClipTraining, generator: torch.Generator) -> Tensor:
    """Returns clips [n, T, h, w] mirrored at random and moved as a whole by up to `shift_px`, edges repeated."""
    count, _, height, width = codes.shape
    if plan.flip:
        mirrored = torch.rand(count, generator=generator, device=generator.device) < 0.5
        codes = torch.where(mirrored[:, None, None, None], codes.flip(-1), codes)
    reach = min(plan.shift_px, (min(height, width) - 1) // 8)
    if not reach:
        return codes
    padded = F.pad(codes, (reach,) * 4, mode="replicate")
    offsets = torch.randint(0, 2 * reach + 1, (count, 2), generator=generator, device=generator.device).tolist()
    return torch.stack([clip[:, top : top + height, left : left + width] for clip, (top, left) in zip(padded, offsets, strict=True)])


def random_frames(codes: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Returns `count` frames of each clip [n, count, h, w], drawn with repetition."""
    chosen = torch.randint(codes.shape[1], (len(codes), count), generator=generator, device=generator.device)
    return codes[torch.arange(len(codes), device=codes.device)[:, None], chosen]


def dealt(clips: Clips, plan: ClipTraining) -> Callable[[torch.Generator], Iterator[Clips]]:
    """Returns what deals an epoch's batches: every clip once, in a drawn order, moved; the rest of a batch is left out."""
    def deal(generator: torch.Generator) -> Iterator[Clips]:
        order = torch.randperm(len(clips), generator=generator, device=generator.device)
        for first in range(0, batches(clips, plan) * plan.batch, plan.batch):
            batch = clips.take(order[first : first + plan.batch])
            yield batch.with_values(moved(batch.values, plan, generator))
    return deal


def batches(clips: Clips, plan: ClipTraining) -> int:
    """Returns the number of batches of an epoch."""
    return max(1, len(clips) // plan.batch)


def descent(network: nn.Module, plan: ClipTraining) -> torch.optim.Optimizer:
    """Returns the optimiser of a network: SGD with Nesterov momentum."""
    return torch.optim.SGD(network.parameters(), plan.learning_rate, momentum=MOMENTUM, nesterov=True, weight_decay=plan.weight_decay)


# --- one network on finished codes ----------------------------------------------------------------
def as_given(values: Tensor, generator: torch.Generator) -> Tensor:
    """Returns the values: they are codes already."""
    return values


def fit(network: Net, clips: Clips, labels: Tensor, plan: ClipTraining, generator: torch.Generator, *, epochs: int,
        frames_per_clip: int = 1, see: See = as_given, checkpoint: Path | None = None, on_epoch: OnEpoch | None = None) -> Net:
    """Returns a network trained to name `labels` [n] from codes; a 2D one sees `frames_per_clip` drawn frames of a clip.

    `see` is a finished camera where the clips are scenes: scenes are moved and mirrored before they are seen, for codes
    of one exposure may not be.
    """
    labelled = replace(clips, actions=labels)
    network.to(labels.device)
    with torch.no_grad():
        network.standardise.measure(see(clips.values[: 4 * EVALUATION_CLIPS], generator))

    def loss(batch: Clips, drawn: torch.Generator) -> Losses:
        with torch.no_grad():
            batch = batch.with_values(see(batch.values, drawn))
        scores, wanted = _scores(network, batch, frames_per_clip, plan, drawn)
        return {"loss": F.cross_entropy(scores, wanted, label_smoothing=plan.label_smoothing),
                "accuracy": hits(scores, wanted)}

    player = Player("network", [network], loss, [descent(network, plan)])
    game = Game([player], dealt(labelled, plan), batches(clips, plan), epochs, generator)
    train(game, checkpoint=checkpoint, on_epoch=on_epoch)
    return network.eval()


def _scores(network: ClipNetwork | Recogniser, batch: Clips, frames_per_clip: int, plan: ClipTraining,
            drawn: torch.Generator) -> tuple[Tensor, Tensor]:
    with half_where_asked(plan, batch.values):
        if not isinstance(network, FrameRecogniser):
            return network(batch.values).float(), batch.actions
        frames = random_frames(batch.values, frames_per_clip, drawn)
        return network.frames(frames).flatten(0, 1).float(), batch.actions.repeat_interleave(frames_per_clip)


@torch.no_grad()
def scores_of(network: Callable[[Tensor], Tensor], codes: Tensor) -> Tensor:
    """Returns what a network, or its `frames`, scores codes [n, T, h, w]: [n, ..., classes], in batches."""
    return torch.cat([network(part).float() for part in codes.split(EVALUATION_CLIPS)])


# --- the encoder's game ---------------------------------------------------------------------------
@dataclass(frozen=True)
class _Adversary:
    """A network that names actors from one drawn frame of the codes, or of their running sum."""

    network: FrameRecogniser
    sees: str

    def view(self, encoder: nn.Module, codes: Tensor) -> Tensor:
        """Returns what it looks at of an encoder's codes [n, T, h, w]."""
        return codes if self.sees == "frame" else running_sum(codes, cast(LearnableEncoder, encoder).to_spec())


@dataclass(frozen=True)
class _Sides:
    """The networks of an encoder's game, and what each side wants of a batch."""

    encoder: nn.Module
    target: ClipNetwork
    adversaries: list[_Adversary]
    plan: ClipTraining
    settled: Callable[[], bool]

    def hide(self, batch: Clips, drawn: torch.Generator) -> Losses:
        with torch.set_grad_enabled(self.settled()):
            seen = self.encoder(batch.values, hard=False)
        frames = [random_frames(adversary.view(self.encoder, seen), 1, drawn) for adversary in self.adversaries]
        with half_where_asked(self.plan, seen):
            scores = self.target(seen).float()
            guesses = [adversary.network(frame).float() for adversary, frame in zip(self.adversaries, frames, strict=True)]
        recognised = F.cross_entropy(scores, batch.actions, label_smoothing=self.plan.label_smoothing)
        unsure = torch.stack([entropy(guess) for guess in guesses]).mean()
        return {"loss": recognised - self.plan.alpha * unsure, "cross_entropy": recognised, "adversary_entropy": unsure,
                "accuracy": hits(scores, batch.actions)}

    def seek(self, adversary: _Adversary, batch: Clips, drawn: torch.Generator) -> Losses:
        with torch.no_grad():
            frame = random_frames(adversary.view(self.encoder, self.encoder(batch.values, hard=False)), 1, drawn)
        with half_where_asked(self.plan, frame):
            scores = adversary.network(frame).float()
        return {"loss": F.cross_entropy(scores, batch.actors), "accuracy": hits(scores, batch.actors)}

    def measure(self, codes: Tensor) -> None:
        """Sets the networks' input constants from what the encoder makes of training codes now."""
        with torch.no_grad():
            seen = self.encoder(codes, hard=False)
        self.target.standardise.measure(seen)
        for adversary in self.adversaries:
            adversary.network.standardise.measure(adversary.view(self.encoder, seen))


def encoder_game(encoder: nn.Module, codes: Clips, plan: ClipTraining, seed: int, *, still_epochs: int = 0) -> Game[Clips]:
    """Returns the game that trains an encoder on readout codes, with its own recogniser, against its adversaries.

    Encoder E and recogniser T minimise XE(T) - alpha * H(P), H the entropy of what adversary P says of one drawn frame
    (the mean over adversaries where there are several); P minimises XE(P) on a drawn frame. For the first `still_epochs` E stays
    as it is, and T and P learn what there is to see. An adversary on running sums is ours.

    Reference: Kumawat and Nagahara, ECCV 2022; several adversaries and restarts: Wu et al., ECCV 2018.
    """
    device = codes.values.device
    classes, people = int(codes.actions.max()) + 1, int(codes.actors.max()) + 1
    target = clip_recogniser(plan.recogniser, classes, torch_generator(seed, "game", "target")).to(device)
    views = [sees for sees in plan.adversary_sees for _ in range(plan.adversaries)]
    adversaries = [_Adversary(frame_recogniser(plan.adversary, people, torch_generator(seed, "game", "adversary", number)).to(device), sees)
                   for number, sees in enumerate(views)]
    sides = _Sides(encoder, target, adversaries, plan, lambda: game.epoch >= still_epochs)
    learned = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    moves = [descent(target, plan), torch.optim.Adam(learned, plan.encoder_learning_rate)]
    players = [Player("camera", [encoder, target], sides.hide, moves, prepare=lambda: sides.measure(codes.values[: 2 * EVALUATION_CLIPS]))]
    for number, adversary in enumerate(adversaries):
        network = adversary.network
        players.append(Player(f"adversary{number}", [network], partial(sides.seek, adversary), [descent(network, plan)],
                              restart_epochs=plan.restart_epochs, fresh=partial(initialise, network)))
    game = Game(players, dealt(codes, plan), batches(codes, plan), plan.epochs, torch_generator(seed, "game", device=device))
    return game


def picture_game(encoder: nn.Module, codes: Clips, plan: ClipTraining, seed: int) -> Game[Clips]:
    """Returns the game that an encoder with a network of its own begins with: to give the frame back.

    Then there is something to recognise, and something to hide, from the first step of `encoder_game` on.
    Reference: Wu et al., TPAMI 2020, section 4, begin their degrader as the identity.
    """
    def loss(batch: Clips, drawn: torch.Generator) -> Losses:
        frames = random_frames(batch.values, 1, drawn)
        return {"loss": ((encoder(frames, hard=False) - frames) / 128).square().mean()}

    moves = [torch.optim.Adam(encoder.parameters(), plan.encoder_learning_rate)]
    generator = torch_generator(seed, "game", "picture", device=codes.values.device)
    return Game([Player("camera", [encoder], loss, moves)], dealt(codes, plan), batches(codes, plan), PICTURE_EPOCHS, generator)


def hits(scores: Tensor, labels: Tensor) -> Tensor:
    """Returns the share of scores [n, classes] that are highest at their label [n]."""
    return (scores.argmax(-1) == labels).float().mean()


def entropy(scores: Tensor) -> Tensor:
    """Returns the mean entropy, in nats, of the distributions that scores [n, classes] stand for."""
    logs = scores.log_softmax(-1)
    return -(logs.exp() * logs).sum(-1).mean()
