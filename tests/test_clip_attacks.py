"""Attacks on clips: they succeed where the code is the scene, fail where it is noise, and see nothing they should not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from optics_sim.attacks import clip_evaluate
from optics_sim.attacks.clip_decoder import decoded, train_clip_decoder
from optics_sim.attacks.clip_faces import embedded, faces_are_judged, gallery_of, judge_faces
from optics_sim.attacks.clip_identity import ClipView, identity_scores, integrated
from optics_sim.attacks.judge import Judges
from optics_sim.clip_experiment import ClipExperiment
from optics_sim.encoders.factory import encode, encoder_module
from optics_sim.encoders.running_sum import running_sum
from optics_sim.encoding import BdqEncoder, BlurEncoder, DegraderEncoder, Encoder, ReadoutEncoder
from optics_sim.learning import checkpoint as store
from optics_sim.learning.clip_cohort import ClipCohort
from optics_sim.learning.clip_pipeline import clip_design
from optics_sim.learning.clip_recognisers import clip_recogniser, enlarged
from optics_sim.learning.clips import Clips, encoder_game, entropy, fit, moved, random_frames, scores_of
from optics_sim.learning.train import train

ACTORS, ACTIONS, FRAMES, SIDE = 3, 2, 6, 32
QUICK = ClipExperiment.from_dict({"frames": FRAMES, "training": {"batch": 6, "epochs": 8, "shift_px": 1},
                                  "judging": {"epochs": 8, "frame_networks": ["small"], "decoder_steps": 3, "shuffles": 40}})


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def people(takes: int, seed: int) -> Clips:
    """Squares whose brightness and stripes are the actor's, moving right (action 0) or down (action 1)."""
    drawn = generator(seed)
    values, actions, actors = [], [], []
    for actor in range(ACTORS):
        for action in range(ACTIONS):
            for _ in range(takes):
                start = torch.randint(2, 10, (2,), generator=drawn).tolist()
                clip = torch.full((FRAMES, SIDE, SIDE), 0.1)
                texture = 0.4 + 0.25 * actor * torch.ones(12, 12)
                texture[:: actor + 2] = 0.1
                for frame in range(FRAMES):
                    top, left = start[0] + 2 * frame * action, start[1] + 2 * frame * (1 - action)
                    clip[frame, top : top + 12, left : left + 12] = texture[: SIDE - top, : SIDE - left]
                values.append(clip + 0.01 * torch.randn(clip.shape, generator=drawn))
                actions.append(action)
                actors.append(actor)
    takes_of = torch.arange(len(values)) + 1000 * seed
    return Clips(torch.stack(values).clamp(0, 1), torch.tensor(actions), torch.tensor(actors), takes_of)


def as_codes(clips: Clips) -> Clips:
    return clips.with_values((255 * clips.values).round() - 128)


def view_of(known: Clips, victims: Clips, spec: Encoder) -> ClipView:
    module = encoder_module(spec)
    codes = [encode(module, as_codes(clips).values) for clips in (known, victims)]
    return ClipView(clip_design((SIDE, SIDE), spec), known.with_values(codes[0]), known.values, codes[1])


def test_a_view_holds_no_label_of_a_victim() -> None:
    view = view_of(people(1, 1), people(1, 2), ReadoutEncoder())
    held = {field.name for field in dataclasses.fields(view)}
    assert held == {"design", "known", "scenes", "codes"}
    assert isinstance(view.codes, torch.Tensor)


