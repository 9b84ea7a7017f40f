"""The whole forward model: its laws (state, seed, batch, gradient), which way up, the surround, and both controls."""

from __future__ import annotations

import pytest
import torch

from optics_sim.camera import WAVE_MARGIN, PrivacyCamera, image_through, mode_and_surround
from optics_sim.design import CameraDesign, DefocusOptics, OpenPattern, PinholePattern, RandomPattern
from optics_sim.errors import PrivcamError
from optics_sim.learning.pipeline import control_design, exposed, start_design
from optics_sim.learning.recognisers import recogniser
from optics_sim.optics.mask import LearnableMask
from optics_sim.sensor import presets

F = ("111111", "100000", "100000", "111100", "100000", "100000", "100000")  # nothing turns or mirrors an F into itself
ROUNDING_CODES = 0.5  # a code is the nearest integer
NOISE_SIGMAS = 5.0


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scenes(count: int = 4, side: int = 31, seed: int = 7) -> torch.Tensor:
    """Smooth random radiance in 0.05 to 0.95, different in every scene."""
    coarse = torch.rand(count, 1, 6, 6, generator=generator(seed))
    return 0.05 + 0.9 * torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear")[:, 0].clamp(0, 1)


def design_of(pattern=None, side: int = 31, cells: int = 16, sensor: str = "imx477") -> CameraDesign:
    pattern = RandomPattern(seed=3) if pattern is None else pattern
    return exposed(start_design(pattern, (side, side), (cells, cells), sensor=sensor, bin_px=20), scenes(16, side))


def noiseless(design: CameraDesign) -> CameraDesign:
    """The design at a hundred thousandfold light and as much less gain: shot noise is out of sight."""
    sensor = presets.load("ideal")
    quiet = sensor.model_copy(update={"gain_dn_per_e": 1e-5, "full_well_e": sensor.full_well_e * 1e5, "sources": {}})
    dark = {"readout.crop": (0, 0, *design.readout.crop[2:]), "readout.black_level_dn": 64}
    return exposed(design.replace(**{"sensor": quiet.model_dump(), **dark}), scenes(16))


def learnable(design: CameraDesign, seed: int = 5) -> PrivacyCamera:
    return PrivacyCamera(design, LearnableMask.sparse(design.optics.cells, 0.3, generator(seed)))


def everyone() -> list[CameraDesign]:
    lensless = design_of()
    lens = DefocusOptics(focal_length_m=4e-3, aperture_m=2e-3, lens_to_sensor_m=4.1e-3)
    identity = exposed(control_design("identity", lensless), scenes(16))
    defocus = exposed(identity.replace(**{"optics": lens.model_dump(), "sensor": presets.load("imx477").model_dump(),
                                          "readout.bin": (20, 20), "readout.crop": (0, 0, 620, 620),
                                          "readout.black_level_dn": 256}), scenes(16))
    return [lensless, design_of(PinholePattern()), defocus, identity, control_design("black", lensless)]


KINDS = ["random", "pinhole", "defocus", "identity", "black"]


@pytest.fixture(scope="module")
def designs() -> dict[str, CameraDesign]:
    return dict(zip(KINDS, everyone(), strict=True))


