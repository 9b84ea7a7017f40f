"""Attackers on their own: scores, discriminants, decoder, inversion with the right and a wrong key, public networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from optics_sim.attacks.identity import embed, lda_embedding, train_embedder
from optics_sim.attacks.inversion import Inverter, methods, relative_light
from optics_sim.attacks.learned import Decoder, decode, normalised, train_decoder
from optics_sim.attacks.public import FaceDetector, FaceVerifier, displayed
from optics_sim.attacks.verification import cosine_scores, verify
from optics_sim.camera import PrivacyCamera
from optics_sim.data.faces import load
from optics_sim.design import CameraDesign, LenslessOptics, OpenPattern, PinholePattern, RandomPattern, RowsPattern
from optics_sim.errors import PrivcamError
from optics_sim.experiment import Judging, Training
from optics_sim.learning.pipeline import control_design, exposed, start_design
from optics_sim.learning.train import Labelled
from optics_sim.optics.patterns import transmission
from optics_sim.report.metrics import roc_auc

LEVELS = 1e-3  # scores are compared in 2000 levels
UNBIASED = 3e-3  # of the mean relative light: the standard error of the averages below is a third of it


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def blocks(count: int = 16, side: int = 31, seed: int = 0) -> torch.Tensor:
    """A ramp with a bright block somewhere in it: piecewise smooth, as faces are."""
    scenes = torch.linspace(0.1, 0.4, side).expand(count, side, side).clone()
    places = torch.randint(2, side // 2, (count, 2), generator=generator(seed))
    for scene, (top, left) in zip(scenes, places.tolist(), strict=True):
        scene[top:top + side // 3, left:left + side // 4] = 0.8
    return scenes


def design_of(pattern=None, **changes: object) -> CameraDesign:
    pattern = RandomPattern(seed=1) if pattern is None else pattern
    start = start_design(pattern, (31, 31), (16, 16), bin_px=20)
    return exposed(start.replace(**changes) if changes else start, blocks(32))


def psnr(recovered: torch.Tensor, scene: torch.Tensor) -> float:
    return float(-10 * torch.log10((recovered - scene).square().mean()))


# --- verification ---------------------------------------------------------------------------------
PEOPLE = np.repeat(np.arange(8), 6)


def test_perfect_embeddings_verify_perfectly_and_lie_outside_the_shuffled_interval():
    result = verify(cosine_scores(np.eye(8, dtype=np.float32)[PEOPLE]), PEOPLE, rng())
    assert result.auc == result.rank1 == 1.0 and (result.images, result.people) == (48, 8)
    assert (result.auc_replicates == 1).all() and (result.rank1_replicates == 1).all()
    assert result.shuffled_auc[1] < 0.6 and result.shuffled_rank1[1] < 0.6


def test_random_embeddings_are_inside_the_shuffled_interval_nineteen_times_of_twenty():
    inside = []
    for seed in range(40):
        vectors = rng(seed).normal(size=(48, 5)).astype(np.float32)
        result = verify(cosine_scores(vectors), PEOPLE, rng(seed + 1000), shuffles=100)
        inside.append(result.shuffled_auc[0] <= result.auc <= result.shuffled_auc[1])
    assert sum(inside) >= 33  # 38 expected; 33 or fewer of 40 has a probability under 2 %


def test_the_auc_equals_the_exact_one():
    vectors = (np.eye(8)[PEOPLE] + 0.5 * rng(1).normal(size=(48, 8))).astype(np.float32)
    scores = cosine_scores(vectors)
    first, second = np.triu_indices(48, 1)
    exact = roc_auc(scores[first, second], PEOPLE[first] == PEOPLE[second])
    assert 0.6 < exact < 0.95 and verify(scores, PEOPLE, rng()).auc == pytest.approx(exact, abs=LEVELS)


def test_labels_need_not_be_numbered_from_zero():
    vectors = (np.eye(8)[PEOPLE] + rng(1).normal(size=(48, 8))).astype(np.float32)
    first, second = (verify(cosine_scores(vectors), labels, rng()) for labels in (PEOPLE, 7 * PEOPLE + 3))
    assert first.auc == second.auc and (first.auc_replicates == second.auc_replicates).all()


def test_replicates_of_two_attacks_resample_the_same_people():
    clear = (np.eye(8)[PEOPLE] + 0.5 * rng(1).normal(size=(48, 8))).astype(np.float32)
    blurred = clear + 0.1 * rng(2).normal(size=(48, 8)).astype(np.float32)
    first, second = (verify(cosine_scores(vectors), PEOPLE, rng(3)) for vectors in (clear, blurred))
    paired = np.std(first.auc_replicates - second.auc_replicates)
    unpaired = np.std(first.auc_replicates - rng(4).permutation(second.auc_replicates))
    assert paired < unpaired / 2


def test_few_people_still_give_finite_replicates():
    labels = np.repeat(np.arange(2), 4)
    result = verify(cosine_scores(rng().normal(size=(8, 3)).astype(np.float32)), labels, rng())
    assert np.isfinite(result.auc_replicates).all() and np.isfinite(result.rank1_replicates).all()
    assert np.isfinite(result.shuffled_auc).all()


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
def test_verification_without_two_people_or_without_a_pair_is_refused(labels):
    with pytest.raises(PrivcamError, match="at least two people"):
        verify(np.eye(3), np.array(labels), rng())


def test_a_zero_embedding_is_similar_to_nothing():
    scores = cosine_scores(np.array([[0, 0], [1, 0], [2, 0]], dtype=np.float32))
    assert scores[0].tolist() == [0, 0, 0] and scores[1, 2] == pytest.approx(1)


# --- identity -------------------------------------------------------------------------------------
def codes_of_people(people: int, each: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes of 12 x 12 in which identity is a weak direction and light a strong one."""
    basis = torch.randn(16, 144, generator=generator(99))
    identity = torch.randn(people, 8, generator=generator(seed)).repeat_interleave(each, 0)
    light = 4 * torch.randn(people * each, 8, generator=generator(seed + 1))
    noise = 0.5 * torch.randn(people * each, 144, generator=generator(seed + 2))
    codes = torch.cat([identity, light], 1) @ basis + noise
    return codes.reshape(-1, 12, 12), torch.arange(people).repeat_interleave(each)


