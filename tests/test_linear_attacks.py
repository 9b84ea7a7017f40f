"""Known-PSF inversions: the right key succeeds, wrong ones fail, and each solver reaches its own optimum."""

from __future__ import annotations

import pytest
import torch

from optics_sim.attacks import admm, linear
from optics_sim.attacks.admm import admm_full
from optics_sim.attacks.linear import admm_tv, data_residual, fista, linear_camera, tikhonov, wiener, wrong_cells
from optics_sim.errors import PrivcamError
from optics_sim.optics.convolution import convolve, convolve_reference, output_shape

MODES = ("valid", "same", "full", "circular")
ATTACKS = (wiener, tikhonov, fista, admm_tv)
WRONG_KEY_MARGIN = {wiener: 0.02, tikhonov: 0.1, fista: 0.1, admm_tv: 0.1}  # Wiener hardly reads a 63/32 `valid` camera


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mask(side: int = 32, open_fraction: float = 0.5, seed: int = 1) -> torch.Tensor:
    return (torch.rand(side, side, generator=generator(seed)) < open_fraction).float()


def scenes(count: int = 4, side: int = 63) -> torch.Tensor:
    """Blocks and a ramp: piecewise smooth, as faces are."""
    scene = torch.linspace(0.1, 0.4, side).expand(count, side, side).clone()
    for index in range(count):
        top, left, height = torch.randint(10, 30, (3,), generator=generator(index)).tolist()
        scene[index, top : top + height, left : left + 18] = 0.9
    return scene


def psnr(recovered: torch.Tensor, scene: torch.Tensor) -> float:
    return float(-10 * torch.log10((recovered - scene).square().mean()))


def detail_correlation(recovered: torch.Tensor, scene: torch.Tensor) -> float:
    """Correlation after a high pass, which brightness and overall shading cannot raise."""
    details = [x - torch.nn.functional.avg_pool2d(x, 15, 1, 7, count_include_pad=False) for x in (recovered, scene)]
    return float(torch.corrcoef(torch.stack([d.flatten() for d in details]))[0, 1])


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("mode", MODES)
def test_every_attack_beats_the_mean_scene_and_fails_with_the_mirrored_key(attack, mode) -> None:
    scene, psf = scenes(), mask() / 1024
    measurement = convolve(scene, psf, mode)
    right = attack(measurement, psf, (63, 63), mode)
    wrong = attack(measurement, psf.flip(-1), (63, 63), mode)
    level = scene.mean((-2, -1), keepdim=True).expand_as(scene)
    assert right.shape == scene.shape and (right >= 0).all() and right.isfinite().all()
    assert detail_correlation(right, scene) > detail_correlation(wrong, scene) + WRONG_KEY_MARGIN[attack]
    if attack is not wiener:  # what it lacks at the border costs Wiener more than the picture's contrast
        assert psnr(right, scene) > psnr(level, scene) + 1.0


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("mode", ["same", "circular"])
def test_an_identity_camera_is_read_in_full(attack, mode) -> None:
    scene = scenes()
    psf = torch.zeros(5, 5)
    psf[2, 2] = 0.25
    assert psnr(attack(0.25 * scene, psf, (63, 63), mode), scene) > 35


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_black_measurement_gives_a_black_scene_and_brightness_scales(attack) -> None:
    psf = mask()
    assert attack(torch.zeros(2, 32, 32), psf, (63, 63), "valid").abs().max() == 0
    measurement = convolve(scenes(2), psf, "valid")
    one, ten = attack(measurement, psf, (63, 63), "valid"), attack(10 * measurement, psf, (63, 63), "valid")
    assert torch.allclose(10 * one, ten, rtol=1e-2, atol=2e-2)


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_image_sees_the_rest_of_its_batch(attack) -> None:
    measurement = convolve(scenes(3), mask(), "valid")
    together = attack(measurement, mask(), (63, 63), "valid")
    alone = attack(measurement[1:2], mask(), (63, 63), "valid")
    assert torch.allclose(together[1:2], alone, atol=2e-3)


