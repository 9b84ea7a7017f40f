"""The adversarial game: who moves when, what a step changes, and that it can be stopped anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from optics_sim.learning import checkpoint as store
from optics_sim.learning.game import Game, Player
from optics_sim.learning.train import train


@dataclass(frozen=True)
class Points:
    values: torch.Tensor

    def __len__(self) -> int:
        return len(self.values)


class Number(nn.Module):
    """One parameter behind dropout and batch statistics, so that modes matter."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor([start]))
        self.norm = nn.BatchNorm1d(1, affine=False)


def deal(generator: torch.Generator) -> Iterator[Points]:
    for _ in range(4):
        yield Points(torch.randn(8, 1, generator=generator))


def saddle(epochs: int = 3, **more: object) -> tuple[Game[Points], Number, Number]:
    """One player lowers x * y + x^2, the other raises x * y - y^2 and sees noise."""
    first, second = Number(1.0), Number(-0.5)

    def lower(batch: Points, generator: torch.Generator) -> dict[str, torch.Tensor]:
        first.norm(batch.values)
        value = (first.x * second.x + first.x.square()).sum() + 0 * second.norm(batch.values).sum()
        return {"loss": value, "x": first.x.detach().sum()}

    def higher(batch: Points, generator: torch.Generator) -> dict[str, torch.Tensor]:
        noise = torch.randn(1, generator=generator)
        return {"loss": -(first.x.detach() * second.x - second.x.square() + 0.01 * noise * second.x).sum()}

    players = [Player("min", [first], lower, [torch.optim.SGD(first.parameters(), 0.1, momentum=0.9)]),
               Player("max", [second], higher, [torch.optim.Adam(second.parameters(), 0.1)], **more)]
    return Game(players, deal, 4, epochs, torch.Generator().manual_seed(3)), first, second


def test_each_player_moves_only_what_is_its_own() -> None:
    game, first, second = saddle()
    before = first.x.detach().clone(), second.x.detach().clone()
    Game(game.players[:1], deal, 4, 1, torch.Generator().manual_seed(0)).run_epoch()
    assert not torch.equal(first.x, before[0]) and torch.equal(second.x, before[1])


def test_who_does_not_move_keeps_its_statistics() -> None:
    game, first, second = saddle(epochs=1)
    game.run_epoch()
    assert int(first.norm.num_batches_tracked) == 4
    assert int(second.norm.num_batches_tracked) == 0  # used by the other's loss only, in evaluation mode


def test_game_approaches_the_saddle() -> None:
    game, first, second = saddle(epochs=60)
    for _ in range(60):
        record = game.run_epoch()
    assert first.x.abs().item() < 0.1 and second.x.abs().item() < 0.1
    assert set(record) == {"min/loss", "min/x", "max/loss"}


def test_stopped_and_resumed_ends_with_the_same_bits(tmp_path) -> None:
    whole, first, second = saddle(epochs=5)
    train(whole)
    broken, *_ = saddle(epochs=5)
    broken.run_epoch()
    broken.run_epoch()
    store.save(tmp_path / "game", broken.state())
    resumed, again, other = saddle(epochs=5)
    train(resumed, checkpoint=tmp_path / "game")
    assert torch.equal(first.x, again.x) and torch.equal(second.x, other.x)
    assert resumed.epoch == 5


def test_restarts_draw_the_player_anew() -> None:
    drawn: list[int] = []
    game, *_ = saddle(epochs=6, restart_epochs=2, fresh=lambda generator: drawn.append(1))
    train(game)
    assert len(drawn) == 2  # before epochs 3 and 5


@pytest.mark.parametrize("steps", [1, 3])
def test_a_player_may_take_several_steps_on_one_batch(steps: int) -> None:
    calls: list[int] = []
    number = Number(1.0)

    def loss(batch: Points, generator: torch.Generator) -> dict[str, torch.Tensor]:
        calls.append(1)
        return {"loss": number.x.square().sum()}

    player = Player("one", [number], loss, [torch.optim.SGD(number.parameters(), 0.1)], steps=steps)
    Game([player], deal, 4, 1, torch.Generator().manual_seed(0)).run_epoch()
    assert len(calls) == 4 * steps
