"""A traced network computes what torch computes: each layer alone, whole networks, odd sizes; what cannot be exported is named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from firmware_export.float_run import run
from optics_sim.errors import PrivcamError
from optics_sim.learning.recognisers import RECOGNISERS, Standardise, recogniser
from optics_sim.learning.trace import traced

FLOAT_SUMS = 1e-5
"""Two orders of summing in 32-bit floats, relative to the largest output."""
SIZES = ((16, 16), (19, 22))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(module, seed=0):
    """Returns the module with every parameter and statistic drawn, so that nothing is 0 or 1 by accident."""
    with torch.no_grad():
        for name, value in (*module.named_parameters(), *module.named_buffers()):
            if value.is_floating_point():
                positive = "running_var" in name or "deviation" in name
                value.copy_(torch.rand(value.shape, generator=generator(seed)) + 0.5 if positive
                            else 0.3 * torch.randn(value.shape, generator=generator(seed)))
                seed += 1
    return module.eval()


def assert_equal(module, frames, **options):
    """Fails unless the traced network gives torch's outputs."""
    network = traced(module, frames, **options)
    ours = run(network, {network.inputs[0]: frames.permute(0, 2, 3, 1).numpy() if frames.ndim == 4 else frames[..., None].numpy()})
    with torch.no_grad():
        wanted = module(frames)
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    for name, theirs in zip(network.outputs, wanted, strict=True):
        turned = theirs.permute(0, 2, 3, 1) if theirs.ndim == 4 else theirs
        found = ours[name][..., 0] if theirs.ndim == 3 else ours[name]
        assert found.shape == turned.shape
        assert np.abs(found - turned.numpy()).max() <= FLOAT_SUMS * max(float(turned.abs().max()), 1e-3)
    return network


