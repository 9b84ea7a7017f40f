from __future__ import annotations

import pytest
import torch

from optics_sim.design import MuraPattern, OpenPattern
from optics_sim.errors import PrivcamError
from optics_sim.optics.mask import LearnableMask, violations
from optics_sim.optics.patterns import transmission


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def is_binary(values: torch.Tensor) -> bool:
    return bool(((values == 0) | (values == 1)).all())


@pytest.mark.parametrize("temperature", [10.0, 1.0, 0.03])
def test_forward_is_binary_and_its_gradient_that_of_the_sigmoid(temperature):
    mask = LearnableMask.sparse((32, 32), 0.2, generator(), temperature=temperature)
    weights = torch.randn(32, 32, generator=generator(1))
    clear = mask()
    assert is_binary(clear)
    (clear * weights).sum().backward()
    soft = torch.sigmoid(mask.logits.detach() / temperature)
    torch.testing.assert_close(mask.logits.grad, weights * soft * (1 - soft) / temperature)


def test_forward_changes_no_state():
    mask = LearnableMask.sparse((16, 16), 0.3, generator(), min_feature_cells=2, open_max=0.4)
    before = {name: value.clone() for name, value in mask.state_dict().items()}
    first, second = mask(), mask()
    assert torch.equal(first, second)
    assert all(torch.equal(before[name], value) for name, value in mask.state_dict().items())


def test_temperature_is_set_by_the_trainer_and_saved():
    mask = LearnableMask.sparse((8, 8), 0.3, generator())
    mask.set_temperature(0.25)
    other = LearnableMask.sparse((8, 8), 0.3, generator(5))
    other.load_state_dict(mask.state_dict())
    assert float(other.temperature) == 0.25


@pytest.mark.parametrize("fraction", [0.0, 0.11, 0.5, 1.0])
def test_sparse_start_opens_exactly_its_fraction(fraction):
    mask = LearnableMask.sparse((32, 32), fraction, generator())
    assert int(mask().sum()) == round(fraction * 1024)
    assert torch.equal(mask.logits, LearnableMask.sparse((32, 32), fraction, generator()).logits)
    assert not torch.equal(mask.logits, LearnableMask.sparse((32, 32), fraction, generator(1)).logits)


def test_start_from_a_pattern_is_that_pattern():
    mask = LearnableMask.from_pattern(MuraPattern(prime=23), (23, 23), 60e-6)
    assert torch.equal(mask().detach(), torch.from_numpy(transmission(MuraPattern(prime=23), (23, 23), 60e-6)))


@pytest.mark.parametrize("features", [1, 2, 3, 4])
@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.5, 0.8])
def test_minimum_feature_holds_exactly(features, fraction):
    for seed in range(12):
        noise = torch.randn(24, 31, generator=generator(seed))
        smooth = torch.nn.functional.avg_pool2d(noise[None, None], 3, 1, padding=1)[0, 0] if seed % 2 else noise
        logits = smooth - smooth.quantile(1 - fraction)
        clear = LearnableMask(logits, min_feature_cells=features)()
        assert is_binary(clear)
        assert violations(clear, features) == 0


def test_logits_without_bounds_still_give_a_printable_mask():
    logits = torch.full((12, 12), -torch.inf)
    logits[2:4, 2:4] = logits[5:7, 4:6] = torch.inf
    assert violations(LearnableMask(logits, min_feature_cells=2).binary(), 2) == 0


def test_violations_counts_cells_that_are_too_thin():
    clear = torch.zeros(8, 8)
    clear[2:4, 2:4] = 1
    assert violations(clear, 2) == 0
    clear[6, 6] = 1  # alone
    assert violations(clear, 2) == 1
    clear = torch.ones(9, 9)
    clear[4, 4] = 0  # an opaque speck
    assert violations(clear, 2) == 1
    edge = torch.zeros(8, 8)
    edge[:, 0] = 1  # a clear strip against the opaque frame is thin
    assert violations(edge, 2) == 8
    assert violations(1 - edge, 2) == 0  # an opaque strip joins the frame
    assert violations(edge, 1) == 0


@pytest.mark.parametrize("features", [1, 2, 3])
@pytest.mark.parametrize(("low", "high"), [(0.0, 0.25), (0.6, 1.0), (0.35, 0.5)])
def test_open_fraction_holds_with_features(features, low, high):
    for seed in range(8):
        mask = LearnableMask.sparse((32, 32), 0.1 + 0.1 * seed, generator(seed), min_feature_cells=features, open_min=low,
                                    open_max=high)
        clear = mask()
        assert low <= float(clear.detach().mean()) <= high
        assert violations(clear, features) == 0
        clear.sum().backward()
        assert bool(torch.isfinite(mask.logits.grad).all()) and bool((mask.logits.grad != 0).all())


def test_open_maximum_keeps_the_largest_logits():
    mask = LearnableMask.sparse((16, 16), 0.9, generator(), open_max=0.25)
    clear = mask().detach().bool()
    assert int(clear.sum()) == 64
    assert bool(mask.logits[clear].min() > mask.logits[~clear].max())


def test_to_pattern_is_exactly_what_forward_returned():
    mask = LearnableMask.sparse((20, 32), 0.4, generator(), min_feature_cells=2)
    pattern = mask.to_pattern()
    assert torch.equal(torch.from_numpy(pattern.array()), mask().detach())
    again = LearnableMask.from_pattern(pattern, (20, 32), 60e-6, min_feature_cells=2)
    assert again.to_pattern() == pattern


def test_guards():
    logits = torch.zeros(4, 4)
    with pytest.raises(PrivcamError, match="feature must fit"):
        LearnableMask(logits, min_feature_cells=5)
    with pytest.raises(PrivcamError, match="feature must fit"):
        LearnableMask(torch.zeros(4))
    with pytest.raises(PrivcamError, match="not in order"):
        LearnableMask(logits, open_min=0.6, open_max=0.4)
    with pytest.raises(PrivcamError, match="above zero"):
        LearnableMask(logits, temperature=0)
    with pytest.raises(PrivcamError, match="is a share"):
        LearnableMask.sparse((4, 4), 1.5, generator())
    with pytest.raises(PrivcamError, match="no threshold"):
        LearnableMask.from_pattern(OpenPattern(), (4, 4), 1e-5, min_feature_cells=4, open_min=0.3, open_max=0.7)()
