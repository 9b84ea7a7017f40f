"""The convolution operator: identity of a delta, agreement with direct summation, adjoint, gradients, guards."""

from __future__ import annotations

import pytest
import torch

from optics_sim.errors import PrivcamError
from optics_sim.optics import convolution
from optics_sim.optics.convolution import (
    adjoint,
    convolve,
    convolve_reference,
    grid_of,
    output_shape,
    scene_spectrum,
    transformed_psf,
)

MODES = ("valid", "same", "full", "circular")
DELTA_TOLERANCE = 1e-6  # a float32 transform pair of 2^14 points errs by about log2(N) * 6e-8
ADJOINT_TOLERANCE = 1e-5
SUMMATION_TOLERANCE = 4e-6  # direct float32 summation of 1024 terms itself errs by 1.6e-6 (against float64)
SHAPES = [((63, 63), (32, 32)), ((31, 40), (31, 8)), ((12, 13), (5, 6)), ((13, 12), (6, 5)), ((9, 9), (9, 9)), ((8, 8), (8, 8))]
LONG_PSF = [((5, 5), (12, 13)), ((4, 7), (30, 3))]  # same and full only


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def cases() -> list[tuple[str, tuple[int, int], tuple[int, int]]]:
    fitting = [(mode, *shapes) for mode in MODES for shapes in SHAPES]
    return fitting + [(mode, *shapes) for mode in ("same", "full") for shapes in LONG_PSF]


@pytest.mark.parametrize("mode", ["same", "circular"])
@pytest.mark.parametrize("side", range(31, 129))
def test_delta_is_the_identity_at_every_parity(mode: str, side: int) -> None:
    scene = random(2, side, side - side % 3)
    for psf_side in (side - side % 3, 5, 8, 31):
        psf = torch.zeros(psf_side, psf_side)
        psf[psf_side // 2, psf_side // 2] = 1
        if mode == "circular" and psf_side > scene.shape[-1]:
            continue
        assert (convolve(scene, psf, mode) - scene).abs().max() <= DELTA_TOLERANCE


@pytest.mark.parametrize("side", range(31, 129))
def test_delta_shifts_valid_and_full_exactly(side: int) -> None:
    scene = random(side, side)
    psf = torch.zeros(7, 10)
    psf[2, 3] = 1
    full = convolve(scene, psf, "full")
    assert (full[2 : 2 + side, 3 : 3 + side] - scene).abs().max() <= DELTA_TOLERANCE
    valid = convolve(scene, psf, "valid")
    assert (valid - scene[4 : side - 2, 6 : side - 3]).abs().max() <= DELTA_TOLERANCE


def test_it_is_a_convolution_and_not_a_correlation() -> None:
    scene = torch.zeros(9, 9)
    scene[4, 4] = 1
    psf = torch.arange(9.0).reshape(3, 3)
    assert torch.allclose(convolve(scene, psf, "same")[3:6, 3:6], psf, atol=1e-5)


@pytest.mark.parametrize(("mode", "scene_shape", "psf_shape"), cases())
def test_fast_path_and_gradients_equal_direct_summation(mode: str, scene_shape: tuple, psf_shape: tuple) -> None:
    scene = random(3, *scene_shape).requires_grad_()
    psf = random(*psf_shape, seed=1).requires_grad_()
    fast, slow = convolve(scene, psf, mode), convolve_reference(scene, psf, mode)
    weights = torch.randn(fast.shape, generator=torch.Generator().manual_seed(2))
    fast_all = (fast, *torch.autograd.grad((fast * weights).sum(), (scene, psf)))
    slow_all = (slow, *torch.autograd.grad((slow * weights).sum(), (scene, psf)))
    assert fast.shape[-2:] == output_shape(scene_shape, psf_shape, mode)
    for ours, theirs in zip(fast_all, slow_all, strict=True):
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() <= SUMMATION_TOLERANCE * theirs.abs().max()


@pytest.mark.parametrize(("mode", "scene_shape", "psf_shape"), cases())
def test_adjoint(mode: str, scene_shape: tuple, psf_shape: tuple) -> None:
    scene, psf = random(2, *scene_shape), random(*psf_shape, seed=1)
    forward = convolve(scene, psf, mode)
    measurement = random(*forward.shape, seed=2)
    left = (forward.double() * measurement.double()).sum()
    right = (scene.double() * adjoint(measurement, psf, scene_shape, mode).double()).sum()
    assert abs(left - right) <= ADJOINT_TOLERANCE * abs(left)


@pytest.mark.parametrize("mode", MODES)
def test_gradients_of_the_operator_and_of_its_adjoint_in_double(mode: str) -> None:
    scene = random(2, 7, 8).double().requires_grad_()
    psf = random(3, 4, seed=1).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda s, p: convolve(s, p, mode), (scene, psf))
    measurement = random(2, *output_shape((7, 8), (3, 4), mode), seed=2).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda m, p: adjoint(m, p, (7, 8), mode), (measurement, psf))


