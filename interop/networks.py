"""The networks that `batchnorm train` trains, written in PyTorch: same layers, same names, same meaning.

`build` makes one from the architecture that a saved model has in its metadata; `load_state_dict(..., strict=True)` then
takes the file's tensors as they are. What each network looks like is said in `crates/batchnorm-lab/src/networks/`.
"""

import torch
from torch import nn

ACTIVATIONS = {"sigmoid": torch.sigmoid, "relu": torch.relu, "tanh": torch.tanh}


class Settings:
    """What the layers of one network have in common."""

    def __init__(self, architecture):
        self.norm = architecture["norm"]
        self.activation = ACTIVATIONS[architecture["activation"]]
        self.after = {"before-activation": False, "after-activation": True}[architecture["placement"]]
        # A bias before batch normalization would be subtracted again: beta takes its place, whatever the normalization.
        self.bias = self.norm is None or self.after

    def normalization(self, kind, channels):
        """A norm layer, or none in the plain twin; `kind` is batch normalization for the layer's number of axes. The
        momentum is PyTorch's: the weight of the new batch."""
        if self.norm is None:
            return None
        eps, variant = self.norm["eps"], self.norm.get("variant", "batch")
        # Those with numbers are dictionaries of one entry: {"group": {"groups": 8}}.
        name, numbers = next(iter(variant.items())) if isinstance(variant, dict) else (variant, {})
        if name == "group":
            return nn.GroupNorm(numbers["groups"], channels, eps=eps)
        if name == "layer":
            return nn.GroupNorm(1, channels, eps=eps)
        if name == "instance":
            return nn.GroupNorm(channels, channels, eps=eps)
        # At inference, ghost batches and renormalization are batch normalization; PyTorch trains it as such.
        return kind(channels, eps=eps, momentum=self.norm["momentum"])

    def around(self, z, norm, shortcut=None):
        """From a map's result to its layer's: norm (or none), sum with a shortcut (or none) and activation."""
        if norm is not None and not self.after:
            z = norm(z)
        if shortcut is not None:
            z = z + shortcut
        y = self.activation(z)
        return norm(y) if norm is not None and self.after else y


class LinearBlock(nn.Module):
    """A linear map, normalization or none, and an activation; with a skip, added to its input."""

    def __init__(self, settings, inputs, outputs, skip=False):
        super().__init__()
        self.settings = settings
        self.skip = skip
        self.linear = nn.Linear(inputs, outputs, bias=settings.bias)
        self.bn = settings.normalization(nn.BatchNorm1d, outputs)

    def forward(self, x):
        y = self.settings.around(self.linear(x), self.bn)
        return x + y if self.skip else y


class ConvBlock(nn.Module):
    """A convolution, normalization or none, an activation, and a pool or none."""

    def __init__(self, settings, inputs, outputs, kernel, stride=1, padding=None, pool=None):
        super().__init__()
        self.settings = settings
        self.conv = convolution(inputs, outputs, kernel, stride, padding, settings.bias)
        self.bn = settings.normalization(nn.BatchNorm2d, outputs)
        self.pool = pool or nn.Identity()

    def forward(self, x):
        return self.pool(self.settings.around(self.conv(x), self.bn))


def convolution(inputs, outputs, kernel, stride=1, padding=None, bias=True):
    """A square convolution, its kernel centred on a pixel unless the padding says otherwise."""
    padding = kernel // 2 if padding is None else padding
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=bias)


def global_average(x):
    return x.mean((2, 3))


class Mlp(nn.Module):
    def __init__(self, architecture):
        super().__init__()
        settings = Settings(architecture)
        channels, height, width = architecture["dims"]
        units = [channels * height * width, *architecture["layers"]]
        # Files that do not say so have no skips.
        skips = architecture.get("skips", False)
        pairs = zip(units, units[1:])
        self.hidden = nn.Sequential(*(LinearBlock(settings, *pair, skips and pair[0] == pair[1]) for pair in pairs))
        self.output = nn.Linear(units[-1], architecture["classes"])

    def forward(self, images):
        return self.output(self.hidden(images.flatten(1)))


