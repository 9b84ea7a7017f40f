"""Coded exposure trained, judged and attacked: the game moves what may learn, the attacks work, the table is whole and resumes."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch

from hil.cli import main
from optics_sim.attacks.coded_identity import CodedView, recovered_clips
from optics_sim.attacks.evaluate import Row
from optics_sim.camera import PrivacyCamera
from optics_sim.clip_experiment import ClipExperiment
from optics_sim.coding import LongCoding, ShortCoding, SingleBumpCoding, TileCoding
from optics_sim.data.clips import load_clips
from optics_sim.design import CameraDesign, LenslessOptics, RowsPattern
from optics_sim.errors import PrivcamError
from optics_sim.learning.clip_cohort import ClipCohort, gather_clips
from optics_sim.learning.clips import Clips, fit
from optics_sim.learning.coded import coding_game
from optics_sim.learning.coded_pipeline import coded_control, coded_design, coded_exposed, learned_code
from optics_sim.learning.game import Game
from optics_sim.learning.recognisers import ShiftVariant, recogniser
from optics_sim.learning.seeds import torch_generator
from optics_sim.optics.mask import LearnableMask
from optics_sim.report import metrics
from optics_sim.sensor.coded import coded_sum
from optics_sim.sensor.learned_coding import LearnableCoding
from optics_sim.tables.exposure import LABELS, variants

SIDE, SLOTS = 32, 8
QUICK = ClipExperiment.from_dict({
    "frames": SLOTS, "windows": 1, "training": {"epochs": 1, "batch": 4, "alpha": 0.0, "image_recognisers": ["shift_variant"]},
    "judging": {"epochs": 1, "frame_networks": ["small"], "decoder_steps": 2, "shuffles": 20}})


@pytest.fixture(scope="module")
def cohort() -> ClipCohort:
    return gather_clips(load_clips("synthetic:5:3:2:0", frames=SLOTS, windows=1), QUICK, (SIDE, SIDE))


def coded(cohort: ClipCohort, coding: TileCoding | SingleBumpCoding | LongCoding | ShortCoding) -> CameraDesign:
    return coded_exposed(coded_design((SIDE, SIDE), coding, "lens", "pixelwise", "test"), cohort)


# --- the shift-variant layer ----------------------------------------------------------------------
def test_shift_variant_layer_is_one_kernel_for_each_place_of_a_tile() -> None:
    drawn = torch.Generator().manual_seed(0)
    layer = ShiftVariant(2, tile_px=4)
    planes = torch.randn(1, 1, 12, 8, generator=drawn)
    kernels = layer.kernels.weight.detach().reshape(16, 2, 3, 3)  # place, output, row, column
    around = torch.nn.functional.pad(planes, (1, 1, 1, 1))[0, 0]
    wanted = torch.stack([torch.stack([(kernels[(row % 4) * 4 + column % 4] * around[row : row + 3, column : column + 3]).sum((1, 2))
                                       for column in range(8)], 1) for row in range(12)], 1)
    assert torch.allclose(layer(planes)[0], wanted, atol=1e-5)
    assert layer(planes[..., :10, :7]).shape == (1, 2, 10, 7)


# --- the game -------------------------------------------------------------------------------------
def test_code_and_mask_learn_together_and_the_design_says_what_they_became(cohort: ClipCohort, tmp_path: Path) -> None:
    start = coded_exposed(coded_design((SIDE, SIDE), TileCoding(slots=SLOTS, tile=(4, 4)), "mask", "pixelwise", "both"), cohort)
    design = learned_code(start, cohort, QUICK, tmp_path / "both", aim="actions", mask=True)
    assert isinstance(design.coding, TileCoding) and design.coding.bits and design.parent == start.digest
    assert isinstance(design.optics, LenslessOptics) and isinstance(design.optics.pattern, RowsPattern)
    assert CameraDesign.load(tmp_path / "both") == learned_code(start, cohort, QUICK, tmp_path / "both", aim="actions", mask=True)


@pytest.mark.parametrize("aim", ["actions", "video"])
def test_a_step_of_the_game_reaches_code_and_mask(cohort: ClipCohort, aim: str) -> None:
    code = LearnableCoding.drawn(torch_generator(0, "code"), slots=SLOTS, tile=(4, 4))
    optics = coded_exposed(coded_design((SIDE, SIDE), code.to_coding(), "mask", "pixelwise", "both"), cohort)
    mask = LearnableMask.sparse((16, 16), 0.1, torch_generator(0, "mask"))
    camera = PrivacyCamera(optics, mask, coding=code)
    before = (code.weights.detach().clone(), mask.logits.detach().clone())
    game = coding_game(camera, "video" if aim == "video" else "actions", cohort.encoder_train, QUICK.training, 0)
    assert [player.name for player in game.players] == ["network", "camera"]
    game.run_epoch()
    assert not torch.equal(before[0], code.weights) and not torch.equal(before[1], mask.logits)
    assert set(code().unique().tolist()) <= {0.0, 1.0}


def test_an_adversary_joins_where_alpha_is_above_zero(cohort: ClipCohort) -> None:
    code = LearnableCoding.drawn(torch_generator(0, "code"), slots=SLOTS, tile=(4, 4))
    camera = PrivacyCamera(coded(cohort, TileCoding(slots=SLOTS, tile=(4, 4))), coding=code)
    plan = QUICK.training.model_copy(update={"alpha": 2.0})
    game = coding_game(camera, "actions", cohort.encoder_train, plan, 0)
    assert [player.name for player in game.players] == ["network", "camera", "adversary"]
    assert {"camera/adversary_entropy", "adversary/accuracy"} <= set(game.run_epoch())


def test_a_code_learns_from_people_whom_the_network_never_sees(cohort: ClipCohort) -> None:
    code = LearnableCoding.drawn(torch_generator(0, "code"), slots=SLOTS, tile=(4, 4))
    camera = PrivacyCamera(coded(cohort, TileCoding(slots=SLOTS, tile=(4, 4))), coding=code)
    people = int(cohort.encoder_train.actors.max()) + 1
    game = coding_game(camera, "actions", cohort.encoder_train, QUICK.training.model_copy(update={"unseen_people": 0.5}), 0)
    seen: dict[str, set[int]] = {}
    for player, known in zip(game.players, (False, True), strict=True):
        batch = next(game._deal(torch_generator(0, "deal")))
        assert len(batch) == QUICK.training.batch
        looked = batch.actors >= people - round(people / 2)
        kept = []
        player.modules[0].register_forward_pre_hook(lambda module, given, kept=kept: kept.append(given[0]))
        player.loss(batch, torch_generator(0, "loss"))
        assert len(kept[0]) == int((looked == known).sum())
        seen[player.name] = set(batch.actors[looked == known].tolist())
    assert not seen["network"] & seen["camera"] and all(seen.values())


def test_code_and_network_may_learn_from_everyone(cohort: ClipCohort) -> None:
    code = LearnableCoding.drawn(torch_generator(0, "code"), slots=SLOTS, tile=(4, 4))
    camera = PrivacyCamera(coded(cohort, TileCoding(slots=SLOTS, tile=(4, 4))), coding=code)
    before = code.weights.detach().clone()
    game = coding_game(camera, "actions", cohort.encoder_train, QUICK.training.model_copy(update={"unseen_people": 0.0}), 0)
    assert [player.name for player in game.players] == ["camera"]
    game.run_epoch()
    assert not torch.equal(before, code.weights)


@pytest.mark.parametrize(("changed", "message"), [({"batch": 2}, "two clips for the network"), ({}, "two or more")])
def test_too_few_people_or_clips_to_learn_apart_say_so(cohort: ClipCohort, changed: dict[str, int], message: str) -> None:
    camera = PrivacyCamera(coded(cohort, TileCoding(slots=SLOTS, tile=(4, 4))),
                           coding=LearnableCoding.drawn(torch_generator(0, "code"), slots=SLOTS, tile=(4, 4)))
    one = cohort.encoder_train.take(torch.nonzero(cohort.encoder_train.actors == 0)[:, 0])
    with pytest.raises(PrivcamError, match=message):
        coding_game(camera, "actions", cohort.encoder_train if changed else one, QUICK.training.model_copy(update=changed), 0)


def test_a_stopped_game_goes_on_as_if_it_had_not(cohort: ClipCohort) -> None:
    def fresh() -> tuple[LearnableCoding, Game[Clips]]:
        code = LearnableCoding.drawn(torch_generator(0, "code"), slots=SLOTS, tile=(4, 4))
        camera = PrivacyCamera(coded(cohort, TileCoding(slots=SLOTS, tile=(4, 4))), coding=code)
        return code, coding_game(camera, "actions", cohort.encoder_train, QUICK.training.model_copy(update={"epochs": 2}), 0)

    whole, first = fresh()
    first.run_epoch()
    state = copy.deepcopy(first.state())
    first.run_epoch()
    resumed, second = fresh()
    second.restore(state)
    second.run_epoch()
    assert torch.equal(whole.weights, resumed.weights)


def test_what_cannot_learn_says_so(cohort: ClipCohort, tmp_path: Path) -> None:
    with pytest.raises(PrivcamError, match="nothing of this camera can learn"):
        learned_code(coded(cohort, LongCoding(slots=SLOTS)), cohort, QUICK, tmp_path, aim="actions")


# --- exposure -------------------------------------------------------------------------------------
def test_all_codes_share_one_exposure_and_each_fills_its_eight_bits(cohort: ClipCohort) -> None:
    long, short = coded(cohort, LongCoding(slots=SLOTS)), coded(cohort, ShortCoding(slots=SLOTS, slot=4))
    assert long.exposure == short.exposure
    assert long.readout.shift == short.readout.shift + 3  # an eighth of the light: three bits less to drop


# --- attacks --------------------------------------------------------------------------------------
def test_recovered_clips_agree_with_what_was_measured_and_a_code_tells_moments_apart(cohort: ClipCohort) -> None:
    texture = torch.rand(SIDE // 4, SIDE // 4, generator=torch_generator(0, "texture")).repeat_interleave(4, 0).repeat_interleave(4, 1)
    values = torch.stack([texture.roll(4 * slot // 2, -1) for slot in range(SLOTS)]).expand(4, -1, -1, -1) * 0.8
    known = Clips(values, *(torch.zeros(4, dtype=torch.long) for _ in range(3)))
    quick = QUICK.model_copy(update={"judging": QUICK.judging.model_copy(update={"decoder_steps": 0})})
    psnr = {}
    for name, coding in (("long", LongCoding(slots=SLOTS)), ("tile", TileCoding(slots=SLOTS, tile=(4, 4), seed=1, open_fraction=0.3))):
        design = coded(cohort, coding)
        camera = PrivacyCamera.from_design(design)
        images = camera(values, generator=torch_generator(0, "images"))
        found = recovered_clips(CodedView(design, known, images, images), quick)
        assert found.restored is None and found.admm is not None and found.inverted[1].shape == values.shape
        psnr[name] = float(metrics.psnr(found.inverted[1].flatten(0, 1).numpy(), values.flatten(0, 1).numpy()).mean())
        bits = camera.coded.bits()  # type: ignore[union-attr]
        assert float(((coded_sum(found.inverted[1], bits) - coded_sum(values, bits)) / bits.sum(0).clamp_min(1)).abs().mean()) < 0.05
    assert psnr["tile"] > psnr["long"] + 2


def test_a_short_exposure_is_undone_to_the_frame_it_saw(cohort: ClipCohort) -> None:
    design = coded_control("identity", cohort, (SIDE, SIDE))
    images = PrivacyCamera.from_design(design)(cohort.identity_train.values, generator=torch_generator(0, "images"))
    quick = QUICK.model_copy(update={"judging": QUICK.judging.model_copy(update={"decoder_steps": 0})})
    found = recovered_clips(CodedView(design, cohort.identity_train, images, images), quick).inverted[1]
    seen = cohort.identity_train.values[:, 0]
    alike = [float(torch.corrcoef(torch.stack([found[:, slot].flatten(), seen.flatten()]))[0, 1]) for slot in (0, SLOTS - 1)]
    assert min(alike) > 0.6  # total variation smooths such small frames; an unseen slot left dark would be near 0


def test_images_are_attacked_through_the_camera(cohort: ClipCohort) -> None:
    seen: list[torch.Size] = []

    def see(scenes: torch.Tensor, drawn: torch.Generator) -> torch.Tensor:
        seen.append(scenes.shape)
        return scenes.mean(1)

    network = recogniser("shift_variant", int(cohort.train.actions.max()) + 1, torch_generator(0, "n"))
    fit(network, cohort.train, cohort.train.actions, QUICK.training, torch_generator(0, "g"), epochs=1, see=see)
    assert len(seen) >= 2 and all(shape[1:] == (SLOTS, SIDE, SIDE) for shape in seen)


def test_controls_show_one_clear_frame_and_nothing(cohort: ClipCohort) -> None:
    clips: Clips = cohort.test
    clear = PrivacyCamera.from_design(coded_control("identity", cohort, (SIDE, SIDE)))(clips.values, generator=torch_generator(0, "c"))
    frame = clips.values[:, 0]
    corr = torch.corrcoef(torch.stack([clear.flatten(), frame.flatten()]))[0, 1]
    assert corr > 0.98
    capped = PrivacyCamera.from_design(coded_control("black", cohort, (SIDE, SIDE)))(clips.values, generator=torch_generator(0, "c"))
    assert abs(torch.corrcoef(torch.stack([capped.flatten(), frame.flatten()]))[0, 1]) < 0.05


# --- the table ------------------------------------------------------------------------------------
SMALL = ["--scene", "32", "--seeds", "1", "--workers", "0", "--set", "training.epochs=1", "--set", "judging.epochs=1",
         "--set", "judging.decoder_steps=2", "--set", "windows=1", "--set", "frames=8", "--set", "judging.shuffles=20",
         "--set", 'judging.frame_networks=["small"]', "--set", "training.batch=4"]


@pytest.mark.slow
def test_table_is_whole_resumes_and_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    rows = ["video", "long", "tile", "mask and tile", "identity", "black"]
    command = ["table", "exposure", "--data", "synthetic:5:3:2:0", "--out", str(tmp_path), *SMALL, "--rows", *rows]
    assert main(command) == 0
    found = {measure["name"]: measure["value"] for measure in json.loads((tmp_path / "report.json").read_text())["measures"]}
    for label in rows:
        assert found[f"{label}/accuracy"] is not None and found[f"{label}/strongest"] is not None
    assert found["tile/admm_tv/psnr"] is not None and found["tile/readings"] == 1
    assert "mask and tile/admm_tv/psnr" not in found
    assert "video above tile" in (tmp_path / "table.md").read_text() and (tmp_path / "table.html").exists()
    kept = tmp_path / "rows" / "tile-seed0" / "row.json"
    before = kept.stat().st_mtime_ns
    assert main(command) == 0 and kept.stat().st_mtime_ns == before
    assert Row.model_validate_json(kept.read_text()).sample("open_fraction").value == pytest.approx(0.5, abs=0.2)
    assert main(["table", "exposure", "--data", "synthetic:5:3:2:0", "--out", str(tmp_path), *SMALL, "--rows", "no such"]) != 0


def test_every_row_has_a_name_of_its_own() -> None:
    assert len(set(LABELS)) == len(LABELS) == len(variants()) + 3
