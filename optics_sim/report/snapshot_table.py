"""The page, the report and the Markdown of a decoder of coded images beside GAP-TV."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from optics_sim.attacks.snapshot import GAP_ITERATIONS
from optics_sim.attacks.snapshot_decoder import START_ITERATIONS
from optics_sim.data.snapshot_benchmark import SnapshotBenchmark
from optics_sim.design import write_atomically
from optics_sim.measure import Measure
from optics_sim.report import figures
from optics_sim.report.lensless_table import Table, as_markdown
from optics_sim.report.page import Cell, Page
from optics_sim.run import Run
from optics_sim.tables.snapshot import Judged, SnapshotSetting

METHODS = {"mean frame": "Mean of the open slots, no code", "gap_tv": f"GAP-TV, {GAP_ITERATIONS} iterations", "decoder": "Learned decoder",
           "wrong code": "Learned decoder, mirrored code"}
GAIN = "decoder above gap_tv"
METRICS = (("psnr", "dB", "PSNR, dB"), ("ssim", "1", "SSIM"))
MEAN = "mean"


def write_snapshot(out: Path, setting: SnapshotSetting, benchmark: SnapshotBenchmark, judged: Judged, record: Run) -> Path:
    """Writes page, `report.json` and `table.md` into the run's folder; returns the page's path."""
    plain = {**setting.model_dump(mode="json"), "videos": Path(setting.videos).name, "benchmark": Path(setting.benchmark).name}
    measures = all_measures(judged)
    record.report(measures, setting=plain, controls=controls(judged))
    tables = [_table(judged, measures, metric, title) for metric, _, title in METRICS] + [_controls_table(judged), _times(judged, measures)]
    title, said = "Video from one coded image", _said(setting, benchmark)
    write_atomically(out / "table.md", ("\n\n".join([f"# {title}", said, *map(as_markdown, tables)]) + "\n").encode())
    page = Page(title, said)
    for table in tables:
        page.section(table[2]).table(*table)
    page.section("One frame of each video")
    for name in judged:
        page.figure(*_frames(name, benchmark, judged))
    return page.section("Everything").measures(measures).write(out / "snapshot.html")


def _said(setting: SnapshotSetting, benchmark: SnapshotBenchmark) -> str:
    slots, rows, columns = benchmark.bits.shape
    return (f"Everything is simulated, without noise: {slots} frames of {rows} x {columns} in each image of {benchmark.name}. The decoder "
            f"learned in {setting.plan.steps} steps from {Path(setting.videos).name} and motion made of it, and was never trained on "
            "what it is judged on. Means over frames.")


def all_measures(judged: Judged) -> list[Measure]:
    """Returns every number: each method on each video, their means over the videos, and the decoder's gain over GAP-TV."""
    found = []
    for metric, unit, _ in METRICS:
        for method in METHODS:
            values = {name: getattr(methods[method], metric) for name, methods in judged.items()}
            found += [Measure(name=f"{name}/{method}/{metric}", value=float(value.mean()), unit=unit, n=len(value), note="n counts frames")
                      for name, value in values.items()]
            mean = float(np.mean([value.mean() for value in values.values()]))
            found.append(Measure(name=f"{MEAN}/{method}/{metric}", value=mean, unit=unit, n=len(values), note="n counts videos"))
        known = {measure.name: measure.value or 0.0 for measure in found}
        found += [Measure(name=f"{name}/{GAIN}/{metric}", value=known[f"{name}/decoder/{metric}"] - known[f"{name}/gap_tv/{metric}"],
                          unit=unit) for name in (*judged, MEAN)]
    found += [Measure(name=f"{name}/{method}/seconds", value=methods[method].seconds, unit="s an image", n=len(methods[method].clips))
              for name, methods in judged.items() for method in ("gap_tv", "decoder")]
    return found


def controls(judged: Judged) -> dict[str, bool]:
    """Returns by video whether the decoder passed its control: with a wrong code it shows less than the mean frame does."""
    return {name: bool(methods["wrong code"].psnr.mean() < methods["mean frame"].psnr.mean()) for name, methods in judged.items()}


def _table(judged: Judged, measures: list[Measure], metric: str, title: str) -> Table:
    known = {measure.name: measure for measure in measures}
    rows = {**METHODS, GAIN: "Gain of the decoder over GAP-TV"}
    body: list[list[Cell]] = [[label, *(known[f"{name}/{method}/{metric}"] for name in (*judged, MEAN))] for method, label in rows.items()]
    return ["Method", *judged, MEAN], body, title, []


def _controls_table(judged: Judged) -> Table:
    body: list[list[Cell]] = [[name, "passed" if passed else "FAILED"] for name, passed in controls(judged).items()]
    return ["Video", "Control"], body, "A wrong code must show less than no code", []


def _times(judged: Judged, measures: list[Measure]) -> Table:
    known = {measure.name: measure for measure in measures}
    methods = ("gap_tv", "decoder")
    body: list[list[Cell]] = [[METHODS[method], *(known[f"{name}/{method}/seconds"] for name in judged)] for method in methods]
    note = f"The decoder's time holds the {START_ITERATIONS} iterations of GAP-TV that it starts from."
    return ["Method", *judged], body, "Seconds an image", [note]


def _frames(name: str, benchmark: SnapshotBenchmark, judged: Judged) -> tuple[bytes, str, str]:
    frame = len(benchmark.bits) // 2
    shown = {"true": benchmark.clips[name][0, frame] / 255, **{method: judged[name][method].clips[0, frame] for method in METHODS}}
    text = f"{name}, frame {frame}: {', '.join(shown)}"
    return figures.image_row(list(shown.values()), list(shown)), text, text
