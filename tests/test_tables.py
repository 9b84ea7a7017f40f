"""Numbers over seeds and people, and a whole table in miniature that stops and resumes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from optics_sim.attacks import evaluate as evaluation
from optics_sim.attacks.evaluate import Row, depends_on, evaluate
from optics_sim.attacks.judge import Judges
from optics_sim.design import CameraDesign, DefocusOptics, OpenPattern, RandomPattern
from optics_sim.errors import PrivcamError
from optics_sim.experiment import Experiment, Judging, Training
from optics_sim.learning.pipeline import control_design, exposed, start_design
from optics_sim.report.resampling import Sample, combined, difference, grouped_mean, sample
from optics_sim.sensor import presets
from optics_sim.tables import lensless
from optics_sim.tables.lensless import MaskTask, RowTask, Setting, chosen_weights, cohort_of, read_rows, row_tasks, run_table
from optics_sim.tables.published import ACCURACY, ORDERINGS
from optics_sim.tables.work import run_all


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def width(measure) -> float:
    return measure.interval[1] - measure.interval[0]


# --- resampling -----------------------------------------------------------------------------------
def test_a_grouped_mean_resamples_people_not_pictures():
    people = np.repeat(np.arange(12), 20)
    values = rng().normal(0, 1, 12)[people] + 0.01 * rng(1).normal(size=len(people))
    by_person = grouped_mean("a", values, people, rng(2))
    by_picture = grouped_mean("a", values, np.arange(len(people)), rng(2))
    assert by_person.value == by_picture.value == pytest.approx(values.mean()) and by_person.n == 240
    ratio = np.std(by_person.replicates) / np.std(by_picture.replicates)
    assert ratio == pytest.approx(20**0.5, rel=0.2)  # twenty pictures of a person are one piece of evidence, not twenty


def test_one_seed_has_the_interval_of_its_replicates():
    one = sample("accuracy", 0.5, np.linspace(0.4, 0.6, 201), n=50)
    measure = combined([one])
    assert (measure.value, measure.n) == (0.5, 50) and "1 seed and people" in measure.interval_kind
    assert measure.interval == pytest.approx((0.405, 0.595), abs=0.003)
    assert measure == one.measure()


def test_a_number_without_replicates_has_no_interval():
    measure = combined([sample("aperture", 0.3), sample("aperture", 0.5)])
    assert measure.value == pytest.approx(0.4) and measure.interval is None


def test_missing_values_are_left_out_and_nothing_is_made_of_nothing():
    present, missing = sample("a", 0.7, rng().normal(0.7, 0.1, 200), n=10), Sample(name="a", value=None, unit="dB")
    assert combined([present, missing]).value == 0.7 and combined([missing, present]).n == 10
    nothing = combined([missing, missing])
    assert nothing.value is None and nothing.interval is None and nothing.unit == "dB" and nothing.text() == "-"


def drawn_seeds(generator: np.random.Generator, seeds: int = 3, spread: float = 0.03, people: int = 20) -> list[Sample]:
    """A figure whose truth is 0.7: seeds differ, and in each other people are measured."""
    found = []
    for _ in range(seeds):
        values = 0.7 + generator.normal(0, spread) + generator.normal(0, 0.15, people)
        found.append(grouped_mean("a", values, np.arange(people), generator))
    return found


def test_intervals_over_seeds_and_people_hold_the_truth_about_as_often_as_they_say():
    generator = rng(5)
    intervals = [combined(drawn_seeds(generator)).interval for _ in range(200)]
    held = np.mean([low <= 0.7 <= high for low, high in intervals])
    assert held > 0.92  # 0.95 less two standard errors of 200 trials; wider than needed is no lie
    assert np.mean([high - low for low, high in intervals]) < 0.5


def test_seeds_that_disagree_widen_the_interval():
    calm, wild = (combined(drawn_seeds(rng(1), spread=spread)) for spread in (0.0, 0.2))
    assert width(wild) > 2 * width(calm)


def two_rows(seeds: int = 3) -> tuple[list[Sample], list[Sample]]:
    """Two cameras on the same people; the second is 0.1 worse on everybody, the people differ much."""
    first, second = [], []
    for seed in range(seeds):
        ability = rng(seed).normal(0.7, 0.2, 15)
        for rows, loss in ((first, 0.0), (second, 0.1)):
            values = ability - loss + 0.01 * rng(100 + seed).normal(size=15)
            rows.append(grouped_mean("a", values, np.arange(15), rng(seed)))
    return first, second


def test_a_difference_is_paired_and_therefore_narrow():
    first, second = two_rows()
    paired = difference(first, second, "a - b")
    unpaired = [sample("x", a.value - b.value, np.subtract(a.replicates, rng().permutation(b.replicates)))
                for a, b in zip(first, second, strict=True)]
    assert paired.name == "a - b" and paired.value == pytest.approx(0.1)
    assert paired.interval[0] > 0.05 and width(paired) < width(combined(unpaired)) / 3


def test_a_difference_is_taken_over_seeds_that_both_have():
    first, second = two_rows()
    second[1] = Sample(name="a", value=None)
    assert difference(first, second, "d").value == pytest.approx(0.1)
    assert difference(first[:1], [Sample(name="a", value=None)], "d").value is None
    assert difference(second[:1], first[:1], "d").value == pytest.approx(-0.1)


def test_samples_survive_json():
    kept = sample("auc", 0.5, [0.4, 0.6], n=3, shuffled=(0.4, 0.6), note="x")
    assert Sample.model_validate_json(kept.model_dump_json()) == kept


# --- choosing weights, reading rows ---------------------------------------------------------------
def setting_of(out: Path, **changes: object) -> Setting:
    """A table small enough to be run whole in a test."""
    judging = Judging(decoder_pairs=10, decoder_steps=2, identity_epochs=1, images_per_victim=3, admm_iterations=3,
                      fista_iterations=3, shuffles=20, wrong_cell_fractions=(0.05,))
    experiment = Experiment(enrolled=2, training=Training(epochs=1, batch=4), judging=judging)
    data = {"data": "synthetic:6:8:0", "out": str(out), "scene": (31, 31), "cells": (16, 16), "experiment": experiment}
    return Setting.model_validate({**data, **changes})


def keep_mask(setting: Setting, label: str, weight: float, accuracy: float, aperture: float) -> None:
    folder = Path(setting.out) / MaskTask(label, weight, 0, sweep=True).folder
    folder.mkdir(parents=True)
    result = {"key": "any", "validation_accuracy": accuracy, "aperture": aperture, "weight": weight}
    (folder / "mask.json").write_text(json.dumps(result))


def test_the_largest_weight_within_five_points_and_ninety_percent_open_is_chosen(tmp_path):
    setting = setting_of(tmp_path)
    keep_mask(setting, "lwoc", 0.0, 0.90, 0.1)
    for label, results in {
        "sim": [(0.90, 0.2), (0.86, 0.3), (0.70, 0.4)],  # the third costs too much
        "tv": [(0.91, 0.2), (0.80, 0.3), (0.86, 0.4)],  # the third again does not: the largest counts
        "inv": [(0.92, 0.5), (0.91, 0.95), (0.90, 0.99)],  # the others are as good as open
        "rip": [(0.50, 0.2), (0.40, 0.2), (0.30, 0.2)],  # none will do
    }.items():
        for weight, (accuracy, aperture) in zip((0.1, 0.3, 1.0), results, strict=True):
            keep_mask(setting, label, weight, accuracy, aperture)
    assert chosen_weights(setting, (0.1, 0.3, 1.0)) == {"lwoc": 0.0, "sim": 0.3, "tv": 1.0, "inv": 0.1, "rip": 0.1}


def keep_row(out: Path, label: str, regime: str, seed: int) -> Row:
    row = Row(label=label, seed=seed, design_digest="d", depends_on="k", cohort="c", samples=(sample("accuracy", 0.1 * seed),))
    folder = out / RowTask(label, regime, seed).folder
    folder.mkdir(parents=True)
    (folder / "row.json").write_text(row.model_dump_json())
    return row


def test_rows_are_read_by_label_and_exposure_seeds_in_order(tmp_path):
    for seed in (10, 0, 2):
        keep_row(tmp_path, "lwoc", "quarter_well", seed)
    keep_row(tmp_path, "lwoc", "common", 1)
    rows = read_rows(tmp_path)
    assert rows.keys() == {("lwoc", "quarter_well"), ("lwoc", "common")}
    assert [row.seed for row in rows["lwoc", "quarter_well"]] == [0, 2, 10]
    assert rows["lwoc", "common"][0].sample("accuracy").value == pytest.approx(0.1)
    assert rows["lwoc", "common"][0].sample("no such").value is None
    assert read_rows(tmp_path / "elsewhere") == {}


def test_a_table_holds_every_mask_in_both_exposures_and_the_controls_once(tmp_path):
    tasks = row_tasks(setting_of(tmp_path), 2, {"inv": 0.3})
    assert len(tasks) == 2 + 2 * 2 * 8 and len({task.folder for task in tasks}) == len(tasks)
    assert [task.label for task in tasks[:2]] == ["identity", "black"]
    assert {task.weight for task in tasks if task.label == "inv"} == {0.3}


def test_weights_of_a_table_that_never_chose_are_refused(tmp_path):
    with pytest.raises(PrivcamError, match="no loss weights"):
        run_table(setting_of(tmp_path / "a"), 1, print, workers=0, weights_from=tmp_path / "b")


def test_published_orderings_are_between_rows_of_the_table():
    labels = {*lensless.FIXED, *lensless.LEARNED}
    assert all(pair <= labels for pair in map(set, ORDERINGS)) and all(set(column) == labels for column in ACCURACY.values())


def _double(number: int) -> int:
    if number < 0:
        raise PrivcamError("negative", got=number)
    return 2 * number


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])  # a process of its own loads torch anew
def test_tasks_hand_over_their_results_until_one_fails_in_this_process_and_in_another(workers):
    found: list[int] = []
    with pytest.raises(PrivcamError, match="negative"):
        for result in run_all(_double, [(1,), (2,), (-1,)], workers):
            found.append(result)
    assert set(found) <= {2, 4} and (workers or found == [2, 4])


# --- one row --------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def cohort():
    return cohort_of(setting_of(Path("unused")), 0)


@pytest.fixture(scope="module")
def fixed(cohort) -> CameraDesign:
    return exposed(start_design(RandomPattern(), (31, 31), (16, 16)), cohort.train.scenes)


def test_a_row_depends_on_design_experiment_data_and_what_is_asked(cohort, fixed):
    experiment = setting_of(Path("unused")).experiment
    other_cohort = cohort_of(setting_of(Path("unused")), 1)
    keys = [depends_on(fixed, experiment, cohort), depends_on(fixed.replace(name="other"), experiment, cohort),
            depends_on(fixed, experiment.model_copy(update={"seed": 1}), cohort), depends_on(fixed, experiment, other_cohort),
            depends_on(fixed, experiment, cohort, ("geometric",))]
    assert len(set(keys)) == len(keys) and keys[0] == depends_on(fixed, experiment, cohort)


def test_a_row_is_kept_found_again_and_judged_anew_when_the_experiment_changes(cohort, fixed, tmp_path, monkeypatch):
    experiment = setting_of(tmp_path).experiment
    (tmp_path / "recogniser.0123456789ab.part.safetensors").write_bytes(b"half a training of another experiment")
    epochs: list[dict[str, float]] = []
    row = evaluate("random", fixed, cohort, experiment, Judges(), folder=tmp_path, on_epoch=epochs.append)
    assert len(epochs) == 1  # trained from its own start: the stranger's checkpoint would not even load
    assert {file.name for file in tmp_path.iterdir()} == {"row.json", "design.toml", "recogniser.safetensors",
                                                          "pictures.safetensors"}
    assert evaluate("random", fixed, cohort, experiment, Judges(), folder=tmp_path, on_epoch=epochs.append) == row
    assert len(epochs) == 1 and CameraDesign.load(tmp_path) == fixed
    longer = experiment.model_copy(update={"training": experiment.training.model_copy(update={"epochs": 2})})
    changed = evaluate("random", fixed, cohort, longer, Judges(), folder=tmp_path, on_epoch=epochs.append)
    assert len(epochs) == 3 and changed.depends_on != row.depends_on


def test_a_row_stopped_while_training_resumes_to_the_same_row(cohort, fixed, tmp_path):
    experiment = setting_of(tmp_path).experiment
    longer = experiment.model_copy(update={"training": experiment.training.model_copy(update={"epochs": 2})})
    whole = evaluate("random", fixed, cohort, longer, Judges(), folder=tmp_path / "whole")

    def stop(record):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate("random", fixed, cohort, longer, Judges(), folder=tmp_path / "stopped", on_epoch=stop)
    epochs = []
    resumed = evaluate("random", fixed, cohort, longer, Judges(), folder=tmp_path / "stopped", on_epoch=epochs.append)
    assert [record["epoch"] for record in epochs] == [2] and resumed == whole


def test_properties_of_cameras_with_and_without_a_mask(cohort, fixed):
    identity = exposed(control_design("identity", fixed), cohort.train.scenes)
    lens = DefocusOptics(focal_length_m=4e-3, aperture_m=2e-3, lens_to_sensor_m=4.1e-3)
    defocus = exposed(identity.replace(**{
        "optics": lens.model_dump(), "sensor": presets.load("imx477").model_dump(), "readout.bin": (20, 20),
        "readout.crop": (0, 0, 620, 620), "readout.black_level_dn": 256}), cohort.train.scenes)
    names = [{s.name for s in evaluation.properties(evaluation.PrivacyCamera.from_design(design), cohort)}
             for design in (fixed, identity, defocus)]
    assert {"blurriness", "throughput", "exposure", "shift"} == names[1] == names[2]
    assert names[0] - names[1] == {"aperture", "condition"}


# --- a whole table --------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def small_table(tmp_path_factory) -> Setting:
    setting = setting_of(tmp_path_factory.mktemp("table"))
    run_table(setting, 1, lambda text: None, workers=0, weights=(0.1,))
    return setting


def times(out: str) -> dict[str, int]:
    return {str(file.relative_to(out)): file.stat().st_mtime_ns
            for pattern in ("rows/*/*", "masks/*/*", "sweep/*/*") for file in Path(out).glob(pattern)}


@pytest.mark.slow
def test_a_small_table_is_complete(small_table):
    rows = read_rows(Path(small_table.out))
    labels = {*lensless.FIXED, *lensless.LEARNED}
    assert rows.keys() == {(label, regime) for label in labels for regime in lensless.REGIMES} | {
        (control, "quarter_well") for control in lensless.CONTROLS}
    for (label, regime), (row,) in rows.items():
        assert 0 <= row.sample("accuracy").value <= 1 and row.sample("tikhonov/psnr").value > 0
        assert (row.sample("accuracy_geometric").value is not None) == (
            regime == "quarter_well" and label not in lensless.CONTROLS)
    assert rows["pinhole", "quarter_well"][0].sample("aperture").value == pytest.approx(1 / 256)
    exposures = [rows["pinhole", regime][0].sample("exposure").value for regime in ("quarter_well", "common")]
    assert exposures[0] > 100 * exposures[1]  # one exposure for all masks leaves a pinhole in the dark
    assert json.loads((Path(small_table.out) / "weights.json").read_text()).keys() == lensless.LEARNED.keys()


@pytest.mark.slow
def test_a_table_resumes_from_what_is_there_and_makes_a_lost_row_again_bit_for_bit(small_table):
    lost = Path(small_table.out) / RowTask("random", "common", 0).folder
    kept = {file.name: file.read_bytes() for file in lost.iterdir()}
    before = times(small_table.out)
    shutil.rmtree(lost)
    run_table(small_table, 1, lambda text: None, workers=0, weights=(0.1,))
    after = times(small_table.out)
    assert {name for name in after if after[name] != before[name]} == {f"rows/{lost.name}/{name}" for name in kept}
    assert {file.name: file.read_bytes() for file in lost.iterdir()} == kept


@pytest.mark.slow
def test_another_table_can_take_the_weights(small_table, tmp_path, monkeypatch):
    monkeypatch.setattr(lensless, "row_tasks", lambda *_: [])
    monkeypatch.setattr(lensless, "learn", lambda setting, task: task.folder)
    said: list[str] = []
    chosen = run_table(setting_of(tmp_path), 1, said.append, workers=0, weights_from=Path(small_table.out))
    assert chosen == json.loads((Path(small_table.out) / "weights.json").read_text())
    assert not any(text.startswith("sweep") for text in said)


def test_half_a_mask_training_of_another_experiment_is_no_start(tmp_path, monkeypatch):
    real = lensless.learn_mask

    def stopped(*arguments, **named):
        def stop(record):
            raise KeyboardInterrupt
        return real(*arguments, **{**named, "on_epoch": stop})

    training = Training(epochs=2, batch=4)
    first = setting_of(tmp_path / "a", experiment=setting_of(tmp_path).experiment.model_copy(update={"training": training}))
    monkeypatch.setattr(lensless, "learn_mask", stopped)
    task = MaskTask("lwoc", 0.0, 0)
    with pytest.raises(KeyboardInterrupt):
        lensless.learn(first, task)
    assert list((tmp_path / "a" / task.folder).glob("training.*.safetensors"))
    monkeypatch.setattr(lensless, "learn_mask", real)
    designs = []
    for folder in ("a", "b"):  # a holds the half training, b is fresh
        second = setting_of(tmp_path / folder)
        lensless.learn(second, task)
        designs.append(CameraDesign.load(tmp_path / folder / task.folder))
    assert designs[0] == designs[1]
    assert not list((tmp_path / "a" / task.folder).glob("training.*.safetensors"))
    assert lensless.learn(setting_of(tmp_path / "a"), task).endswith("there already")


def test_open_start_of_every_mask_has_the_settings_size(tmp_path):
    setting = setting_of(tmp_path)
    design = start_design(OpenPattern(), setting.scene, setting.cells, sensor=setting.sensor)
    assert design.readout.shape == (16, 16) and design.optics.cells == (16, 16)


def test_the_same_people_under_three_seeds_are_not_three_times_as_many():
    """Percentiles over 10 people cover about 0.90; averaging the seeds' replicates instead of pooling covers about 0.8."""
    drawn, trials, covered = np.random.default_rng(7), 200, 0
    people = np.repeat(np.arange(10), 5)
    for trial in range(trials):
        effects = drawn.normal(0.0, 1.0, 10)
        seeds = [grouped_mean("accuracy", effects[people] + drawn.normal(0.0, 0.3, 50), people, np.random.default_rng([trial, s]))
                 for s in range(3)]
        low, high = combined(seeds).interval or (np.nan, np.nan)
        covered += low <= 0.0 <= high
    assert 0.87 <= covered / trials <= 0.99