def test_discriminants_learnt_on_others_tell_strangers_apart():
    seen, victims = codes_of_people(30, 8, 1), codes_of_people(10, 6, 50)
    labels = victims[1].numpy()
    found = verify(cosine_scores(lda_embedding(seen, victims[0])), labels, rng())
    plain = verify(cosine_scores(victims[0].flatten(1).numpy()), labels, rng())
    assert found.auc > 0.95 and found.auc > found.shuffled_auc[1]
    assert found.auc > plain.auc + 0.2  # what it learnt is to look away from the light


def test_discriminants_learn_nothing_from_wrong_names():
    codes, labels = codes_of_people(30, 8, 1)
    victims = codes_of_people(10, 6, 50)
    found = verify(cosine_scores(lda_embedding((codes, labels), victims[0])), victims[1].numpy(), rng())
    shuffled = labels[torch.randperm(len(labels), generator=generator(3))]
    fooled = verify(cosine_scores(lda_embedding((codes, shuffled), victims[0])), victims[1].numpy(), rng())
    assert fooled.auc < found.auc - 0.05  # it still learns what varies most, and looks away from that


def test_an_embedder_trained_on_others_is_reproducible():
    people = Labelled(blocks(24), torch.arange(4).repeat(6))
    camera = PrivacyCamera.from_design(design_of())
    plan = Training(epochs=2, batch=8)
    codes = camera(blocks(5, seed=4), generator=generator())
    vectors = [embed(train_embedder(camera, people, plan, generator(1)), codes) for _ in range(2)]
    assert vectors[0].shape == (5, 64) and (vectors[0] == vectors[1]).all()