@pytest.mark.parametrize("mode", MODES)
def test_linear_camera_is_the_convolution_and_its_adjoint(mode) -> None:
    camera = linear_camera(mask(7), (13, 12), mode)
    scene = torch.rand(2, 13, 12, generator=generator())
    assert torch.allclose(camera.forward(scene), convolve_reference(scene, mask(7), mode), atol=1e-4)
    measurement = torch.rand(2, *output_shape((13, 12), (7, 7), mode), generator=generator(1))
    left, right = (camera.forward(scene) * measurement).sum(), (scene * camera.adjoint(measurement)).sum()
    assert torch.isclose(left, right, rtol=1e-5)
    largest = torch.linalg.matrix_norm(_matrix(camera), 2) ** 2
    assert largest <= camera.largest * (1 + 1e-5)


def _matrix(camera: linear.LinearCamera) -> torch.Tensor:
    count = camera.grid.scene[0] * camera.grid.scene[1]
    return camera.forward(torch.eye(count).unflatten(1, camera.grid.scene)).flatten(1).T


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dense_limit", [2048, 1], ids=["dense", "conjugate gradients"])
def test_tikhonov_solves_its_normal_equations(mode, dense_limit, monkeypatch) -> None:
    monkeypatch.setattr(linear, "DENSE_LIMIT", dense_limit)
    psf, scene = mask(6), scenes(2, 16).clamp(0.2)
    camera = linear_camera(psf, (16, 16), mode)
    measurement = convolve(scene, psf, mode)
    matrix = _matrix(camera).double()
    normal = matrix.T @ matrix + 1e-2 * camera.energy * torch.eye(256).double()
    white, flat = matrix.sum(1), measurement.flatten(1).double()
    grey = (flat @ white / white.square().sum())[:, None]
    deviation = torch.linalg.solve(normal, matrix.T @ (flat - grey * white).T).T
    expected = (grey + deviation).reshape(2, 16, 16).clamp_min(0)
    assert torch.allclose(tikhonov(measurement, psf, (16, 16), mode), expected.float(), atol=2e-3)


def test_fista_descends_to_the_data_and_its_weight_shrinks_the_scene() -> None:
    scene, psf = scenes(2), mask()
    measurement = convolve(scene, psf, "valid")
    short, long = (fista(measurement, psf, (63, 63), "valid", iterations=n) for n in (10, 200))
    residual = [data_residual(x, measurement, psf, "valid").max() for x in (short, long)]
    assert residual[1] < 0.5 * residual[0] and residual[1] < 0.01
    assert fista(measurement, psf, (63, 63), "valid", weight=100.0).norm() < long.norm()


def test_admm_tv_lowers_the_objective_it_names() -> None:
    psf = mask(8)
    psf = psf / psf.norm()
    scene = scenes(1, 24)
    scene = scene / (2 * scene.mean())
    measurement = convolve(scene, psf, "full")

    def objective(x: torch.Tensor) -> float:
        variation = x.diff(dim=-1).abs().sum() + x.diff(dim=-2).abs().sum()
        return float(0.5 * (convolve(x, psf, "full") - measurement).square().sum() + 0.05 * variation)

    best = admm_tv(measurement, psf, (24, 24), "full", iterations=1000, weight=0.05)
    at_best = objective(best)
    assert at_best < objective(scene)
    for seed in range(20):
        nudge = 0.02 * torch.randn(best.shape, generator=generator(seed))
        assert at_best <= objective((best + nudge).clamp_min(0))
    assert at_best <= objective(best * 1.01) and at_best <= objective(best * 0.99)