# --- laws -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
def test_a_camera_gives_its_design_back(designs, kind):
    assert PrivacyCamera.from_design(designs[kind]).to_design() == designs[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_codes_lie_on_the_int8_grid_at_the_readouts_size(designs, kind):
    codes = PrivacyCamera.from_design(designs[kind])(scenes(), generator=generator())
    assert tuple(codes.shape) == (4, *designs[kind].readout.shape)
    assert codes.equal(codes.round()) and codes.min() >= -128 and codes.max() <= 127


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_generator_state_gives_the_same_codes_whatever_the_global_seed(designs, kind):
    camera = PrivacyCamera.from_design(designs[kind])
    torch.manual_seed(1)
    first = camera(scenes(), generator=generator(4))
    torch.manual_seed(2)
    assert first.equal(camera(scenes(), generator=generator(4)))
    assert not first.equal(camera(scenes(), generator=generator(5)))


@pytest.mark.parametrize("kind", ["random", "learnable"])
def test_forward_changes_no_state_and_no_global_random_numbers(designs, kind):
    camera = learnable(designs["random"]) if kind == "learnable" else PrivacyCamera.from_design(designs["random"])
    before = {name: value.clone() for name, value in camera.state_dict().items()}
    numbers = torch.random.get_rng_state()
    scene = scenes()
    kept = scene.clone()
    camera(scene, generator=generator())
    assert all(before[name].equal(value) for name, value in camera.state_dict().items())
    assert numbers.equal(torch.random.get_rng_state()) and scene.equal(kept)


@pytest.mark.parametrize("kind", KINDS)
def test_what_light_does_to_a_scene_does_not_depend_on_its_batch(designs, kind):
    camera = PrivacyCamera.from_design(designs[kind])
    together = camera.relative_irradiance(scenes())
    alone = torch.cat([camera.relative_irradiance(scene[None]) for scene in scenes()])
    assert torch.allclose(together, alone, rtol=1e-5, atol=1e-6)


def test_without_noise_a_code_does_not_depend_on_its_batch():
    camera = PrivacyCamera.from_design(noiseless(design_of()))
    together = camera(scenes(), generator=generator(1))
    alone = torch.cat([camera(scene[None], generator=generator(2)) for scene in scenes()])
    assert together.std() > 10  # not all black, not all saturated
    assert (together - alone).abs().max() <= 1 and (together != alone).float().mean() < 0.01  # ties of the rounding


def test_every_logit_has_a_finite_gradient(designs):
    camera = learnable(designs["random"])
    network = recogniser("small", 3, generator(2))
    scores = network(camera(scenes(), generator=generator()))
    torch.nn.functional.cross_entropy(scores, torch.tensor([0, 1, 2, 0])).backward()
    slope = camera.mask.logits.grad
    assert slope.isfinite().all() and (slope != 0).all()


def test_a_cameras_gradient_points_where_more_light_is(designs):
    camera = learnable(designs["random"])
    camera.relative_irradiance(scenes()).sum().backward()
    assert (camera.mask.logits.grad > 0).all()


def test_a_learned_pattern_makes_the_same_camera_again(designs):
    camera = learnable(designs["random"])
    finished = camera.to_design("learned")
    assert finished.parent == designs["random"].digest and finished.name == "learned"
    again = PrivacyCamera.from_design(finished)
    assert again.to_design() == finished
    assert again.transmission().equal(camera.transmission().detach())
    assert again(scenes(), generator=generator()).equal(camera(scenes(), generator=generator()).detach())


def test_the_psf_of_the_other_propagation_is_had_on_request(designs):
    fixed, learned = PrivacyCamera.from_design(designs["random"]), learnable(designs["random"])
    for camera in (fixed, learned):
        shadow, wave = camera.psf("geometric"), camera.psf("wave")
        assert wave.equal(camera.psf()) and shadow.shape[-1] + 2 * WAVE_MARGIN == wave.shape[-1]


# --- which way up, how bright ---------------------------------------------------------------------
def test_an_f_through_a_pinhole_lands_upright():
    scene = torch.zeros(1, 31, 31)
    letter = torch.tensor([[float(cell) for cell in row] for row in F]).repeat_interleave(2, 0).repeat_interleave(2, 1)
    scene[0, 9:23, 10:22] = letter
    camera = PrivacyCamera.from_design(design_of(PinholePattern(), cells=15))
    code = camera(scene, generator=generator())[0]
    ways = {"upright": letter, "turned": letter.rot90(2), "mirrored": letter.flip(1), "upside down": letter.flip(0)}
    # valid convolution with 15 cells: code pixel (0, 0) looks at scene pixel (7, 7)
    seen = torch.nn.functional.pad(code, (7, 7, 7, 7), value=float(code.min()))[9:23, 10:22]
    match = {name: float(torch.corrcoef(torch.stack([seen.flatten(), way.flatten()]))[0, 1]) for name, way in ways.items()}
    assert max(match, key=match.get) == "upright" and match["upright"] > 0.9


def test_more_exposure_is_more_code(designs):
    camera = PrivacyCamera.from_design(designs["random"])
    dim, bright = (camera(scenes(), generator=generator(), photons_scale=scale) for scale in (0.5, 1.0))
    assert ((dim + 128).mean() / (bright + 128).mean()).item() == pytest.approx(0.5, abs=0.01)


def test_without_a_surround_the_outside_is_black_and_with_one_light_enters_through_the_margin_only(designs):
    dark = designs["random"]
    lit = dark.replace(**{"optics.surround": 1.0})
    scene = scenes()
    without, with_surround = (PrivacyCamera.from_design(d).relative_irradiance(scene) for d in (dark, lit))
    more = with_surround - without
    psf = PrivacyCamera.from_design(dark).psf()
    assert (more >= -1e-6).all() and more.mean() > 0
    inside = slice(WAVE_MARGIN, -WAVE_MARGIN)  # these pixels see the margin through the PSF's diffracted rim only
    rim = psf.sum() - psf[inside, inside].sum()
    assert more[..., inside, inside].max() <= rim + 1e-6
    geometric = [d.replace(**{"optics.propagation": "geometric"}) for d in (dark, lit)]
    first, second = (PrivacyCamera.from_design(d).relative_irradiance(scene) for d in geometric)
    assert first.equal(second)  # without diffraction, valid never looks outside


@pytest.mark.parametrize("mode", ["valid", "same"])
def test_a_surround_as_bright_as_an_even_scene_makes_an_even_measurement(designs, mode):
    design = designs["random"].replace(**{"optics.surround": 0.6, "optics.convolution": mode})
    even = torch.full((1, 31, 31), 0.6)
    camera = PrivacyCamera(design)
    light = image_through(even, camera.psf(), design)
    assert mode_and_surround(design) == (mode, 0.6)
    assert torch.allclose(light, 0.6 * camera.psf().sum().expand_as(light), rtol=1e-5)


# --- the controls ---------------------------------------------------------------------------------
def test_the_identity_cameras_code_is_the_scene_to_8_bits(designs):
    design = designs["identity"]
    scene = scenes()
    code = PrivacyCamera.from_design(design)(scene, generator=generator())
    electrons_of_white = design.exposure.white_photons_per_px_s * design.exposure.exposure_s
    codes_of_white = electrons_of_white * design.sensor.gain_dn_per_e / 2**design.readout.shift
    ideal = (scene * codes_of_white).clamp(0, 255)
    shot = (scene * electrons_of_white).sqrt() / electrons_of_white * codes_of_white
    inside = scene * electrons_of_white < 0.95 * design.sensor.full_well_e
    assert inside.float().mean() > 0.5
    assert ((code + 128 - ideal).abs() <= ROUNDING_CODES + NOISE_SIGMAS * shot)[inside].all()


def test_the_black_cameras_codes_carry_nothing(designs):
    camera = PrivacyCamera.from_design(designs["black"])
    bright, dark = (camera(level * scenes(), generator=generator(1)) for level in (1.0, 0.0))
    assert bright.equal(dark)  # to the bit: light changes nothing
    assert len(bright.unique()) > 2  # and it is not a constant: attackers are shown real noise


# --- guards ---------------------------------------------------------------------------------------
def test_a_scene_of_the_wrong_size_is_refused(designs):
    with pytest.raises(PrivcamError) as raised:
        PrivacyCamera.from_design(designs["random"])(torch.rand(2, 32, 31), generator=generator())
    assert raised.value.got == (32, 31) and raised.value.allowed == (31, 31)


def test_only_lensless_optics_learn(designs):
    with pytest.raises(PrivcamError, match="learnable mask"):
        PrivacyCamera(designs["identity"], LearnableMask.sparse((16, 16), 0.3, generator()))


def test_a_psf_smaller_than_the_mask_is_refused(designs):
    with pytest.raises(PrivcamError, match="smaller than the mask"):
        image_through(scenes(), torch.ones(8, 8), designs["random"])


def test_an_open_mask_lets_everything_through_and_a_pinhole_one_cell(designs):
    light = {kind: PrivacyCamera.from_design(designs["random"].replace(**{
        "optics.pattern": pattern.model_dump(), "optics.propagation": "geometric"})).psf().sum().item()
        for kind, pattern in (("open", OpenPattern()), ("pinhole", PinholePattern()))}
    assert light["open"] == pytest.approx(1.0, rel=1e-5) and light["pinhole"] == pytest.approx(1 / 256, rel=1e-5)