@pytest.mark.parametrize("mode", MODES)
def test_cached_scenes_give_the_same_result_and_gradient(mode: str) -> None:
    scene, psf = random(6, 63, 63), random(32, 32, seed=1).requires_grad_()
    index = torch.tensor([4, 1, 2])
    cached = scene_spectrum(scene, (32, 32), mode)[index].convolve(psf)
    plain = convolve(scene[index], psf, mode)
    assert torch.equal(cached, plain)
    gradients = [torch.autograd.grad(out.square().sum(), psf)[0] for out in (cached, plain)]
    assert torch.equal(*gradients)


def test_a_psf_per_colour_and_a_psf_per_scene_broadcast() -> None:
    scene = random(2, 3, 20, 21).requires_grad_()
    psf = random(3, 6, 5, seed=1).requires_grad_()
    together = convolve(scene, psf, "same")
    for colour in range(3):
        alone = convolve_reference(scene[:, colour], psf[colour], "same")
        assert (together[:, colour] - alone).abs().max() <= SUMMATION_TOLERANCE * alone.abs().max()
    to_scene, to_psf = torch.autograd.grad(together.square().sum(), (scene, psf))
    assert to_scene.shape == scene.shape and to_psf.shape == psf.shape
    many = random(4, 6, 5, seed=2).requires_grad_()
    one = random(20, 21).requires_grad_()
    to_one, to_many = torch.autograd.grad(convolve(one, many, "valid").sum(), (one, many))
    assert to_one.shape == one.shape and to_many.shape == many.shape


@pytest.mark.parametrize(("scene_lead", "psf_lead"), [((2,), ()), ((), ()), ((2, 3), (3,)), ((), (4,)), ((2, 1), (3,)), ((1, 3), (3,))])
@pytest.mark.parametrize(("mode", "psf_shape"), [("valid", (21, 30)), ("same", (21, 30)), ("same", (200, 7)), ("full", (60, 64)),
                                                  ("circular", (60, 9))])
def test_strips_equal_whole_planes(scene_lead: tuple, psf_lead: tuple, mode: str, psf_shape: tuple,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    scene, psf = random(*scene_lead, 60, 64).requires_grad_(), random(*psf_lead, *psf_shape, seed=1).requires_grad_()

    def everything() -> tuple[torch.Tensor, ...]:
        result = convolve(scene, psf, mode)
        sent_back = adjoint(result, psf, (60, 64), mode)
        kept = transformed_psf(psf, (60, 64), mode).convolve(scene)
        cached = scene_spectrum(scene, psf_shape, mode).convolve(psf)
        return (result.detach(), *torch.autograd.grad(result.square().sum(), (scene, psf), retain_graph=True),
                sent_back.detach(), *torch.autograd.grad(sent_back.square().sum(), (scene, psf)),
                kept.detach(), *torch.autograd.grad(kept.square().sum(), scene),
                cached.detach(), *torch.autograd.grad(cached.square().sum(), psf))

    small = everything()
    monkeypatch.setattr(convolution, "LARGE_GRID", 1)
    monkeypatch.setattr(convolution.strips, "STRIP_ELEMENTS", 1 << 10)
    for ours, theirs in zip(everything(), small, strict=True):
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() <= SUMMATION_TOLERANCE * theirs.abs().max()


@pytest.mark.parametrize("mode", MODES)
def test_a_kept_psf_gives_the_same_bits_gradient_and_transpose(mode: str) -> None:
    scene, psf = random(3, 31, 40).requires_grad_(), random(31, 8, seed=1)
    kept = transformed_psf(psf, (31, 40), mode)
    plain, ours = convolve(scene, psf, mode), kept.convolve(scene)
    assert torch.equal(plain, ours)
    gradients = [torch.autograd.grad(out.square().sum(), scene)[0] for out in (plain, ours)]
    assert torch.equal(*gradients)
    assert torch.equal(kept.adjoint(plain.detach()), adjoint(plain.detach(), psf, (31, 40), mode))
    with pytest.raises(PrivcamError, match="another shape"):
        kept.convolve(random(30, 40))


def test_energy_is_conserved() -> None:
    scene, psf = random(40, 41), random(9, 8, seed=1)
    total = convolve(scene, psf, "full").sum()
    assert torch.isclose(total, scene.sum() * psf.sum(), rtol=1e-5)
    assert torch.isclose(convolve(scene, psf, "circular").sum(), scene.sum() * psf.sum(), rtol=1e-5)


def test_guards() -> None:
    with pytest.raises(PrivcamError, match="larger than the scene"):
        convolve(random(8, 8), random(9, 3), "valid")
    with pytest.raises(PrivcamError, match="larger than the scene"):
        output_shape((8, 8), (3, 9), "circular")
    with pytest.raises(PrivcamError, match="unknown convolution mode"):
        output_shape((8, 8), (3, 3), "reflect")  # type: ignore[arg-type]
    with pytest.raises(PrivcamError, match="empty"):
        output_shape((8, 8), (0, 3), "same")
    with pytest.raises(PrivcamError, match="does not belong"):
        adjoint(random(8, 8), random(3, 3), (8, 8), "valid")
    with pytest.raises(PrivcamError, match="another PSF"):
        scene_spectrum(random(8, 8), (3, 3), "valid").convolve(random(4, 3))


def test_one_grid_is_as_small_as_exactness_allows() -> None:
    assert grid_of((63, 63), (32, 32), "valid").fft == (64, 64)
    assert grid_of((270, 480), (270, 480), "same").fft == (405, 720)
