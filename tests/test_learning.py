"""Learning: each loss against its equation, seeded networks, and trainings that repeat and resume bit for bit."""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise

import pytest
import torch

from optics_sim.camera import PrivacyCamera
from optics_sim.design import OpenPattern, RandomPattern
from optics_sim.errors import PrivcamError
from optics_sim.experiment import Experiment, MaskTraining, Training
from optics_sim.learning import checkpoint
from optics_sim.learning.losses import CONSTRAINTS, EPSILON, invertibility, restricted_isometry, similarity, total_variation
from optics_sim.learning.pipeline import control_design, exposed, learn_mask, start_design, train_recogniser
from optics_sim.learning.recognisers import RECOGNISERS, Standardise, recogniser
from optics_sim.learning.seeds import derived_seed, numpy_generator, torch_generator
from optics_sim.learning.train import Labelled, Trainer, augmented, correct, open_psf, train
from optics_sim.optics.mask import LearnableMask, violations

SIDE, CELLS, CLASSES = 31, (16, 16), 4
FLOAT32 = 1e-6


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def easy(each: int = 16, seed: int = 0) -> Labelled:
    """Four classes, each a smooth picture of its own under a little noise."""
    pictures = torch.rand(CLASSES, 1, 5, 5, generator=generator(99))
    pictures = torch.nn.functional.interpolate(pictures, (SIDE, SIDE), mode="bilinear")[:, 0]
    labels = torch.arange(CLASSES).repeat(each)
    noise = 0.1 * torch.randn(len(labels), SIDE, SIDE, generator=generator(seed))
    return Labelled((pictures[labels] + noise).clamp(0, 1), labels)


def experiment(epochs: int = 2, **training: object) -> Experiment:
    plan = {"epochs": epochs, "batch": 16, "shift_px": 1, "flip": False, **training}
    return Experiment(seed=3, training=Training.model_validate(plan))


def design(pattern=None):
    return start_design(OpenPattern() if pattern is None else pattern, (SIDE, SIDE), CELLS, bin_px=20)


def weights_of(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(value.equal(second[name]) for name, value in first.items())


# --- losses ---------------------------------------------------------------------------------------
NOTHING = torch.zeros(1, 1, 1)


@pytest.mark.parametrize(("rows", "expected"), [
    ([[1, 0], [0, 1]], -2.0), ([[1, 1], [0, 0]], -1.0), ([[1, 1], [1, 1]], 0.0), ([[1, 0, 1], [1, 1, 1]], -1 / 2 - 1 / 3)])
def test_total_variation_by_hand(rows, expected):
    value = total_variation(torch.tensor(rows, dtype=torch.float32), NOTHING, NOTHING, NOTHING)
    assert value.item() == pytest.approx(expected, abs=FLOAT32)


def test_invertibility_by_hand():
    assert invertibility(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), NOTHING, NOTHING, NOTHING).item() == -0.25


def test_similarity_by_hand():
    measured, through_open = torch.tensor([[[3.0, 0.0]]]), torch.tensor([[[4.0, 3.0]]])
    assert similarity(NOTHING, measured, through_open, NOTHING).item() == pytest.approx((1 + 9) / (16 + 9))


def test_restricted_isometry_by_hand_divides_scene_by_scene():
    scene = torch.tensor([[[2.0, 0.0]], [[0.0, 1.0]]])  # energies 4 and 1
    measured = torch.tensor([[[1.0]], [[2.0]]])  # 1 and 4
    through_open = torch.tensor([[[3.0]], [[4.0]]])  # 9 and 16
    expected = -(1 / (4 + EPSILON) + 4 / (1 + EPSILON)) / (9 / (4 + EPSILON) + 16 / (1 + EPSILON))
    assert restricted_isometry(NOTHING, measured, through_open, scene).item() == pytest.approx(expected)


def constraint_of(kind: str, mask: LearnableMask) -> torch.Tensor:
    camera = PrivacyCamera(design(), mask)
    scenes = easy(2).scenes
    measured = camera.relative_irradiance(scenes)
    return CONSTRAINTS[kind](mask(), measured, camera.relative_irradiance(scenes, open_psf(camera)), scenes)


@pytest.mark.parametrize(("kind", "value"), [("sim", 0.0), ("inv", -1.0), ("rip", -1.0), ("tv", 0.0)])
def test_the_open_mask_has_the_value_the_normalisation_promises(kind, value):
    opened = LearnableMask(torch.ones(CELLS))
    assert constraint_of(kind, opened).item() == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("kind", ["sim", "inv", "rip"])
def test_descending_a_loss_that_wants_light_opens_cells(kind):
    mask = LearnableMask.sparse(CELLS, 0.3, generator(1))
    constraint_of(kind, mask).backward()
    assert (mask.logits.grad < 0).all()  # minus the slope raises every logit