@pytest.mark.slow
def test_every_attack_succeeds_on_clear_codes_and_fails_on_noise() -> None:
    known, victims = people(4, 1), people(3, 2)
    clear, _ = identity_scores(view_of(known, victims, ReadoutEncoder()), QUICK)
    codes = [40 * torch.randn(clips.values.shape, generator=generator(seed)) for seed, clips in ((5, known), (6, victims))]
    noise = ClipView(clip_design((SIDE, SIDE), ReadoutEncoder()), known.with_values(codes[0]), known.values, codes[1])
    blind, _ = identity_scores(noise, QUICK)
    assert set(clear) == {"frame:small", "frames:small", "gait:small3d", "sum frame:small", "sum frames:small", "linear",
                          "restored frame:small", "restored frames:small"}
    held = {s.name: s for s in clip_evaluate.identity_samples(clear, victims, QUICK)}
    lost = {s.name: s for s in clip_evaluate.identity_samples(blind, victims, QUICK)}
    for name in held:
        if "restored" not in name:  # three steps restore nothing
            assert held[name].value > held[name].shuffled[1], name
    inside = [low - 1e-9 <= (s.value or 0) <= high + 1e-9 for s in lost.values() for low, high in [s.shuffled]]
    assert sum(inside) >= len(inside) - 1  # each is a 95 % interval


def test_the_sum_of_differences_is_what_moved() -> None:
    known = people(1, 1)
    view = integrated(view_of(known, known, BdqEncoder(blur=False, quantise=False)))
    codes = as_codes(known).values
    assert torch.allclose(view.codes, codes[:, 1:] - codes[:, :1], atol=1e-3)


def test_the_sum_of_quantised_codes_follows_what_moved() -> None:
    known = people(1, 1)
    spec = BdqEncoder(input_range=(-80.0, 80.0), sigma_px=0.3)
    view = integrated(view_of(known, known, spec))
    codes = as_codes(known).values
    found = np.corrcoef(view.codes[:, -1].flatten().numpy(), (codes[:, -1] - codes[:, 0]).flatten().numpy())[0, 1]
    assert found > 0.8


def test_the_sum_of_soft_codes_passes_through_that_of_hard_ones_and_has_a_slope() -> None:
    spec = BdqEncoder(input_range=(-80.0, 80.0), thresholds=tuple(7.0 * k - 49.0 for k in range(15)))
    hard = torch.tensor([0.0, 15.0, 7.0, 8.0]).reshape(1, 4, 1, 1)
    edges = [-80.0, *spec.thresholds, 80.0]
    middles = [(edges[int(k)] + edges[int(k) + 1]) / 2 for k in hard.flatten()]
    assert running_sum(hard, spec).flatten().tolist() == pytest.approx(np.cumsum(middles).tolist())
    soft = (hard + torch.tensor([0.5, -0.5, 0.5, -0.5]).reshape(1, 4, 1, 1)).requires_grad_()
    between = running_sum(soft, spec)
    assert between[0, 0].item() == pytest.approx((middles[0] + (edges[1] + edges[2]) / 2) / 2)
    between[0, -1].sum().backward()
    assert soft.grad is not None and bool((soft.grad > 0).all())


def test_an_encoder_can_be_trained_against_who_adds_its_codes_up() -> None:
    known = as_codes(people(2, 1))
    encoder = encoder_module(BdqEncoder(sigma_px=0.5))
    encoder.measure_range(known.values)
    plan = QUICK.training.model_copy(update={"adversary_sees": ("frame", "sum"), "epochs": 1})
    game = encoder_game(encoder, known, plan, 0)
    assert [player.name for player in game.players] == ["camera", "adversary0", "adversary1"]
    start = encoder.thresholds().detach().clone()
    game.run_epoch()
    assert not torch.equal(encoder.thresholds().detach(), start)
    spreads = [float(player.modules[0].standardise.deviation) for player in game.players[1:]]
    assert spreads[0] != spreads[1]  # the second adversary measured running sums, not codes


def test_the_sum_of_frames_is_their_running_mean() -> None:
    view = view_of(people(1, 1), people(1, 2), ReadoutEncoder())
    assert torch.allclose(integrated(view).codes[:, -1], view.codes.mean(1), atol=1e-3)


def test_a_decoder_learns_to_restore() -> None:
    clips = people(4, 1)
    blurred = encode(encoder_module(BlurEncoder(sigma_px=1.5)), as_codes(clips).values)
    errors = []
    for steps in (1, 25):
        decoder = train_clip_decoder(blurred, clips.values, steps, QUICK.training, generator())
        restored = decoded(decoder, blurred)
        assert restored.shape == clips.values.shape
        errors.append((restored - clips.values).abs().mean())
    assert errors[1] < 0.95 * errors[0] < 0.95 * (clips.values.mean(0) - clips.values).abs().mean()


