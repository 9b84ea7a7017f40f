"""Every encoder through one factory and one call: its laws, what each baseline is known for, and the camera around it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from optics_sim.camera import PrivacyCamera
from optics_sim.design import RandomPattern
from optics_sim.encoders.bdq import Bdq
from optics_sim.encoders.degrader import Degrader
from optics_sim.encoders.factory import encoder_module
from optics_sim.encoders.flow import dense_flow
from optics_sim.encoding import (
    BdqEncoder,
    BlurEncoder,
    DegraderEncoder,
    LowResolutionEncoder,
    MotionNoiseEncoder,
    NoiseEncoder,
    ObfuscatorEncoder,
    PixelateEncoder,
    ReadoutEncoder,
)
from optics_sim.errors import PrivcamError
from optics_sim.learning.pipeline import control_design, exposed, start_design

SPECS = {
    "readout": ReadoutEncoder(), "bdq": BdqEncoder(input_range=(-60, 60)), "low_resolution": LowResolutionEncoder(factor=4),
    "blur": BlurEncoder(sigma_px=2.0), "pixelate": PixelateEncoder(block_px=5), "noise": NoiseEncoder(sigma=9.0),
    "motion_noise": MotionNoiseEncoder(), "degrader": DegraderEncoder(), "obfuscator": ObfuscatorEncoder(),
}
SHAPES = {"bdq": (2, 3, 17, 22), "low_resolution": (2, 4, 4, 5)}
LEARN_NOTHING = [kind for kind in SPECS if kind not in ("bdq", "degrader", "obfuscator")]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth(count: int, rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    coarse = torch.rand(count, 1, rows // 3, columns // 3, generator=generator(seed))
    return torch.nn.functional.interpolate(coarse, (rows, columns), mode="bicubic")[:, 0].clamp(0, 1)


def clips(seed: int = 0) -> torch.Tensor:
    return (smooth(8, 17, 22, seed) * 255 - 128).round().reshape(2, 4, 17, 22)


# --- laws of all ----------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", SPECS)
def test_codes_have_their_size_and_are_whole(kind):
    codes = encoder_module(SPECS[kind])(clips(), generator=generator())
    assert tuple(codes.shape) == SHAPES.get(kind, (2, 4, 17, 22))
    low, high = (0, 15) if kind in ("bdq", "degrader") else (-128, 127)
    assert codes.sub(codes.round()).abs().max() <= 1e-5 and low <= codes.min() and codes.max() <= high


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("hard", [True, False])
def test_a_clip_alone_gives_the_same_code(kind, hard):
    encoder = encoder_module(SPECS[kind])
    assert torch.allclose(encoder(clips(), hard=hard)[1:], encoder(clips()[1:], hard=hard), atol=1e-3)


@pytest.mark.parametrize("kind", SPECS)
def test_forward_changes_no_state_and_draws_from_its_generator_alone(kind):
    encoder = encoder_module(SPECS[kind])
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    torch.manual_seed(1)
    first = encoder(clips(), generator=generator(4))
    torch.manual_seed(2)
    assert first.equal(encoder(clips(), generator=generator(4)))
    assert all(value.equal(before[name]) for name, value in encoder.state_dict().items())
    assert first.equal(encoder(clips(), generator=generator(5))) == ("noise" not in kind)


@pytest.mark.parametrize("kind", [kind for kind in SPECS if kind != "motion_noise"])
def test_soft_codes_have_a_slope_everywhere_it_can_be(kind):
    codes = clips().requires_grad_()
    encoder_module(SPECS[kind])(codes, generator=generator(), hard=False).square().mean().backward()
    assert codes.grad.isfinite().all() and codes.grad.abs().max() > 0


@pytest.mark.parametrize("kind", LEARN_NOTHING)
def test_a_baseline_has_no_parameters(kind):
    assert list(encoder_module(SPECS[kind]).parameters()) == []


# --- what each is known for -----------------------------------------------------------------------
def test_low_resolution_is_the_mean_of_blocks():
    means = clips().numpy()[..., :16, :20].reshape(2, 4, 4, 4, 5, 4).mean((3, 5))
    np.testing.assert_allclose(encoder_module(SPECS["low_resolution"])(clips(), hard=False).numpy(), means, atol=1e-4)


def test_low_resolution_refuses_blocks_larger_than_the_frame():
    with pytest.raises(PrivcamError, match="no whole block"):
        encoder_module(LowResolutionEncoder(factor=18))(clips())


def test_pixelation_is_constant_in_blocks_and_keeps_cut_ones():
    codes = encoder_module(SPECS["pixelate"])(clips(), hard=False)
    corner = clips()[..., 15:, 20:].mean((-2, -1), keepdim=True)
    assert torch.allclose(codes[..., 15:, 20:], corner.expand(2, 4, 2, 2), atol=1e-4)
    assert codes[..., :5, :5].flatten(-2).std(-1).max() <= 1e-4


def test_blur_spreads_a_point_by_its_sigma():
    point = torch.zeros(1, 1, 31, 31)
    point[..., 15, 15] = 1
    spread = encoder_module(BlurEncoder(sigma_px=2.5))(point, hard=False)[0, 0]
    distance = torch.arange(31) - 15.0
    assert float(spread.sum()) == pytest.approx(1, abs=1e-5)
    assert float((spread.sum(0) * distance.square()).sum().sqrt()) == pytest.approx(2.5, rel=0.02)  # cut at three sigma


def test_noise_has_its_sigma_and_is_independent_between_clips():
    still = torch.zeros(2, 4, 64, 64)
    noisy = encoder_module(NoiseEncoder(sigma=9.0))(still, generator=generator(), hard=False)
    assert float(noisy.std()) == pytest.approx(9, rel=0.03)
    assert abs(float((noisy[0] * noisy[1]).mean())) < 81 * 0.05


def moving(shift: tuple[int, int], frames: int = 4) -> torch.Tensor:
    large = smooth(1, 96, 96, 3)[0] * 255 - 128
    return torch.stack([large[24 - shift[0] * t : 72 - shift[0] * t, 24 - shift[1] * t : 72 - shift[1] * t] for t in range(frames)])[None]


@pytest.mark.parametrize("shift", [(0, 0), (1, 2), (-2, 1)])
def test_the_flow_of_a_shifted_picture_is_its_shift(shift):
    clip = moving(shift)
    flow = dense_flow(clip[:, 0], clip[:, 1])[..., 6:-6, 6:-6]
    error = (flow - torch.tensor(shift)[:, None, None]).square().sum(1).sqrt()
    assert float(error.median()) < 0.1


@pytest.mark.parametrize("shift", [(0, 0), (1, 2), (-2, 1)])
def test_moving_noise_moves_with_the_clip(shift):
    codes = encoder_module(MotionNoiseEncoder())(moving(shift), generator=generator())[0]
    expected = codes[0].roll(shift, (0, 1))
    assert float((codes[1] == expected)[6:-6, 6:-6].float().mean()) > 0.95


def test_moving_noise_shows_nothing_of_a_still_clip():
    dark, bright = torch.full((1, 3, 24, 24), -100.0), torch.full((1, 3, 24, 24), 100.0)
    encoder = encoder_module(MotionNoiseEncoder())
    assert encoder(dark, generator=generator()).equal(encoder(bright, generator=generator()))


def test_a_degrader_comes_back_from_its_file(tmp_path):
    encoder = Degrader(DegraderEncoder(seed=3))
    assert encoder.to_spec() == encoder.spec
    with torch.no_grad():
        next(encoder.parameters()).add_(0.1)
    with pytest.raises(PrivcamError, match="in no file"):
        encoder.to_spec()
    spec = encoder.save(tmp_path / "degrader.safetensors")
    assert encoder.to_spec() == spec and encoder_module(spec)(clips()).equal(encoder(clips()))
    with pytest.raises(PrivcamError, match="not the design's"):
        Degrader(spec.model_copy(update={"sha256": "0" * 64}))
    with pytest.raises(PrivcamError, match="cannot be read"):
        Degrader(DegraderEncoder(weights=str(tmp_path / "none")))


# --- in the camera --------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def design():
    scenes = smooth(16, 31, 31)
    return exposed(control_design("identity", start_design(RandomPattern(seed=3), (31, 31), (16, 16), bin_px=20)), scenes)


def scene_clips() -> torch.Tensor:
    return smooth(6, 31, 31, 5).reshape(2, 3, 31, 31)


@pytest.mark.parametrize("kind", SPECS)
def test_a_camera_gives_its_design_back_and_ends_in_its_encoder(design, kind):
    changed = design.replace(encoder=SPECS[kind].model_dump())
    camera = PrivacyCamera.from_design(changed)
    assert camera.to_design() == changed
    assert not any(parameter.requires_grad for parameter in camera.parameters())
    source = generator(2)
    readout = PrivacyCamera(design)(scene_clips(), generator=source)
    assert camera(scene_clips(), generator=generator(2)).equal(encoder_module(SPECS[kind])(readout, generator=source))


@pytest.mark.parametrize("kind", SPECS)
def test_a_design_with_an_encoder_survives_its_file(design, kind, tmp_path):
    changed = design.replace(encoder=SPECS[kind].model_dump())
    assert type(changed).load(changed.save(tmp_path)) == changed


def test_a_camera_learns_its_encoder(design):
    start = design.replace(encoder=BdqEncoder(input_range=(-60, 60)).model_dump())
    camera = PrivacyCamera(start, encoder=Bdq(start.encoder))
    assert camera.to_design("same").encoder == start.encoder
    camera(scene_clips(), generator=generator(), hard=False).square().mean().backward()
    torch.optim.SGD(camera.parameters(), lr=0.1).step()
    learned = camera.to_design("learned")
    assert learned.encoder != start.encoder and learned.parent == start.digest
    assert PrivacyCamera(learned)(scene_clips(), generator=generator()).equal(camera(scene_clips(), generator=generator()))


def test_a_degrader_trains_on_the_whole_codes_that_it_sends() -> None:
    encoder = Degrader(DegraderEncoder(width=4, blocks=1))
    frames = torch.tensor([[[-200.0, -128.0, -3.0, 99.0, 127.0, 300.0] * 4] * 24]).requires_grad_()
    soft = encoder(frames, hard=False)
    assert torch.equal(soft.detach(), encoder(frames).detach()) and torch.allclose(soft, soft.round(), atol=1e-4)
    assert soft.min() > -1e-4 and soft.max() < 15 + 1e-4
    soft.sum().backward()
    assert (frames.grad > 0).all()  # through the rounding, and through the clip
