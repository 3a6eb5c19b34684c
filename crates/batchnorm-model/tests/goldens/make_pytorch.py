"""Writes the .pth files of the tests, and what PyTorch computes with them.

Networks of a few numbers: `python make_pytorch.py` in this folder (torch 2.15.0, numpy).

- state.pth: a state dict, zip.
- legacy.pth: the same, as before PyTorch 1.6.
- training.pth: what a training script saves: the state dict in halves, the optimizer's state, an epoch.
- whole.pth: the module itself, which other readers would have to run code for.
- expected.json: an input, and the output in evaluation mode, in double precision.
"""

import json

import torch
from torch import nn


class Net(nn.Module):
    """Every map that can be folded, each with its layer; the transposed convolution in groups. Nothing in between that would hide
    an error: a ReLU can be 0 throughout."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.features = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4, affine=False))
        self.up = nn.ConvTranspose2d(4, 6, 2, groups=2)
        self.up_bn = nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, 3)
        self.bn2 = nn.BatchNorm1d(3)

    def forward(self, x):
        x = self.bn1(self.conv1(x))
        x = self.features(x)
        x = self.up_bn(self.up(x))
        return self.bn2(self.fc(x.mean((2, 3))))


torch.manual_seed(7)
net = Net()
for module in net.modules():
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
        module.running_mean.normal_()
        module.running_var.uniform_(0.2, 2.0)
        module.num_batches_tracked.fill_(100)
        # The scale and shift of a layer that has them.
        if module.affine:
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)

state = net.state_dict()
torch.save(state, "state.pth")
torch.save(state, "legacy.pth", _use_new_zipfile_serialization=False)
halves = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
torch.save(
    {"epoch": 3, "state_dict": halves, "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(2)}}}, "best": 0.5},
    "training.pth",
)
torch.save(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), "whole.pth")

net = net.double().eval()
x = torch.randn(1, 2, 5, 5, dtype=torch.float64)
with torch.no_grad():
    y = net(x)
json.dump({"x": x.flatten().tolist(), "y": y.flatten().tolist()}, open("expected.json", "w"))
