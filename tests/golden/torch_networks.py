"""More networks as PyTorch modules, with the state_dict keys of the repositories they come from.

Written from layer tables and key lists. make_networks.py computes golden files with them, the tests of
exported files load those files into them with strict=True.
"""
from torch import nn


class Squeeze(nn.Module):
    """IR_SE's gate: two 1x1 convolutions without bias."""

    def __init__(self, channels):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // 16, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // 16, channels, 1, bias=False)

    def forward(self, x):
        return x * self.fc2(self.fc1(nn.functional.adaptive_avg_pool2d(x, 1)).relu()).sigmoid()


def basic(inside, out, stride, middle):
    return [nn.BatchNorm2d(inside), nn.Conv2d(inside, out, 3, 1, 1, bias=False),
            *([nn.BatchNorm2d(out)] if middle else []), nn.PReLU(out), nn.Conv2d(out, out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out)]


def bottleneck(inside, out, stride):
    narrow = out // 4
    return [nn.BatchNorm2d(inside), nn.Conv2d(inside, narrow, 1, bias=False), nn.BatchNorm2d(narrow), nn.PReLU(narrow),
            nn.Conv2d(narrow, narrow, 3, 1, 1, bias=False), nn.BatchNorm2d(narrow), nn.PReLU(narrow),
            nn.Conv2d(narrow, out, 1, stride, bias=False), nn.BatchNorm2d(out)]