class Lenet(nn.Module):
    def __init__(self, architecture):
        super().__init__()
        settings = Settings(architecture)
        channels, height, width = architecture["dims"]
        first = architecture["width"]
        second = -(-first * 8 // 3)
        self.features = nn.Sequential(
            ConvBlock(settings, channels, first, 5, pool=nn.AvgPool2d(2)),
            ConvBlock(settings, first, second, 5, padding=0, pool=nn.AvgPool2d(2)),
        )
        flat = second * ((height // 2 - 4) // 2) * ((width // 2 - 4) // 2)
        self.hidden = nn.Sequential(LinearBlock(settings, flat, 120), LinearBlock(settings, 120, 84))
        self.output = nn.Linear(84, architecture["classes"])

    def forward(self, images):
        return self.output(self.hidden(self.features(images).flatten(1)))


class Vgg(nn.Module):
    def __init__(self, architecture):
        super().__init__()
        settings = Settings(architecture)
        inputs, height, width = architecture["dims"]
        first = architecture["width"]
        features = []
        for maps in (first, 2 * first):
            # An image too small to be halved is not.
            halves = min(height, width) >= 2
            features.append(ConvBlock(settings, inputs, maps, 3))
            features.append(ConvBlock(settings, maps, maps, 3, pool=nn.MaxPool2d(2) if halves else None))
            height, width = (height // 2, width // 2) if halves else (height, width)
            inputs = maps
        self.features = nn.Sequential(*features)
        self.hidden = LinearBlock(settings, inputs * height * width, 8 * first)
        self.output = nn.Linear(8 * first, architecture["classes"])

    def forward(self, images):
        return self.output(self.hidden(self.features(images).flatten(1)))


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut around both: x itself or, where the shape changes, a convolution of 1x1."""

    def __init__(self, settings, inputs, outputs, stride):
        super().__init__()
        self.settings = settings
        self.conv1 = convolution(inputs, outputs, 3, stride, bias=settings.bias)
        self.bn1 = settings.normalization(nn.BatchNorm2d, outputs)
        self.conv2 = convolution(outputs, outputs, 3, bias=settings.bias)
        self.bn2 = settings.normalization(nn.BatchNorm2d, outputs)
        self.downsample = None
        if (inputs, stride) != (outputs, 1):
            # Its norm always comes right behind it.
            projection = convolution(inputs, outputs, 1, stride, bias=settings.norm is None)
            norm = settings.normalization(nn.BatchNorm2d, outputs)
            self.downsample = nn.Sequential(projection, *([norm] if norm else []))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        z = self.settings.around(self.conv1(x), self.bn1)
        return self.settings.around(self.conv2(z), self.bn2, shortcut)


class Resnet20(nn.Module):
    def __init__(self, architecture):
        super().__init__()
        self.settings = settings = Settings(architecture)
        width = architecture["width"]

        def stage(inputs, outputs, stride):
            rest = (ResidualBlock(settings, outputs, outputs, 1) for _ in range(2))
            return nn.Sequential(ResidualBlock(settings, inputs, outputs, stride), *rest)

        self.conv1 = convolution(architecture["dims"][0], width, 3, bias=settings.bias)
        self.bn1 = settings.normalization(nn.BatchNorm2d, width)
        self.layer1 = stage(width, width, 1)
        self.layer2 = stage(width, 2 * width, 2)
        self.layer3 = stage(2 * width, 4 * width, 2)
        self.fc = nn.Linear(4 * width, architecture["classes"])

    def forward(self, images):
        x = self.settings.around(self.conv1(images), self.bn1)
        return self.fc(global_average(self.layer3(self.layer2(self.layer1(x)))))


class InceptionModule(nn.Module):
    """Branches side by side, their maps one behind the other. One that halves height and width has no branch 1, and no
    convolution behind its pool."""

    def __init__(self, settings, inputs, branch1, branch2, branch3, branch4, pool):
        super().__init__()
        stride = 1 if branch1 else 2

        def conv(inputs, outputs, kernel, stride=1):
            return ConvBlock(settings, inputs, outputs, kernel, stride)

        self.branch1 = conv(inputs, branch1, 1) if branch1 else None
        self.branch2 = nn.Sequential(conv(inputs, branch2[0], 1), conv(*branch2, 3, stride))
        self.branch3 = nn.Sequential(
            conv(inputs, branch3[0], 1), conv(*branch3, 3), conv(branch3[1], branch3[1], 3, stride)
        )
        behind = [conv(inputs, branch4, 1)] if branch4 else []
        self.branch4 = nn.Sequential(pool(3, stride, 1), *behind)
        self.maps = branch1 + branch2[1] + branch3[1] + (branch4 or inputs)

    def forward(self, x):
        branches = [self.branch1, self.branch2, self.branch3, self.branch4]
        return torch.cat([branch(x) for branch in branches if branch is not None], 1)


class Inception(nn.Module):
    def __init__(self, architecture):
        super().__init__()
        settings = Settings(architecture)
        channels, height, width = architecture["dims"]
        maps = architecture["width"]
        unit = -(-maps // 4)
        halves = min(height, width) >= 16
        self.conv1 = ConvBlock(settings, channels, maps, 3, pool=nn.MaxPool2d(3, 2, 1) if halves else None)

        def module(inputs, branch1, branch2, branch3, branch4, pool):
            of_unit = [branch1 * unit, [maps * unit for maps in branch2], [maps * unit for maps in branch3]]
            return InceptionModule(settings, inputs, *of_unit, branch4 * unit, pool)

        self.inception3a = module(maps, 2, [2, 2], [2, 3], 1, nn.AvgPool2d)
        self.inception3c = module(self.inception3a.maps, 0, [4, 5], [2, 3], 0, nn.MaxPool2d)
        self.inception4a = module(self.inception3c.maps, 7, [2, 3], [3, 4], 4, nn.AvgPool2d)
        self.fc = nn.Linear(self.inception4a.maps, architecture["classes"])

    def forward(self, images):
        x = self.inception4a(self.inception3c(self.inception3a(self.conv1(images))))
        return self.fc(global_average(x))


NETWORKS = {"mlp": Mlp, "lenet": Lenet, "vgg": Vgg, "resnet20": Resnet20, "inception": Inception}


def build(architecture):
    """The network of an architecture: the dictionary that a saved model has as JSON in its metadata, under
    `batchnorm.architecture`. Its weights are PyTorch's initial ones."""
    return NETWORKS[architecture["network"]](architecture)