# --- the learned decoder --------------------------------------------------------------------------
def pairs(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    scenes = blocks(count, seed=seed)
    codes = 255 * torch.nn.functional.interpolate(scenes[:, None], (16, 16), mode="area")[:, 0] - 128
    return codes.round(), torch.full_like(scenes, 0.3), scenes


def test_an_untrained_decoder_hands_the_guess_on():
    codes, _, scenes = pairs(8, 1)
    decoder = train_decoder(codes, scenes, scenes, 0, generator(), Training())
    assert decode(decoder, codes, scenes).equal(scenes)


def test_a_decoder_beats_its_guess_on_scenes_it_never_saw():
    codes, guesses, scenes = pairs(64, 1)
    decoder = train_decoder(codes, guesses, scenes, 150, generator(), Training())
    fresh, guess, truth = pairs(16, 2)
    recovered = decode(decoder, fresh, guess)
    assert recovered.shape == truth.shape and recovered.min() >= 0 and recovered.max() <= 1
    assert psnr(recovered, truth) > psnr(guess, truth) + 5


def test_more_steps_lower_the_decoders_loss():
    codes, guesses, scenes = pairs(32, 1)
    decoders = [train_decoder(codes, guesses, scenes, steps, generator(), Training()) for steps in (5, 40)]
    losses = [(decode(decoder, codes, guesses) - scenes).abs().mean() for decoder in decoders]
    assert losses[1] < losses[0] < (guesses - scenes).abs().mean()


def test_a_decoder_is_reproducible_whatever_the_global_seed():
    codes, guesses, scenes = pairs(8, 1)
    recovered = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        recovered.append(decode(train_decoder(codes, guesses, scenes, 3, generator(7), Training()), codes, guesses))
    assert recovered[0].equal(recovered[1])


@pytest.mark.parametrize("side", [31, 32, 63])
def test_a_decoder_takes_scenes_of_any_size(side):
    assert Decoder((side, side + 2))(torch.zeros(2, 16, 16), torch.zeros(2, side, side + 2)).shape == (2, side, side + 2)


def test_the_decoders_input_forgets_brightness():
    codes = torch.randn(3, 8, 8, generator=generator())
    assert torch.allclose(normalised(20 * codes), normalised(60 * codes + 40), atol=1e-4)
    assert normalised(torch.full((1, 4, 4), -128.0)).abs().max() == 0


# --- linear inversion -----------------------------------------------------------------------------
@pytest.mark.parametrize("pattern", [RandomPattern(seed=1), PinholePattern(), OpenPattern()], ids=lambda p: p.kind)
@pytest.mark.parametrize("sensor", ["imx477", "ov9281"])
def test_relative_light_undoes_the_readout_without_bias(pattern, sensor):
    design = exposed(start_design(pattern, (31, 31), (16, 16), sensor=sensor, bin_px=20), blocks(32))
    camera = PrivacyCamera.from_design(design)
    scenes = 0.8 * blocks(64)  # below the level where anything is clipped
    light = relative_light(camera(scenes, generator=generator()), design)
    expected = camera.relative_irradiance(scenes)
    assert (light.mean() / expected.mean()).item() == pytest.approx(1, abs=UNBIASED)
    slope = ((light - light.mean()) * (expected - expected.mean())).sum() / (expected - expected.mean()).square().sum()
    assert slope.item() == pytest.approx(1, abs=3 * UNBIASED)


def inverter_of(design: CameraDesign) -> Inverter:
    return Inverter(design, PrivacyCamera.from_design(design).psf(), Judging(fista_iterations=60, admm_iterations=60))


@pytest.mark.parametrize("method", sorted(methods(Judging())))
def test_the_right_key_beats_a_wrong_mask(method):
    design, scenes = design_of(), blocks(12, seed=5)
    optics = design.optics
    codes = PrivacyCamera.from_design(design)(scenes, generator=generator())
    right = inverter_of(design)
    other = RowsPattern.from_array(transmission(RandomPattern(seed=77), optics.cells, optics.cell_m))
    wrong = right.believing(other)
    assert wrong.psf.sum().item() == pytest.approx(right.psf.sum().item(), rel=1e-5)  # brightness can be seen
    recovered, fooled = right.run(method, codes), wrong.run(method, codes)
    assert recovered.shape == scenes.shape and recovered.min() >= 0 and recovered.max() <= 1
    assert psnr(recovered, scenes) > psnr(fooled, scenes)


def test_an_inverter_that_believes_the_truth_recovers_what_the_truth_does():
    design = design_of()
    codes = PrivacyCamera.from_design(design)(blocks(2), generator=generator())
    right = inverter_of(design)
    rows = RowsPattern.from_array(transmission(design.optics.pattern, design.optics.cells, design.optics.cell_m))
    assert torch.allclose(right.believing(rows).run("tikhonov", codes), right.run("tikhonov", codes), atol=1e-5)


@pytest.mark.parametrize("convolution", ["valid", "same"])
def test_a_bright_surround_does_not_stop_the_attack(convolution):
    changes = {"optics.surround": 1.0, "optics.convolution": convolution}
    if convolution == "same":
        changes |= {"readout.crop": (200, 200, 620, 620)}
    design, scenes = design_of(**changes), blocks(8, seed=5)
    codes = PrivacyCamera.from_design(design)(scenes, generator=generator())
    recovered = inverter_of(design).run("tikhonov", codes)
    assert psnr(recovered, scenes) > psnr(scenes.mean((-2, -1), keepdim=True).expand_as(scenes), scenes)


def test_an_unknown_method_and_codes_of_another_size_are_refused():
    inverter = inverter_of(design_of())
    with pytest.raises(PrivcamError, match="unknown inversion"):
        inverter.run("guess", torch.zeros(1, 16, 16))
    with pytest.raises(PrivcamError, match="does not belong"):
        inverter.run("tikhonov", torch.zeros(1, 17, 16))


def test_through_a_capped_camera_an_inverter_shows_what_there_is():
    design = control_design("black", design_of())
    codes = PrivacyCamera.from_design(design)(blocks(3), generator=generator())
    recovered = inverter_of(design).run("admm_tv", codes)
    assert recovered.shape == (3, 31, 31) and recovered.isfinite().all()


def test_the_designs_optics_say_how_to_invert():
    assert isinstance(design_of().optics, LenslessOptics)
    identity = exposed(control_design("identity", design_of()), blocks(32))
    scenes = blocks(4)
    codes = PrivacyCamera.from_design(identity)(scenes, generator=generator())
    assert psnr(inverter_of(identity).run("tikhonov", codes), scenes) > 30


# --- public networks ------------------------------------------------------------------------------
@pytest.mark.parametrize("network", [FaceVerifier, FaceDetector])
def test_a_missing_and_a_broken_network_file_are_refused(network, tmp_path):
    pytest.importorskip("onnxruntime")
    with pytest.raises(PrivcamError, match="no such network file"):
        network(tmp_path / "face.onnx")
    (tmp_path / "face.onnx").write_bytes(b"this is no network")
    with pytest.raises(PrivcamError, match="cannot be read") as raised:
        network(tmp_path / "face.onnx")
    assert raised.value.allowed == "ONNX"


def test_pictures_are_shown_on_the_srgb_curve():
    shown = displayed(np.array([[[-1.0, 0.0, 0.002, 0.2140, 1.0, 3.0]]], dtype=np.float32)).ravel()
    assert shown == pytest.approx([0, 0, 255 * 12.92 * 0.002, 127.5, 255, 255], abs=0.1)


@pytest.fixture(scope="module")
def lfw(real_data):
    pytest.importorskip("onnxruntime")
    faces = load(real_data / "faces_lfw").largest(6)
    few = np.concatenate([np.flatnonzero(faces.labels == person)[:5] for person in range(6)])
    return faces.select_images(few)


@pytest.mark.data
def test_the_public_verifier_knows_people_on_clear_pictures(lfw, real_data):
    verifier = FaceVerifier(real_data / "weights" / "mobilefacenet_xiaoccer_112x96.onnx")
    result = verify(cosine_scores(verifier.embed(lfw.gray((112, 112)))), lfw.labels, rng())
    assert result.auc > 0.95 and result.rank1 > 0.9 and result.shuffled_auc[1] < 0.7


@pytest.mark.data
def test_the_public_detector_finds_clear_faces_and_none_in_noise(lfw, real_data):
    detector = FaceDetector(real_data / "weights" / "yunet_s_320_320.onnx")
    assert detector.found(lfw.gray((112, 112))).mean() > 0.9
    assert detector.found(rng().random((8, 63, 63), dtype=np.float32)).mean() == 0


@pytest.mark.data
def test_a_network_of_another_kind_is_refused(lfw, real_data):
    with pytest.raises(PrivcamError, match="not a YuNet"):
        FaceDetector(real_data / "weights" / "mobilefacenet_xiaoccer_112x96.onnx")
    with pytest.raises(PrivcamError, match="not a face verifier"):
        FaceVerifier(real_data / "weights" / "yunet_s_320_320.onnx")