# --- training -------------------------------------------------------------------------------------
def test_a_network_learns_the_action_of_unseen_takes() -> None:
    network = clip_recogniser("small3d", ACTIONS, generator())
    seen, unseen = as_codes(people(4, 1)), as_codes(people(3, 2))
    fit(network, seen, seen.actions, QUICK.training.model_copy(update={"flip": False}), generator(), epochs=10)
    assert (scores_of(network, unseen.values).argmax(-1) == unseen.actions).float().mean() > 0.9


def test_the_game_moves_sigma_and_thresholds_and_resumes_to_the_same_bits(tmp_path) -> None:
    codes = as_codes(people(3, 1))
    plan = QUICK.training.model_copy(update={"epochs": 2, "flip": False})

    def start() -> torch.nn.Module:
        encoder = encoder_module(BdqEncoder())
        encoder.measure_range(codes.values)
        return encoder

    whole = start()
    before = whole.to_spec()
    train(encoder_game(whole, codes, plan, 0))
    after = whole.to_spec()
    assert after.sigma_px != before.sigma_px and after.thresholds != before.thresholds and after.input_range == before.input_range
    broken, resumed = start(), start()
    half = encoder_game(broken, codes, plan, 0)
    half.run_epoch()
    store.save(tmp_path / "half", half.state())
    train(encoder_game(resumed, codes, plan, 0), checkpoint=tmp_path / "half")
    assert resumed.to_spec() == after


def test_an_encoder_that_stands_still_lets_the_others_learn_first() -> None:
    codes = as_codes(people(2, 1))
    encoder = encoder_module(DegraderEncoder(width=4, blocks=1))
    game = encoder_game(encoder, codes, QUICK.training.model_copy(update={"epochs": 2}), 0, still_epochs=1)
    assert torch.allclose(encoder(codes.values, hard=False), ((codes.values + 128) / 17).round(), atol=1e-4)  # it begins as the frame
    networks = [next(player.modules[-1].parameters()) for player in game.players]
    for moves in (False, True):
        before = [value.detach().clone() for value in (*encoder.parameters(), *networks)]
        game.run_epoch()
        changed = [not torch.equal(*pair) for pair in zip(before, (*encoder.parameters(), *networks), strict=True)]
        assert any(changed[: -len(networks)]) == moves and all(changed[-len(networks) :])


def test_the_encoders_loss_is_the_papers() -> None:
    codes = as_codes(people(2, 1))
    plan = QUICK.training.model_copy(update={"alpha": 3.0, "adversaries": 2})
    game = encoder_game(encoder_module(BdqEncoder()), codes, plan, 0)
    game.players[0].prepare()
    losses = game.players[0].loss(codes, generator())
    assert losses["loss"].item() == pytest.approx(losses["cross_entropy"].item() - 3 * losses["adversary_entropy"].item(), abs=1e-5)
    assert [player.name for player in game.players] == ["camera", "adversary0", "adversary1"]


def test_entropy_in_nats() -> None:
    assert entropy(torch.zeros(4, 8)).item() == pytest.approx(np.log(8))
    assert entropy(torch.eye(4) * 100).item() == pytest.approx(0, abs=1e-5)


def test_clips_move_as_a_whole() -> None:
    codes = as_codes(people(1, 1)).values
    plan = QUICK.training.model_copy(update={"shift_px": 3, "flip": False})
    shifted = moved(codes[:, :1].expand(-1, FRAMES, -1, -1).contiguous(), plan, generator())
    assert torch.equal(shifted, shifted[:, :1].expand_as(shifted)) and not torch.equal(shifted[:, 0], codes[:, 0])


