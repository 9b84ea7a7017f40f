"""Adversarial training as a game: players take turns on the same batch, each moving only what is its own.

Every adversarial system is this loop with other players: an encoder with its recogniser against one adversary or
many, a generator against a discriminator; a recogniser alone is a game with one player. What a player wants is a
function of the batch and lives where the system is described, never here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from optics_sim.learning.schedule import cosine, warm_up

GRADIENT_LIMIT = 5.0  # norm; a step of an adversarial game can be wild

Losses = dict[str, Tensor]


class Batch(Protocol):
    """What players are dealt; its length is the number of examples."""

    def __len__(self) -> int:
        """Returns the number of examples."""


B = TypeVar("B", bound=Batch)


@dataclass(frozen=True)
class Player(Generic[B]):
    """One side: what it moves, and what it minimises.

    `loss(batch, generator)` returns named numbers, of which "loss" is minimised; `prepare` is called before each epoch;
    `fresh` draws the player's weights anew, every `restart_epochs` epochs (0: never), as in Wu et al., ECCV 2018.
    """

    name: str
    modules: Sequence[nn.Module]
    loss: Callable[[B, torch.Generator], Losses]
    optimisers: Sequence[torch.optim.Optimizer]
    steps: int = 1
    prepare: Callable[[], None] = lambda: None
    restart_epochs: int = 0
    fresh: Callable[[torch.Generator], None] = lambda generator: None

    @property
    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups of all its optimisers."""
        return [group for optimiser in self.optimisers for group in optimiser.param_groups]

    def move(self, loss: Tensor) -> None:
        """Takes one step down the loss, its gradient cut to a norm of `GRADIENT_LIMIT` in each group."""
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        for group in self.groups:
            nn.utils.clip_grad_norm_(group["params"], GRADIENT_LIMIT)
        for optimiser in self.optimisers:
            optimiser.step()


class Game(Generic[B]):
    """One training, epoch by epoch; `state` and `restore` make it stoppable between any two of them.

    In each batch the players move in order. Who does not move is in evaluation mode: nobody's running statistics
    change in another's turn.
    """

    def __init__(self, players: Sequence[Player[B]], deal: Callable[[torch.Generator], Iterator[B]], steps_per_epoch: int,
                 epochs: int, generator: torch.Generator) -> None:
        self.players, self._epochs, self.generator = tuple(players), epochs, generator
        self._deal, self._steps_per_epoch = deal, steps_per_epoch
        self._rates = [[group["lr"] for group in player.groups] for player in self.players]
        self.epoch = 0

    @property
    def epochs(self) -> int:
        """Epochs of the whole game."""
        return self._epochs

    def run_epoch(self) -> dict[str, float]:
        """Plays one epoch and returns the mean of every player's numbers, as `player/number`."""
        self._begin()
        totals: dict[str, Tensor] = {}
        seen = 0
        for step, batch in enumerate(self._deal(self.generator)):
            self._set_rates(self.epoch * self._steps_per_epoch + step)
            for name, value in self._turns(batch).items():
                totals[name] = totals.get(name, torch.zeros((), device=value.device)) + value.detach() * len(batch)
            seen += len(batch)
        self.epoch += 1
        return {name: float(value) / seen for name, value in totals.items()}

    def state(self) -> dict[str, Any]:
        """Returns everything the rest of the game depends on."""
        sides = {player.name: {"modules": [module.state_dict() for module in player.modules],
                               "optimisers": [optimiser.state_dict() for optimiser in player.optimisers]} for player in self.players}
        return {"epoch": self.epoch, "generator": self.generator.get_state(), "players": sides}

    def restore(self, state: dict[str, Any]) -> None:
        """Puts the game back to a saved state."""
        self.epoch = state["epoch"]
        self.generator.set_state(state["generator"])
        for player in self.players:
            side = state["players"][player.name]
            for module, saved in zip(player.modules, side["modules"], strict=True):
                module.load_state_dict(saved)
            for optimiser, saved in zip(player.optimisers, side["optimisers"], strict=True):
                optimiser.load_state_dict(saved)

    def _begin(self) -> None:
        for player in self.players:
            if player.restart_epochs and self.epoch and self.epoch % player.restart_epochs == 0:
                player.fresh(self.generator)
                for optimiser in player.optimisers:
                    optimiser.state.clear()
            player.prepare()

    def _turns(self, batch: B) -> Losses:
        numbers: Losses = {}
        for player in self.players:
            self._modes(player)
            for _ in range(player.steps):
                losses = player.loss(batch, self.generator)
                player.move(losses["loss"])
            numbers |= {f"{player.name}/{name}": value for name, value in losses.items()}
        return numbers

    def _modes(self, moving: Player[B]) -> None:
        for player in self.players:
            for module in player.modules:
                module.train(player is moving)

    def _set_rates(self, step: int) -> None:
        factor = cosine(step, self._epochs * self._steps_per_epoch) * warm_up(step)
        for player, rates in zip(self.players, self._rates, strict=True):
            for group, rate in zip(player.groups, rates, strict=True):
                group["lr"] = rate * factor
