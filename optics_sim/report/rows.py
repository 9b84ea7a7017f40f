"""What a set of judged rows (one camera, several seeds) says: measures, the strongest attack, controls, verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from optics_sim.measure import Measure
from optics_sim.report.intervals import Verdict, verdict
from optics_sim.report.resampling import Sample, combined, difference

KNOWN_KEY = ("wiener", "tikhonov", "fista", "admm_tv", "decoder")
POSITIVE_PSNR_DB, POSITIVE_SSIM = 30.0, 0.95  # what an attacker with the right key must reach on a clear camera
SHARES = ("accuracy", "validation_accuracy", "accuracy_geometric", "auc", "strongest_auc", "rank1", "face_found", "strongest", "trade")
CONTROL_METRICS = ("auc", "rank1")


class Judged(Protocol):
    """A row: its seed and its samples by name."""

    @property
    def seed(self) -> int:
        """Returns the seed."""

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Returns the samples."""

    def sample(self, name: str) -> Sample:
        """Returns the sample of a name, without a value where the row has none."""


def measure(rows: Sequence[Judged], name: str, rename: str | None = None) -> Measure:
    """Returns a number over the seeds of one camera, with its interval; without a value where no row has it."""
    found = _in_bounds(combined([row.sample(name) for row in rows]))
    return found.model_copy(update={"name": rename}) if rename else found


def measure_of(sample: Sample, rename: str) -> Measure:
    """Returns one sample's number with its interval, under another name."""
    return _in_bounds(sample.measure()).model_copy(update={"name": rename})


def _in_bounds(found: Measure) -> Measure:
    """Returns the measure with its interval cut to 0..1 where its value cannot lie outside."""
    share = found.name.startswith("identity/") or found.name.rpartition("/")[2] in SHARES
    if found.interval is None or not share:
        return found
    low, high = found.interval
    return found.model_copy(update={"interval": (max(0.0, low), min(1.0, high))})


def names(rows: Iterable[Judged]) -> list[str]:
    """Returns the names of all samples in the rows, in the order they first appear."""
    return list(dict.fromkeys(sample.name for row in rows for sample in row.samples))


def strongest(row: Judged) -> Sample:
    """Returns the highest verification AUC that any attacker reaches on this camera (the clear scene is not an attack).

    Taking the highest of many favours the attacker: it is an upper reading, as a defender should take it.
    """
    aucs = [s for s in row.samples if s.name.endswith("/auc") and not s.name.startswith("scene/") and s.value is not None]
    best = max(aucs, key=lambda s: s.value or 0.0)
    return best.model_copy(update={"name": "strongest_auc", "note": best.name})


def strongest_measure(rows: Sequence[Judged]) -> Measure:
    """Returns the strongest attacker's AUC over seeds; its note names the attackers."""
    samples = [strongest(row) for row in rows]
    found = _in_bounds(combined(samples))
    return found.model_copy(update={"note": ", ".join(dict.fromkeys(s.note.removesuffix("/auc") for s in samples))})


def compare(first: Sequence[Judged], second: Sequence[Judged], name: str, margin: float = 0.0) -> tuple[Measure, Verdict | None]:
    """Returns first - second with its interval over the seeds both have, and whether it is above `margin`."""
    pairs = [(a, b) for a in first for b in second if a.seed == b.seed]
    if not pairs:
        return Measure(name=name, value=None), None
    pick = strongest if name == "strongest_auc" else (lambda row: row.sample(name))
    found = difference([pick(a) for a, _ in pairs], [pick(b) for _, b in pairs], name)
    return found, None if found.interval is None else verdict(*found.interval, margin=margin)


def control_findings(rows: Sequence[Judged], kind: str) -> list[tuple[str, Measure, str, bool]]:
    """Returns (attack, value, what is demanded, passed) for a control camera.

    On the identity camera every attack that holds the right key must succeed: reconstructions reach 30 dB and SSIM
    0.95, and identity attacks exceed the interval of the same attack with people shuffled. On the black camera every
    identity attack must lie inside that interval.
    """
    findings = []
    for name in names(rows):
        attack, _, metric = name.rpartition("/")
        if attack.startswith(("scene", "mean_face")):
            continue
        if kind == "identity" and metric in ("psnr", "ssim") and attack.startswith(KNOWN_KEY):
            floor = POSITIVE_PSNR_DB if metric == "psnr" else POSITIVE_SSIM
            value = measure(rows, name)
            findings.append((name, value, f"at least {floor:g} {'dB' if metric == 'psnr' else ''}".strip(), (value.value or 0) >= floor))
        elif metric in CONTROL_METRICS:
            findings += [_shuffled_finding(row.sample(name), kind) for row in rows]
    return findings


def _shuffled_finding(sample: Sample, kind: str) -> tuple[str, Measure, str, bool]:
    low, high = sample.shuffled or (0.0, 0.0)
    value = sample.value or 0.0
    if kind == "identity":
        return sample.name, sample.measure(), f"above {high:.3f} (people shuffled)", value > high
    return sample.name, sample.measure(), f"{low:.3f} to {high:.3f} (people shuffled)", low - 1e-9 <= value <= high + 1e-9
