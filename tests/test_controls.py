"""The attackers' controls: through a clear camera every one with the right key succeeds, through a capped one none does.

An attack that cannot break a clear camera proves nothing about ours; a test that calls everything chance proves
nothing either, so a pinhole must not pass for black.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest

from optics_sim.attacks.judge import Judgement, as_pictures, judge, reconstructions
from optics_sim.attacks.view import victims_view
from optics_sim.camera import PrivacyCamera
from optics_sim.data.synthetic import synthetic_people
from optics_sim.design import CameraDesign, OpenPattern, PinholePattern
from optics_sim.experiment import Experiment, Judging, Training
from optics_sim.learning.cohort import Cohort, gather
from optics_sim.learning.pipeline import control_design, exposed, start_design
from optics_sim.learning.seeds import torch_generator

CLEAR_PSNR_DB, CLEAR_SSIM = 30.0, 0.95  # an identity camera's 8 bits alone would give about 50 dB
RECOGNISING = ("code/network/auc", "code/lda/auc")

pytestmark = pytest.mark.slow

EXPERIMENT = Experiment(
    seed=0, enrolled=4, training=Training(epochs=2, batch=16),
    judging=Judging(decoder_pairs=60, decoder_steps=60, identity_epochs=12, images_per_victim=6, admm_iterations=30,
                    fista_iterations=30))


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return gather(synthetic_people(30, 8, 0, size=48), EXPERIMENT, (31, 31))


def design_of(kind: Literal["identity", "black", "pinhole"], cohort: Cohort) -> CameraDesign:
    scenes = cohort.train.scenes
    pattern = PinholePattern() if kind == "pinhole" else OpenPattern()
    lensless = exposed(start_design(pattern, (31, 31), (16, 16), bin_px=20), scenes)
    return lensless if kind == "pinhole" else exposed(control_design(kind, lensless), scenes)


@pytest.fixture(scope="module")
def judged(cohort) -> dict[str, Judgement]:
    return {kind: judge(PrivacyCamera.from_design(design_of(kind, cohort)), cohort.populations, EXPERIMENT)
            for kind in ("identity", "black", "pinhole")}


def value(judgement: Judgement, name: str) -> float:
    return next(sample.value for sample in judgement.samples if sample.name == name)


def inside(judgement: Judgement, name: str) -> bool:
    found = next(sample for sample in judgement.samples if sample.name == name)
    return found.shuffled[0] <= found.value <= found.shuffled[1]


@pytest.mark.parametrize("name", list(reconstructions(EXPERIMENT)))
def test_every_reconstruction_through_a_clear_camera_is_the_scene(judged, name):
    assert value(judged["identity"], f"{name}/psnr") > CLEAR_PSNR_DB
    assert value(judged["identity"], f"{name}/ssim") > CLEAR_SSIM
    assert value(judged["identity"], f"{name}/psnr") > value(judged["identity"], "mean_face/psnr") + 10


@pytest.mark.parametrize("name", RECOGNISING)
def test_recognisers_know_strangers_through_a_clear_camera(judged, name):
    found = next(sample for sample in judged["identity"].samples if sample.name == name)
    assert found.value > found.shuffled[1] + 0.1


@pytest.mark.parametrize("name", RECOGNISING)
def test_through_a_capped_camera_recognisers_are_at_chance(judged, name):
    assert inside(judged["black"], name)


@pytest.mark.parametrize("name", RECOGNISING)
def test_a_pinhole_does_not_pass_for_a_capped_camera(judged, name):
    assert not inside(judged["pinhole"], name)


@pytest.mark.parametrize("name", list(reconstructions(EXPERIMENT)))
def test_through_a_capped_camera_no_reconstruction_beats_the_mean_face(judged, name):
    assert value(judged["black"], f"{name}/psnr") < value(judged["black"], "mean_face/psnr")


def test_the_key_matters_through_a_pinhole(judged):
    right, cells, wrong = (value(judged["pinhole"], f"{name}/psnr") for name in ("tikhonov", "wrong_cells_5%", "wrong_mask"))
    assert right > cells > wrong


def test_a_judgement_repeats_to_the_bit(cohort, judged):
    again = judge(PrivacyCamera.from_design(design_of("pinhole", cohort)), cohort.populations, EXPERIMENT)
    assert again.samples == judged["pinhole"].samples
    assert all((again.pictures[name] == pictures).all() for name, pictures in judged["pinhole"].pictures.items())


def test_pictures_are_of_different_people_and_belong_together(judged, cohort):
    pictures = judged["pinhole"].pictures
    assert {"scene", "code", "mean_face", "tikhonov", "decoder"} <= pictures.keys()
    assert len({len(images) for images in pictures.values()}) == 1
    people = pictures["person"].astype(int).tolist()
    victims = cohort.populations.victims
    assert len(set(people)) >= 6 and len({scene.tobytes() for scene in pictures["scene"]}) == len(people)
    for person, scene in zip(people, pictures["scene"], strict=True):
        assert any((scene == own).all() for own in victims.scenes[victims.labels == person].numpy())


def test_an_attacker_sees_nobody_it_is_judged_on(cohort):
    populations = cohort.populations
    victims = {scene.numpy().tobytes() for scene in populations.victims.scenes}
    others = [cohort.train.scenes, cohort.validation.scenes, cohort.test.scenes, populations.attacker.scenes, populations.plain]
    assert all(scene.numpy().tobytes() not in victims for scenes in others for scene in scenes)
    parts = [{scene.numpy().tobytes() for scene in part.scenes} for part in (cohort.train, cohort.validation, cohort.test)]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]


def test_a_view_holds_codes_and_no_victims_scene(cohort):
    camera = PrivacyCamera.from_design(design_of("pinhole", cohort))
    view = victims_view(camera, cohort.populations, torch_generator(0, "view"))
    assert view.design == camera.design and len(view.codes) == len(cohort.populations.victims)
    assert view.pairs[1] is cohort.populations.plain and len(view.labelled[0]) == len(cohort.populations.attacker)
    with pytest.raises(ValueError, match="pairs"):
        reconstructions(EXPERIMENT)["decoder"](replace(view, pairs=None), None, torch_generator(0, "decoder"))


def test_a_code_is_shown_between_its_own_extremes(cohort):
    camera = PrivacyCamera.from_design(design_of("pinhole", cohort))
    shown = as_pictures(camera(cohort.test.scenes, generator=torch_generator(0, "any")))
    assert (shown.min((-2, -1)) == 0).all() and (shown.max((-2, -1)) == 1).all()