@pytest.mark.parametrize("start", [0.3, 1.0])
def test_descending_total_variation_roughens(start):
    mask = LearnableMask.sparse(CELLS, start, generator(1))
    before = constraint_of("tv", mask).item()
    optimiser = torch.optim.Adam(mask.parameters(), lr=0.05)
    for _ in range(60):
        optimiser.zero_grad()
        constraint_of("tv", mask).backward()
        optimiser.step()
    assert constraint_of("tv", mask).item() < before - 0.2


def test_total_variations_slope_is_what_flipping_a_cell_changes():
    transmission = (torch.rand(6, 6, generator=generator(3)) < 0.5).float().requires_grad_()
    value = total_variation(transmission, NOTHING, NOTHING, NOTHING)
    value.backward()
    for row, column in ((0, 0), (2, 3), (5, 1)):
        flipped = transmission.detach().clone()
        flipped[row, column] = 1 - flipped[row, column]
        change = total_variation(flipped, NOTHING, NOTHING, NOTHING) - value.detach()
        slope = transmission.grad[row, column] * (flipped - transmission.detach())[row, column]
        assert change.item() == pytest.approx(slope.item(), abs=FLOAT32)


# --- recognisers ----------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", sorted(RECOGNISERS))
@pytest.mark.parametrize("side", [16, 31, 32, 33, 63, 64])
def test_recognisers_take_codes_of_any_size(kind, side):
    network = recogniser(kind, 5, generator()).eval()
    codes = torch.randint(-128, 128, (2, side, side), generator=generator(1)).float()
    with torch.no_grad():
        assert network(codes).shape == (2, 5)
        assert network.embed(codes).shape == (2, network.head.in_features)


@pytest.mark.parametrize("kind", sorted(RECOGNISERS))
def test_a_recognisers_weights_come_from_its_generator_alone(kind):
    torch.manual_seed(1)
    first = weights_of(recogniser(kind, 5, generator(2)))
    torch.manual_seed(7)
    assert same(first, weights_of(recogniser(kind, 5, generator(2))))
    assert not same(first, weights_of(recogniser(kind, 5, generator(3))))


def test_an_unknown_recogniser_is_refused():
    with pytest.raises(PrivcamError, match="unknown recogniser") as raised:
        recogniser("vgg", 5, generator())
    assert raised.value.allowed == sorted(RECOGNISERS)


def test_in_evaluation_a_score_does_not_depend_on_the_batch():
    network = recogniser("small", 5, generator()).eval()
    codes = torch.randint(-128, 128, (4, 32, 32), generator=generator(1)).float()
    with torch.no_grad():
        assert torch.allclose(network(codes)[:1], network(codes[:1]), atol=1e-5)


def test_standardise_centres_codes_and_bears_constant_ones():
    step = Standardise()
    codes = 40 + 9 * torch.randn(8, 16, 16, generator=generator())
    step.measure(codes)
    assert step(codes).mean().item() == pytest.approx(0, abs=1e-5) and step(codes).std().item() == pytest.approx(1, abs=1e-5)
    step.measure(torch.full((2, 4, 4), -128.0))
    assert step(torch.full((2, 4, 4), -128.0)).abs().max() == 0


# --- augmentation and seeds -----------------------------------------------------------------------
def test_without_flip_and_shift_scenes_stay_as_they_are():
    scenes = easy(1).scenes
    assert augmented(scenes, Training(shift_px=0, flip=False), generator()).equal(scenes)


def test_a_flip_mirrors_some_scenes_and_leaves_the_others():
    scenes = easy(8).scenes
    changed = augmented(scenes, Training(shift_px=0, flip=True), generator())
    kept = (changed == scenes).all((-2, -1))
    mirrored = (changed == scenes.flip(-1)).all((-2, -1))
    assert (kept ^ mirrored).all() and kept.any() and mirrored.any()