def full_size_case(height: int = 20, width: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    psf = (torch.rand(3, height, width, generator=generator(2)) < 0.1).float()
    psf = psf / psf.norm()
    return torch.rand(3, height, width, generator=generator(3)), psf


def textbook_admm(data: torch.Tensor, psf: torch.Tensor, iterations: int) -> torch.Tensor:
    """The same algorithm with its six variables written out, double precision, on the doubled centred grid."""
    mu1, mu2, mu3, tau = 1e-6, 1e-5, 4e-5, 1e-4
    _, height, width = psf.shape
    rows, columns = 2 * height, 2 * width
    top, left = (rows - height) // 2, (columns - width) // 2
    frame = (slice(None), slice(top, top + height), slice(left, left + width))
    padded, known, seen = (torch.zeros(3, rows, columns).double() for _ in range(3))
    padded[frame], known[frame], seen[frame] = psf.double(), data.double(), 1
    transfer = torch.fft.rfft2(torch.fft.ifftshift(padded, dim=(-2, -1)))
    delta = torch.zeros(rows, columns).double()
    delta[0, 0] = 1
    differences = [torch.fft.rfft2(delta.roll(1, axis) - delta) for axis in (0, 1)]
    division = mu1 * transfer.abs() ** 2 + mu2 * sum(d.abs() ** 2 for d in differences) + mu3

    def through(spectrum: torch.Tensor) -> torch.Tensor:
        return torch.fft.irfft2(spectrum, s=(rows, columns))

    v = xi = rho = through(0 * transfer)
    eta = [v, v]
    for _ in range(iterations):
        image = torch.fft.rfft2(v)
        slopes = [through(d * image) for d in differences]
        u = [(p + e / mu2).sign() * ((p + e / mu2).abs() - tau / mu2).clamp_min(0) for p, e in zip(slopes, eta, strict=True)]
        x = (xi + mu1 * through(transfer * image) + known) / (seen + mu1)
        w = (rho / mu3 + v).clamp_min(0)
        back = sum(d.conj() * torch.fft.rfft2(mu2 * a - e) for d, a, e in zip(differences, u, eta, strict=True))
        right = torch.fft.rfft2(mu3 * w - rho) + back + transfer.conj() * torch.fft.rfft2(mu1 * x - xi)
        v = through(right / division)
        image = torch.fft.rfft2(v)
        xi = xi + mu1 * (through(transfer * image) - x)
        eta = [e + mu2 * (through(d * image) - a) for e, d, a in zip(eta, differences, u, strict=True)]
        rho = rho + mu3 * (v - w)
    return v[frame].clamp_min(0)


@pytest.mark.parametrize("iterations", [1, 2, 30])
def test_four_state_admm_equals_the_textbook_form(iterations: int) -> None:
    data, psf = full_size_case()
    expected = textbook_admm(data, psf, iterations).float()
    ours = admm_full(data, psf, iterations)
    assert (ours - expected).norm() <= 1e-4 * expected.norm()


@pytest.mark.slow
def test_compiled_passes_equal_the_eager_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    data, psf = full_size_case()
    eager = admm_full(data, psf, 20)
    monkeypatch.setattr(admm, "LARGE", 1)
    assert (admm_full(data, psf, 20) - eager).norm() <= 1e-6 * eager.norm()


@pytest.mark.parametrize(("fraction", "count"), [(0.01, 10), (0.05, 51), (1e-6, 1), (1.0, 1024)])
def test_wrong_cells_flips_exactly_that_many(fraction: float, count: int) -> None:
    pattern = mask()
    wrong = wrong_cells(pattern, fraction, generator())
    assert int((wrong != pattern).sum()) == count
    assert set(wrong.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(wrong, wrong_cells(pattern, fraction, generator()))
    assert torch.equal(pattern, mask())


def test_more_wrong_cells_recover_less() -> None:
    scene, psf = scenes(), mask()
    measurement = convolve(scene, psf, "same")
    scores = [detail_correlation(fista(measurement, key, (63, 63), "same"), scene)
              for key in (psf, wrong_cells(psf, 0.01, generator()), wrong_cells(psf, 0.05, generator()))]
    assert scores[0] > scores[1] > scores[2]


def test_guards() -> None:
    with pytest.raises(PrivcamError, match="cannot be inverted"):
        wiener(torch.zeros(1, 32, 32), torch.zeros(32, 32), (63, 63), "valid")
    for attack in ATTACKS:
        with pytest.raises(PrivcamError, match="does not belong"):
            attack(torch.zeros(1, 31, 32), mask(), (63, 63), "valid")
    with pytest.raises(PrivcamError, match="one size"):
        admm_full(torch.zeros(3, 8, 8), torch.zeros(3, 8, 10))
    with pytest.raises(PrivcamError, match="out of range"):
        wrong_cells(mask(), 0.0, generator())
    with pytest.raises(PrivcamError, match="binary"):
        wrong_cells(mask() * 0.5, 0.1, generator())