def test_drawn_frames_are_frames_of_the_same_clip() -> None:
    codes = torch.arange(4.0)[:, None, None, None] * 10 + torch.arange(FRAMES)[None, :, None, None]
    drawn = random_frames(codes, 3, generator())
    assert drawn.shape == (4, 3, 1, 1)
    assert torch.equal((drawn // 10).flatten(1), torch.arange(4.0)[:, None].expand(-1, 3))


def test_small_codes_are_enlarged_by_whole_pixels() -> None:
    codes = torch.rand(2, 5, 4, 6)
    big = enlarged(codes)
    assert big.shape == (2, 5, 32, 48) and torch.equal(big[..., ::8, ::8], codes)


@pytest.mark.parametrize("kind", ["small3d", "resnet18_3d", "small", "mobile", "patches"])
def test_every_network_is_drawn_from_its_generator_and_takes_any_clip(kind: str) -> None:
    first, second = (clip_recogniser(kind, 3, generator(7)).eval() for _ in range(2))
    clip = torch.randn(2, 8, 40, 33, generator=generator())
    assert torch.equal(first(clip), second(clip)) and first(clip).shape == (2, 3)
    first.train()(clip).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in first.parameters())


def test_the_strongest_attack_and_the_trade() -> None:
    known, victims = people(2, 1), people(1, 2)
    scores, _ = identity_scores(view_of(known, victims, ReadoutEncoder()), QUICK)
    samples = clip_evaluate.identity_samples(scores, victims, QUICK)
    accuracy = samples[0].model_copy(update={"name": "accuracy", "value": 0.75})
    best, trade = clip_evaluate.strongest_and_trade([accuracy, *samples])
    assert best.value == max(s.value for s in samples) and best.note in scores
    assert trade.value == pytest.approx((0.75 + 1 - best.value) / 2)


# --- public face networks on clips ----------------------------------------------------------------
class Eyes:
    """Stands in for a face network: a picture's embedding is how many of its pixels are as bright as each of the people."""

    digest = "eyes"

    def embed(self, pictures: np.ndarray) -> np.ndarray:
        near = np.abs(pictures[..., None] - (0.4 + 0.25 * np.arange(ACTORS))) < 0.05
        return np.asarray(near.mean((1, 2)) + 1e-3, dtype=np.float32)

    def found(self, pictures: np.ndarray) -> np.ndarray:
        return (pictures.mean((1, 2)) > 0.05).astype(float)


def test_a_face_network_names_people_by_their_own_gallery() -> None:
    known, victims = people(2, 1), people(2, 2)
    gallery = gallery_of(embedded(Eyes(), known.values), known.actors)  # type: ignore[arg-type]
    named = (embedded(Eyes(), victims.values) @ gallery.T).argmax(-1)  # type: ignore[arg-type]
    assert (named == victims.actors).float().mean() > 0.6
    assert embedded(Eyes(), victims.values[:, :1].expand(-1, FRAMES, -1, -1)).shape == (len(victims), ACTORS)  # type: ignore[arg-type]


def test_faces_are_judged_only_where_they_are_known_to_be_large() -> None:
    assert faces_are_judged("semi-real", (64, 64))
    assert not faces_are_judged("semi-real", (60, 60)) and not faces_are_judged("real", (112, 112))


def test_face_networks_judge_restored_clips_and_the_clear_ones_beside_them() -> None:
    known, victims = people(2, 1), people(2, 2)
    large = [clips.with_values(torch.nn.functional.interpolate(clips.values, (64, 64))) for clips in (known, victims)]
    cohort = ClipCohort("faces", "semi-real", ("a", "b"), ("1", "2", "3"), "the person", *[large[0]] * 4, *large, note="")
    judges = Judges(Eyes(), Eyes())  # type: ignore[arg-type]
    dark = torch.zeros_like(large[1].values)
    scores, samples = judge_faces(judges, cohort, dark, 0)
    values = {sample.name: sample.value for sample in samples}
    assert set(scores) == {"restored face network"} and len(scores["restored face network"]) == len(victims)
    assert values["face_found"] == 0 and values["clear_scene/face_found"] == 1 and (values["clear_scene/face network"] or 0) > 0.6
    assert judge_faces(judges, cohort, None, 0) == ({}, [])
    assert judge_faces(judges, dataclasses.replace(cohort, kind="real"), dark, 0) == ({}, [])