def test_a_shift_moves_a_scene_and_leaves_black_edges():
    scenes = torch.zeros(64, SIDE, SIDE)
    scenes[:, 15, 15] = 1.0
    moved = augmented(scenes, Training(shift_px=2, flip=False), generator())
    places = moved.flatten(1).argmax(1)
    assert set((places // SIDE - 15).tolist()) == set((places % SIDE - 15).tolist()) == set(range(-2, 3))
    white = augmented(torch.ones(64, SIDE, SIDE), Training(shift_px=2, flip=False), generator())
    assert set(white.unique().tolist()) == {0.0, 1.0}
    assert white.mean((-2, -1)).min().item() == pytest.approx((29 / 31) ** 2)


def test_a_stages_seed_depends_on_experiment_and_name_only():
    assert derived_seed(0, "mask") == derived_seed(0, "mask") != derived_seed(1, "mask")
    stages = [derived_seed(0, *stage) for stage in (("mask",), ("mask", 1), ("mask", 2), ("masks",), ())]
    assert len(set(stages)) == len(stages) and all(0 <= seed < 2**63 for seed in stages)
    assert derived_seed(0, "mask") == 4095362253647307921  # other machines and versions draw the same
    assert torch.rand(3, generator=torch_generator(0, "a")).equal(torch.rand(3, generator=torch_generator(0, "a")))
    assert (numpy_generator(0, "a").random(3) == numpy_generator(0, "a").random(3)).all()


# --- checkpoints ----------------------------------------------------------------------------------
def test_a_checkpoint_brings_nested_state_back(tmp_path):
    state = {"epoch": 3, "rate": 0.1 + 0.2, "none": None, "yes": True, "empty": {}, "text": "a/b",
             "optimiser": {"state": {0: {"step": torch.tensor(2.0), "moment": torch.randn(2, 3)}, 1: {}},
                           "param_groups": [{"betas": (0.9, 0.999), "params": [0, 1]}]},
             "generator": generator().get_state(), "nothing": torch.zeros(0)}
    checkpoint.save(tmp_path / "state.safetensors", state)
    loaded = checkpoint.load(tmp_path / "state.safetensors")
    assert loaded["optimiser"]["state"].keys() == {0, 1}  # whole numbers stay whole numbers
    assert loaded["optimiser"]["param_groups"] == [{"betas": [0.9, 0.999], "params": [0, 1]}]
    assert loaded["rate"] == 0.1 + 0.2 and loaded["none"] is None and loaded["yes"] is True and loaded["empty"] == {}
    for path in (("optimiser", "state", 0, "step"), ("optimiser", "state", 0, "moment"), ("generator",), ("nothing",)):
        first, second = state, loaded
        for key in path:
            first, second = first[key], second[key]
        assert first.equal(second) and first.dtype == second.dtype
    assert [file.name for file in tmp_path.iterdir()] == ["state.safetensors"]  # no part file is left


def test_a_checkpoint_is_no_pickle(tmp_path):
    checkpoint.save(tmp_path / "state", {"tensor": torch.ones(2), "epoch": 1})
    data = (tmp_path / "state").read_bytes()
    length = int.from_bytes(data[:8], "little")
    assert data[8:9] == b"{" and data[8 + length:] == torch.ones(2).numpy().tobytes()
    with pytest.raises(TypeError):
        checkpoint.save(tmp_path / "object", {"what": object()})
    assert not (tmp_path / "object").exists()


# --- training -------------------------------------------------------------------------------------
class Stopped(Exception):
    """The power went out."""


def stop_after(epoch: int):
    def on_epoch(record):
        if record["epoch"] == epoch:
            raise Stopped
    return on_epoch


def test_two_trainings_of_mask_and_network_agree_bit_for_bit_whatever_the_global_seed():
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        learned, network = learn_mask(design(), easy(), experiment(constraint="rip", constraint_weight=0.1))
        results.append((learned, weights_of(network)))
    assert results[0][0] == results[1][0] and same(results[0][1], results[1][1])


def test_another_seed_learns_another_mask():
    masks = [learn_mask(design(), easy(), experiment(1).model_copy(update={"seed": seed}))[0].optics.pattern for seed in (0, 1)]
    assert masks[0] != masks[1]


def test_a_mask_training_that_was_stopped_resumes_to_the_same_bits(tmp_path):
    plan = experiment(3, constraint="sim", constraint_weight=0.1)
    whole, network = learn_mask(design(), easy(), plan)
    with pytest.raises(Stopped):
        learn_mask(design(), easy(), plan, checkpoint=tmp_path / "part", on_epoch=stop_after(1))
    epochs = []
    resumed, other = learn_mask(design(), easy(), plan, checkpoint=tmp_path / "part", on_epoch=epochs.append)
    assert [record["epoch"] for record in epochs] == [2, 3]
    assert whole == resumed and same(weights_of(network), weights_of(other))


def test_a_recogniser_training_that_was_stopped_resumes_to_the_same_bits(tmp_path):
    fixed = exposed(design(RandomPattern()), easy().scenes)
    whole = train_recogniser(fixed, easy(), experiment(3))
    with pytest.raises(Stopped):
        train_recogniser(fixed, easy(), experiment(3), checkpoint=tmp_path / "part", on_epoch=stop_after(2))
    resumed = train_recogniser(fixed, easy(), experiment(3), checkpoint=tmp_path / "part")
    assert same(weights_of(whole), weights_of(resumed))


def test_a_trainer_put_back_to_a_state_goes_on_as_before():
    def trainer() -> Trainer:
        camera = PrivacyCamera(exposed(design(), easy().scenes), LearnableMask.sparse(CELLS, 0.2, generator(1)))
        return Trainer(camera, recogniser("small", CLASSES, generator(2)), easy(), experiment(3).training, generator(3))

    first, second = trainer(), trainer()
    first.run_epoch()
    second.restore(deepcopy(first.state()))
    assert first.run_epoch() == second.run_epoch()
    assert first.camera.mask.logits.equal(second.camera.mask.logits)


def test_the_temperature_falls_geometrically_and_the_rates_warm_up_and_decay():
    camera = PrivacyCamera(exposed(design(), easy().scenes), LearnableMask.sparse(CELLS, 0.2, generator(1)))
    plan = experiment(3, mask=MaskTraining(first_temperature=1.0, last_temperature=0.25).model_dump()).training
    trainer = Trainer(camera, recogniser("small", CLASSES, generator(2)), easy(), plan, generator(3))
    temperatures, rates = [], []
    while trainer.epoch < 3:
        trainer.run_epoch()
        temperatures.append(camera.mask.temperature.item())
        rates.append(trainer.mask_optimiser.param_groups[0]["lr"])
    assert temperatures == pytest.approx([1.0, 0.5, 0.25])
    assert all(later < earlier for earlier, later in pairwise(rates)) and rates[0] <= plan.mask.learning_rate


def test_mask_and_recogniser_learn_an_easy_task():
    plan = experiment(15, mask=MaskTraining(learning_rate=0.1).model_dump())
    records = []
    learned, network = learn_mask(design(), easy(), plan, on_epoch=records.append)
    start = LearnableMask.sparse(CELLS, plan.training.mask.start_open_fraction, torch_generator(plan.seed, "mask-start"))
    moved = (start.binary().numpy() != learned.optics.pattern.array()).mean()
    assert records[-1]["accuracy"] > 0.9 and records[-1]["cross_entropy"] < records[0]["cross_entropy"]
    assert moved > 0.01
    camera = PrivacyCamera.from_design(exposed(learned, easy().scenes))
    assert correct(camera, network, easy(8, seed=1), generator()).float().mean() > 0.9  # pictures it never saw


def test_nothing_can_be_learnt_through_a_capped_camera():
    black = control_design("black", exposed(design(), easy().scenes))
    network = train_recogniser(black, easy(), experiment(5))
    hits = correct(PrivacyCamera.from_design(black), network, easy(32, seed=1), generator()).float()
    four_sigma = 4 * (0.25 * 0.75 / len(hits)) ** 0.5
    assert abs(hits.mean().item() - 0.25) < four_sigma


@pytest.mark.parametrize("constraint", ["inv", "rip"])
def test_a_heavy_loss_opens_the_mask(constraint):
    free, heavy = (learn_mask(design(), easy(), experiment(4, constraint=kind, constraint_weight=100.0,
                                                           mask=MaskTraining(learning_rate=0.3).model_dump()))[0]
                   for kind in ("none", constraint))
    opened = [learned.optics.pattern.array().mean() for learned in (free, heavy)]
    assert opened[1] > opened[0] + 0.3


def test_masks_keep_their_printing_constraints_while_they_learn():
    limits = MaskTraining(min_feature_cells=2, max_open_fraction=0.4, start_open_fraction=0.3, learning_rate=0.3).model_dump()
    learned, _ = learn_mask(design(), easy(), experiment(2, constraint="rip", constraint_weight=100.0, mask=limits))
    pattern = torch.from_numpy(learned.optics.pattern.array())
    assert 0 < pattern.mean() <= 0.4 and violations(pattern, 2) == 0


def test_only_lensless_optics_have_a_mask_to_learn():
    identity = control_design("identity", design())
    with pytest.raises(PrivcamError, match="lensless"):
        learn_mask(identity, easy(), experiment())


def test_a_finished_training_is_not_trained_further(tmp_path):
    fixed = exposed(design(RandomPattern()), easy().scenes)
    first = train_recogniser(fixed, easy(), experiment(1), checkpoint=tmp_path / "part")
    epochs = []
    again = train_recogniser(fixed, easy(), experiment(1), checkpoint=tmp_path / "part", on_epoch=epochs.append)
    assert epochs == [] and same(weights_of(first), weights_of(again))


def test_a_training_reports_each_epoch_once():
    camera = PrivacyCamera.from_design(exposed(design(RandomPattern()), easy().scenes))
    records = []
    trainer = Trainer(camera, recogniser("small", CLASSES, generator()), easy(), experiment(2).training, generator(1))
    train(trainer, on_epoch=records.append)
    assert [record["epoch"] for record in records] == [1, 2]
    assert records[0].keys() == {"epoch", "cross_entropy", "accuracy"} and 0 <= records[0]["accuracy"] <= 1