class IRBlock(nn.Module):
    def __init__(self, body, squeeze, tface, inside, out, stride):
        super().__init__()
        self.res_layer = nn.Sequential(*body)
        if squeeze:
            self.res_layer.add_module("se_block" if tface else str(len(body)), Squeeze(out))
        if inside == out:
            self.shortcut_layer = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(nn.Conv2d(inside, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        return self.res_layer(x) + self.shortcut_layer(x)


class IR(nn.Module):
    """`family`: tface (a batch norm between the first convolution and PReLU), evolve, cavaface."""

    def __init__(self, family, blocks, narrow, squeeze, size):
        super().__init__()
        tface = family == "tface"
        self.input_layer = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))
        last = 2048 if narrow else 512
        columns = last * (size // 16) ** 2
        self.cavaface = family == "cavaface"
        if self.cavaface:  # the head is assigned first, in all families
            self.bn2, self.fc, self.features = nn.BatchNorm2d(last), nn.Linear(columns, 512), nn.BatchNorm1d(512)
            self.features.weight.requires_grad = False
        else:
            self.output_layer = nn.Sequential(nn.BatchNorm2d(last), nn.Dropout(0.0), nn.Flatten(), nn.Linear(columns, 512),
                                              nn.BatchNorm1d(512, affine=not tface))
        units, inside = [], 64
        for stage, count in enumerate(blocks):
            out = (256 if narrow else 64) << stage
            for i in range(count):
                stride = 2 if i == 0 else 1
                body = bottleneck(inside, out, stride) if narrow else basic(inside, out, stride, tface)
                units.append(IRBlock(body, squeeze, tface, inside, out, stride))
                inside = out
        self.body = nn.Sequential(*units)

    def forward(self, x):
        x = self.body(self.input_layer(x))
        return self.features(self.fc(self.bn2(x).flatten(1))) if self.cavaface else self.output_layer(x)


class ResidualBlock(nn.Module):
    def __init__(self, inside, width, out, stride):
        super().__init__()
        self.deep = out != width
        if self.deep:
            self.conv1, self.bn1 = nn.Conv2d(inside, width, 1, bias=False), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
            self.conv3, self.bn3 = nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)
        else:
            self.conv1, self.bn1 = nn.Conv2d(inside, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = nn.Conv2d(width, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.downsample = None
        if stride != 1 or inside != out:
            self.downsample = nn.Sequential(nn.Conv2d(inside, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        if self.deep:
            y = self.bn3(self.conv3(y.relu()))
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class ResNet(nn.Module):
    """torchvision's; with `size`, face.evoLVe's, which has a batch norm for an average and one behind its fc."""

    def __init__(self, blocks, expansion, size=0):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inside = 64
        for stage, count in enumerate(blocks):
            width, units = 64 << stage, []
            for i in range(count):
                units.append(ResidualBlock(inside, width, width * expansion, 2 if i == 0 and stage > 0 else 1))
                inside = width * expansion
            setattr(self, "layer%d" % (stage + 1), nn.Sequential(*units))
        self.evolve = size > 0
        if self.evolve:
            self.bn_o1 = nn.BatchNorm2d(inside)
        self.fc = nn.Linear(inside * ((size + 31) // 32) ** 2 if self.evolve else inside, 512)
        if self.evolve:
            self.bn_o2 = nn.BatchNorm1d(512)

    def forward(self, x):
        x = self.maxpool(self.bn1(self.conv1(x)).relu())
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.bn_o2(self.fc(self.bn_o1(x).flatten(1))) if self.evolve else self.fc(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


# kernel, expansion, out, squeezed, hard swish in the paper, stride
ROWS = [(3, 16, 16, 0, 0, 1), (3, 64, 24, 0, 0, 2), (3, 72, 24, 0, 0, 1), (5, 72, 40, 24, 0, 2), (5, 120, 40, 32, 0, 1),
        (5, 120, 40, 32, 0, 1), (3, 240, 80, 0, 1, 2), (3, 200, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1),
        (3, 480, 112, 120, 1, 1), (3, 672, 112, 168, 1, 1), (5, 672, 160, 168, 1, 2), (5, 960, 160, 240, 1, 1),
        (5, 960, 160, 240, 1, 1)]


class LinearGate(nn.Module):
    def __init__(self, channels, squeezed):
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(channels, squeezed), nn.ReLU(), nn.Linear(squeezed, channels), nn.Hardsigmoid())

    def forward(self, x):
        return x * self.fc(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)).view(x.size(0), x.size(1), 1, 1)


class CavafaceUnit(nn.Module):
    def __init__(self, inside, kernel, wide, out, squeezed, _, stride):
        super().__init__()
        grow = [nn.Conv2d(inside, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.PReLU(wide)]
        middle = [nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False), nn.BatchNorm2d(wide)]
        shrink = [nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out)]
        gate = LinearGate(wide, squeezed) if squeezed else nn.Identity()
        if inside == wide:
            self.conv = nn.Sequential(*middle, nn.PReLU(wide), nn.Identity(), *shrink)
        else:
            self.conv = nn.Sequential(*grow, *middle, gate, nn.PReLU(wide), *shrink)
        self.residual = stride == 1 and inside == out

    def forward(self, x):
        return self.conv(x) + x if self.residual else self.conv(x)


class CavafaceHead(nn.Module):
    def __init__(self, side):
        super().__init__()
        self.conv_6_dw = nn.Module()
        self.conv_6_dw.conv, self.conv_6_dw.bn = nn.Conv2d(512, 512, side, groups=512, bias=False), nn.BatchNorm2d(512)
        self.linear, self.bn = nn.Linear(512, 512, bias=False), nn.BatchNorm1d(512)

    def forward(self, x):
        return self.bn(self.linear(self.conv_6_dw.bn(self.conv_6_dw.conv(x)).flatten(1)))


class CavafaceV3(nn.Module):
    def __init__(self, size):
        super().__init__()
        units, inside = [nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.PReLU(16))], 16
        for row in ROWS:
            units.append(CavafaceUnit(inside, *row))
            inside = row[2]
        self.features = nn.Sequential(*units)
        self.conv = nn.Sequential(nn.Conv2d(160, 512, 1, bias=False), nn.BatchNorm2d(512), nn.PReLU(512))
        self.output_layer = CavafaceHead(size // 16)

    def forward(self, x):
        return self.output_layer(self.conv(self.features(x)))


def unit(inside, out, kernel, stride, groups, act):
    """Convolution with bias, batch norm, activation."""
    return nn.Sequential(nn.Conv2d(inside, out, kernel, stride, kernel // 2, groups=groups), nn.BatchNorm2d(out), *act)


class ConvGate(nn.Module):
    """Of torchvision, and of yakhyo's networks, which build on it."""

    def __init__(self, channels, squeezed):
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)

    def forward(self, x):
        return x * nn.functional.hardsigmoid(self.fc2(self.fc1(nn.functional.adaptive_avg_pool2d(x, 1)).relu()))


class YakhyoUnit(nn.Module):
    def __init__(self, inside, kernel, wide, out, squeezed, swish, stride):
        super().__init__()
        act = (lambda: [nn.Hardswish()]) if swish else (lambda: [nn.PReLU(wide)])
        parts = [] if inside == wide else [unit(inside, wide, 1, 1, 1, act())]
        parts.append(unit(wide, wide, kernel, stride, wide, act()))
        if squeezed:
            parts.append(ConvGate(wide, squeezed))
        parts.append(unit(wide, out, 1, 1, 1, []))
        self.block = nn.Sequential(*parts)
        self.residual = stride == 1 and inside == out

    def forward(self, x):
        return self.block(x) + x if self.residual else self.block(x)


class YakhyoHead(nn.Module):
    def __init__(self, side):
        super().__init__()
        depthwise = nn.Module()
        depthwise.layers = nn.Sequential(nn.Conv2d(960, 960, side, groups=960, bias=False), nn.BatchNorm2d(960))
        self.features = nn.ModuleList([depthwise])
        self.fc = nn.Sequential(nn.Linear(960, 512, bias=False), nn.BatchNorm1d(512))

    def forward(self, x):
        return self.fc(self.features[0].layers(x).flatten(1))


class YakhyoV3(nn.Module):
    def __init__(self, size):
        super().__init__()
        units, inside = [unit(3, 16, 3, 1, 1, [nn.Hardswish()])], 16
        for row in ROWS:
            units.append(YakhyoUnit(inside, *row))
            inside = row[2]
        self.features = nn.Sequential(*units, unit(160, 960, 1, 1, 1, [nn.Hardswish()]))
        self.output_layer = YakhyoHead(size // 16)

    def forward(self, x):
        return self.output_layer(self.features(x))


def clean_unit(inside, out, kernel, stride, groups, act):
    """torchvision's: no bias, and a batch norm of its own kind."""
    norm = nn.BatchNorm2d(out, eps=1e-3, momentum=0.01)
    return nn.Sequential(nn.Conv2d(inside, out, kernel, stride, kernel // 2, groups=groups, bias=False), norm, *act)


class TorchvisionUnit(nn.Module):
    def __init__(self, inside, kernel, wide, out, squeezed, swish, stride):
        super().__init__()
        act = nn.Hardswish if swish else nn.ReLU
        parts = [] if inside == wide else [clean_unit(inside, wide, 1, 1, 1, [act()])]
        parts.append(clean_unit(wide, wide, kernel, stride, wide, [act()]))
        if squeezed:
            parts.append(ConvGate(wide, squeezed))
        self.block = nn.Sequential(*parts, clean_unit(wide, out, 1, 1, 1, []))
        self.residual = stride == 1 and inside == out

    def forward(self, x):
        return self.block(x) + x if self.residual else self.block(x)


class TorchvisionV3(nn.Module):
    def __init__(self):
        super().__init__()
        units, inside = [clean_unit(3, 16, 3, 2, 1, [nn.Hardswish()])], 16
        for row in ROWS:
            units.append(TorchvisionUnit(inside, *row))
            inside = row[2]
        self.features = nn.Sequential(*units, clean_unit(160, 960, 1, 1, 1, [nn.Hardswish()]))
        self.classifier = nn.Sequential(nn.Linear(960, 1280), nn.Hardswish(), nn.Dropout(0.0), nn.Linear(1280, 512))

    def forward(self, x):
        return self.classifier(nn.functional.adaptive_avg_pool2d(self.features(x), 1).flatten(1))


class XiaoccerUnit(nn.Module):
    def __init__(self, inside, out, kernel, stride=1, pad=0, groups=1, active=True):
        super().__init__()
        self.conv = nn.Conv2d(inside, out, kernel, stride, pad, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out)
        if active:
            self.prelu = nn.PReLU(out)

    def forward(self, x):
        x = self.bn(self.conv(x))
        return self.prelu(x) if hasattr(self, "prelu") else x


class XiaoccerBlock(nn.Module):
    def __init__(self, inside, out, expansion, stride):
        super().__init__()
        wide = inside * expansion
        self.conv = nn.Sequential(nn.Conv2d(inside, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.PReLU(wide),
                                  nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide),
                                  nn.PReLU(wide), nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out))
        self.residual = stride == 1 and inside == out

    def forward(self, x):
        return self.conv(x) + x if self.residual else self.conv(x)


class Xiaoccer(nn.Module):
    """Pictures are 16 pixels less wide than high: 112 x 96 in the original."""

    def __init__(self, size):
        super().__init__()
        self.conv1, self.dw_conv1 = XiaoccerUnit(3, 64, 3, 2, 1), XiaoccerUnit(64, 64, 3, 1, 1, 64)
        units, inside = [], 64
        for expansion, out, count, stride in [(2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1)]:
            for i in range(count):
                units.append(XiaoccerBlock(inside, out, expansion, stride if i == 0 else 1))
                inside = out
        self.blocks = nn.Sequential(*units)
        self.conv2 = XiaoccerUnit(128, 512, 1)
        self.linear7 = XiaoccerUnit(512, 512, (size // 16, size // 16 - 1), groups=512, active=False)
        self.linear1 = XiaoccerUnit(512, 128, 1, active=False)

    def forward(self, x):
        return self.linear1(self.linear7(self.conv2(self.blocks(self.dw_conv1(self.conv1(x)))))).flatten(1)


def mbf_module(*layers):
    """insightface's: everything is called layers.N."""
    whole = nn.Module()
    whole.layers = nn.Sequential(*layers)
    whole.forward = whole.layers.forward
    return whole


def mbf_conv(inside, out, kernel, stride=1, pad=0, groups=1, active=True):
    return mbf_module(nn.Conv2d(inside, out, kernel, stride, pad, groups=groups, bias=False), nn.BatchNorm2d(out),
                      *([nn.PReLU(out)] if active else []))


def mbf_bottleneck(inside, out, wide, stride):
    whole = mbf_module(mbf_conv(inside, wide, 1), mbf_conv(wide, wide, 3, stride, 1, wide),
                       mbf_conv(wide, out, 1, active=False))
    if stride == 1:
        whole.forward = lambda x: x + whole.layers(x)
    return whole


def mbf_repeat(channels, wide, count):
    return mbf_module(*[mbf_bottleneck(channels, channels, wide, 1) for _ in range(count)])


class MBF(nn.Module):
    def __init__(self, scale, blocks, size):
        super().__init__()
        narrow, wide = 64 * scale, 128 * scale
        second = mbf_conv(narrow, narrow, 3, 1, 1, 64) if blocks[0] == 1 else mbf_repeat(narrow, 128, blocks[0])
        self.layers = nn.ModuleList([
            mbf_conv(3, narrow, 3, 2, 1), second, mbf_bottleneck(narrow, narrow, 128, 2), mbf_repeat(narrow, 128, blocks[1]),
            mbf_bottleneck(narrow, wide, 256, 2), mbf_repeat(wide, 256, blocks[2]), mbf_bottleneck(wide, wide, 512, 2),
            mbf_repeat(wide, 256, blocks[3])])
        self.conv_sep = mbf_conv(wide, 512, 1)
        self.features = mbf_module(mbf_conv(512, 512, size // 16, groups=512, active=False), nn.Flatten(),
                                   nn.Linear(512, 512, bias=False), nn.BatchNorm1d(512))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.features(self.conv_sep(x))


IR_BLOCKS = {"18": (2, 2, 2, 2), "34": (3, 4, 6, 3), "50": (3, 4, 14, 3), "101": (3, 13, 30, 3), "152": (3, 8, 36, 3),
             "200": (3, 24, 36, 3)}


def build(name, size):
    """A module by its name in Cask's registry; None: not one of these."""
    family, _, rest = name.partition("_ir")
    if family in ("tface", "evolve", "cavaface"):
        squeeze, depth = rest.startswith("_se"), rest.replace("_se", "")
        return IR(family, IR_BLOCKS[depth], family == "tface" and depth in ("152", "200"), squeeze, size)
    return {"resnet18": lambda: ResNet((2, 2, 2, 2), 1), "resnet34": lambda: ResNet((3, 4, 6, 3), 1),
            "resnet50": lambda: ResNet((3, 4, 6, 3), 4), "mobilenetv3_large": lambda: CavafaceV3(size),
            "yakhyo_mobilenetv3_large": lambda: YakhyoV3(size), "torchvision_mobilenetv3_large": TorchvisionV3,
            "evolve_resnet50": lambda: ResNet((3, 4, 6, 3), 4, size),
            "mbf": lambda: MBF(2, (1, 4, 6, 2), size), "mbf_large": lambda: MBF(4, (2, 8, 12, 4), size),
            "xiaoccer_mobilefacenet": lambda: Xiaoccer(size)}.get(name, lambda: None)()
