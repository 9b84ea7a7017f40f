"""A measured number that never travels without its unit, interval, count and source."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Source = Literal["simulated", "emulated", "physical"]
SOURCES: tuple[Source, ...] = ("simulated", "emulated", "physical")


def weakest(*sources: Source) -> Source:
    """Returns what a number made from several things may claim: no more than the least real of them."""
    return min(sources, key=SOURCES.index)


class Measure(BaseModel):
    """One number of a report.

    `interval` is a 95 % interval unless `interval_kind` says otherwise; `n` counts originals
    (never flips or repeats); `source` says where the frames came from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: float | None
    unit: str = "1"
    interval: tuple[float, float] | None = None
    interval_kind: str = "95 % bootstrap"
    n: int | None = None
    source: Source = "simulated"
    note: str = ""

    def text(self, digits: int = 3) -> str:
        """Returns `value [low, high]` for a table cell; an absent value prints as a dash."""
        if self.value is None:
            return "-"
        body = f"{self.value:.{digits}f}"
        if self.interval is not None:
            body += f" [{self.interval[0]:.{digits}f}, {self.interval[1]:.{digits}f}]"
        return body