class Calls(nn.Module):
    """A function of a frame as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, frames):
        return self.function(frames)


LAYERS = {
    "conv": nn.Conv2d(3, 5, 3), "conv_stride": nn.Conv2d(3, 5, 3, 2, 1), "conv_dilation": nn.Conv2d(3, 4, 3, 1, 2, 2),
    "conv_rectangle": nn.Conv2d(3, 4, (5, 2), (1, 3), (2, 1)), "conv_same": nn.Conv2d(3, 4, (4, 3), padding="same"),
    "conv_valid": nn.Conv2d(3, 4, 5, padding="valid"), "conv_reflect": nn.Conv2d(3, 4, 3, 1, 1, padding_mode="reflect"),
    "conv_replicate": nn.Conv2d(3, 4, 5, 2, 2, padding_mode="replicate"), "depthwise": nn.Conv2d(3, 3, 3, 2, 1, groups=3),
    "depthwise_multiplier": nn.Conv2d(3, 9, 3, 1, 1, groups=3, bias=False), "norm": nn.BatchNorm2d(3),
    "conv_norm_relu": nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU()),
    "norm_conv": nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)),
    "norm_reflect_conv": nn.Sequential(nn.BatchNorm2d(3), nn.ReflectionPad2d(2), nn.Conv2d(3, 4, 3)),
    "depthwise_norm_relu6": nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.BatchNorm2d(6), nn.ReLU6()),
    "relu": nn.ReLU(), "relu6": nn.ReLU6(), "sigmoid": nn.Sigmoid(), "tanh": nn.Tanh(), "hardtanh_06": nn.Hardtanh(0, 6),
    "max_pool": nn.MaxPool2d(2), "max_pool_padded": nn.MaxPool2d(3, 2, 1), "max_pool_ceil": nn.MaxPool2d(3, 2, ceil_mode=True),
    "average_pool": nn.AvgPool2d((3, 2)), "average_pool_padded": nn.AvgPool2d(3, 2, 1), "adaptive_1": nn.AdaptiveAvgPool2d(1),
    "adaptive_2": nn.AdaptiveAvgPool2d(2), "nearest": nn.Upsample(scale_factor=2), 
    "bilinear": nn.Upsample(scale_factor=2, mode="bilinear"), "bilinear_size": Calls(lambda x: F.interpolate(x, (23, 9), mode="bilinear")),
    "nearest_size": Calls(lambda x: F.interpolate(x, (5, 31))),
    "add": Calls(lambda x: x + torch.relu(x)), "sub": Calls(lambda x: x.sigmoid() - x), "mul": Calls(lambda x: x * torch.tanh(x)),
    "scale_a_channel": Calls(lambda x: x * x.mean((2, 3), keepdim=True).sigmoid()), "shifted": Calls(lambda x: 3 - x / 4 + 0.5),
    "cat": Calls(lambda x: torch.cat([x, x.tanh(), x], 1)), "pad": Calls(lambda x: F.pad(x, (1, 0, 2, 3)).tanh()),
    "reflect": nn.ReflectionPad2d((1, 2, 3, 0)), "replicate": nn.ReplicationPad2d(2), "zero_pad": nn.ZeroPad2d(1), "dropout":
    nn.Sequential(nn.Dropout(0.5), nn.Tanh(), nn.Identity()), "clamp": Calls(lambda x: x.clamp(min=0)),
    "mean": Calls(lambda x: x.mean((-2, -1))), "per_channel": Calls(lambda x: x * torch.tensor([1.0, 2.0, -3.0])[:, None, None]),
    "two_outputs": Calls(lambda x: (x.relu(), x.mean((2, 3)))),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_what_torch_computes(name, size):
    assert_equal(drawn(LAYERS[name]), torch.randn(3, 3, *size, generator=generator(1)))


def flattening(size, norm=False):
    head = nn.Linear(4 * size[0] * size[1], 7)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), nn.Flatten(), *([nn.BatchNorm1d(head.in_features), nn.ReLU()] if norm else []), head,
                         nn.BatchNorm1d(7))


@pytest.mark.parametrize("norm", [False, True])
def test_flattened_features_find_their_weights(norm):
    network = assert_equal(drawn(flattening((5, 6), norm)), torch.randn(3, 3, 5, 6, generator=generator(1)))
    assert network.operators[-1].kind == "FULLY_CONNECTED"


@pytest.mark.parametrize("size", [(32, 32), (37, 43)])
@pytest.mark.parametrize("kind", ["small", "mobile", "resnet18"])
def test_a_recogniser_is_what_torch_computes(kind, size):
    module = drawn(RECOGNISERS[kind](5, width=8))
    module.standardise.mean.fill_(-21.4)
    module.standardise.deviation.fill_(37.5)
    network = assert_equal(module, torch.randint(-128, 128, (2, *size), generator=generator(1)).float())
    assert {operator.kind for operator in network.operators} <= {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "PAD", "MAX_POOL_2D",
                                                                 "EDGE_PAD", "AVERAGE_POOL_2D", "MEAN", "RESHAPE", "ADD", "RELU"}


def test_every_norm_and_the_standardising_are_folded():
    network = traced(drawn(recogniser("mobile", 5, generator())), torch.zeros(1, 32, 32))
    assert not any(operator.kind in ("AFFINE", "RELU6") for operator in network.operators)
    unfolded = traced(drawn(recogniser("mobile", 5, generator())), torch.zeros(1, 32, 32), fold=False)
    assert sum(operator.kind == "AFFINE" for operator in unfolded.operators) > 10


def test_a_standardised_frame_is_padded_with_its_mean():
    first = Standardise()
    first.mean.fill_(30.0)
    first.deviation.fill_(12.0)
    module = drawn(nn.Sequential(nn.Conv2d(1, 2, 3, 1, 1), nn.ReLU()))
    network = traced(nn.Sequential(first, module), torch.zeros(1, 1, 6, 6))
    (border,) = [operator for operator in network.operators if operator.kind == "PAD"]
    assert border.options["value"] == pytest.approx(30.0, rel=1e-5) and border.inputs == network.inputs


def test_a_border_within_the_network_keeps_its_zero():
    """A norm before a padded convolution cannot pass the border: what is padded is a normed 0."""
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3, 1, 1))
    network = assert_equal(drawn(module), torch.randn(2, 3, 9, 9, generator=generator()))
    assert [operator.kind for operator in network.operators] == ["CONV_2D", "DEPTHWISE_CONV_2D", "PAD", "CONV_2D"]


def test_a_weight_used_twice_is_folded_each_time():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.one, self.two = nn.Conv2d(3, 3, 3, 1, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

        def forward(self, frames):
            return self.two(self.conv(self.one(self.conv(frames)).relu()))
    assert_equal(drawn(Twice()), torch.randn(2, 3, 8, 8, generator=generator()))


def test_a_network_is_left_as_it_was():
    module = recogniser("small", 3, generator()).train()
    module.neck.eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    traced(module, torch.zeros(2, 32, 32))
    assert module.training and module.trunk.training and not module.neck.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 3, 1, 1)

    def forward(self, frame, before):
        now = torch.sigmoid(self.conv(torch.cat([frame, before], 1)))
        return now - before, now


def test_a_state_is_what_an_output_was():
    module = drawn(Recurrent())
    clip = torch.randn(4, 1, 1, 6, 7, generator=generator())
    network = traced(module, [clip[0], clip[0]], states=["before"], warmup=1)
    assert network.inputs == ("frame",) and len(network.outputs) == 1 and network.states[0][0] == "before"
    before, wanted = torch.zeros(1, 1, 6, 7), []
    for frame in clip:
        with torch.no_grad():
            code, before = module(frame, before)
        wanted.append(code.permute(0, 2, 3, 1).numpy())
    found = run(network, {"frame": clip[:, 0].permute(0, 2, 3, 1).numpy()})[network.outputs[0]]
    assert np.allclose(found, np.concatenate(wanted[1:]), atol=1e-6)


def test_a_choice_by_value_is_refused():
    with pytest.raises(PrivcamError, match="cannot be traced"):
        traced(Calls(lambda x: x if x.sum() > 0 else -x), torch.zeros(1, 3, 8, 8))


def test_recognisers_that_are_not_exported_are_written_down():
    kinds = {kind: {operator.kind for operator in traced(drawn(RECOGNISERS[kind](4)), torch.zeros(1, 32, 32)).operators}
             for kind in ("patches", "shift_variant")}
    assert "ATTENTION" in kinds["patches"] and "UNFOLD" in kinds["shift_variant"]
