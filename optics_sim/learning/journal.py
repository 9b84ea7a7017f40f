"""Losses while they happen: a line per epoch in `losses.jsonl`, TensorBoard files, and now and then a word in the log."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from types import TracebackType

LOG = logging.getLogger("privcam")
QUIET_S = 10.0  # between two words in the log


class LossJournal:
    """Keeps the losses of one training below `folder`; used as a context and called after each epoch."""

    def __init__(self, folder: Path, title: str, epochs: int) -> None:
        self.folder, self.title, self.epochs = folder, title, epochs
        self._spoke = time.monotonic()

    def __enter__(self) -> LossJournal:
        from torch.utils.tensorboard import SummaryWriter

        self.folder.mkdir(parents=True, exist_ok=True)
        self._board = SummaryWriter(str(self.folder / "tensorboard"))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._board.close()

    def __call__(self, record: dict[str, float]) -> None:
        """Keeps one epoch's record, which has its number under `epoch`."""
        with (self.folder / "losses.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")
        for name, value in record.items():
            if name != "epoch":
                self._board.add_scalar(name, value, int(record["epoch"]))
        if time.monotonic() - self._spoke > QUIET_S:
            self._spoke = time.monotonic()
            named = [name for ending in ("cross_entropy", "loss") for name in record if name.endswith(ending)]
            text = "".join(f", {name.rpartition('/')[2].replace('_', '-')} {record[name]:.3f}" for name in named[:1])
            LOG.info("%s: epoch %d of %d%s", self.title, record["epoch"], self.epochs, text)


def read_losses(folder: Path) -> dict[str, list[tuple[float, float]]]:
    """Returns the curves (epoch, value) by name of a journal's folder; empty where nothing was trained.

    An epoch that was run twice (after a stop) counts once, the last time.
    """
    file = folder / "losses.jsonl"
    if not file.exists():
        return {}
    records = {record["epoch"]: record for record in map(json.loads, file.read_text(encoding="utf-8").splitlines())}
    curves: dict[str, list[tuple[float, float]]] = {}
    for epoch, record in sorted(records.items()):
        for name, value in record.items():
            if name != "epoch":
                curves.setdefault(name, []).append((epoch, value))
    return curves
