#!/usr/bin/python3
"""Writes networks.json: what PyTorch says about the networks of the registry.

    /usr/bin/python3 tests/golden/make_networks.py      (Debian 12: python3-torch 1.13.1)

The modules here were written from the layer tables and state_dict keys of insightface and TFace.
Weights, pixels and the gradient of the embedding follow from names and indices by the formula of
tests/support/formula.h, so only results are stored. Everything is computed in double from float32
inputs: the file is the exact answer for any float backend.
"""
import json
import math
import os
import zlib

import numpy as np
import torch
from torch import nn

import torch_networks

SAMPLES = 3


def uniform(name, count):
    x = np.arange(count, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(zlib.crc32(name.encode()))
    x = (x & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    x = x ^ (x >> np.uint32(16))
    return x.astype(np.float64) / 2147483648.0 - 1.0


def rule(name, tensor, is_weight, is_slope):
    """(centre, spread) of the uniform values of a state_dict entry."""
    if is_weight:
        return 0.0, math.sqrt(3.0 / (tensor.numel() / tensor.shape[0]))
    if is_slope:
        return 0.25, 0.1
    if name.endswith("running_var"):
        return 1.0, 0.5
    if name.endswith(".weight"):
        return 1.0, 0.2
    return 0.0, 0.1


def fill(model, gain):
    slopes = {n + ".weight" for n, m in model.named_modules() if isinstance(m, nn.PReLU)}
    state = model.state_dict()
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        centre, spread = rule(name, tensor, tensor.dim() > 1, name in slopes)
        values = (centre + spread * uniform(name, tensor.numel())).astype(np.float32)
        if name.endswith("running_var"):
            values /= np.float32(gain * gain)
        tensor.copy_(torch.from_numpy(values).reshape(tensor.shape))
    return model.double()


class Block(nn.Module):
    """BN, conv, BN, PReLU, conv, BN, plus the raw input or its strided projection."""

    def __init__(self, inside, out, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inside)
        self.conv1 = nn.Conv2d(inside, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.prelu = nn.PReLU(out)
        self.conv2 = nn.Conv2d(out, out, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(inside, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        body = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        body = self.bn3(self.conv2(body))
        return body + (x if self.downsample is None else self.downsample(x))


class IResNet(nn.Module):
    def __init__(self, blocks, size):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU(64)
        inside = 64
        for stage, count in enumerate(blocks):
            out = 64 << stage
            units = [Block(inside if i == 0 else out, out, 2 if i == 0 else 1) for i in range(count)]
            setattr(self, "layer%d" % (stage + 1), nn.Sequential(*units))
            inside = out
        self.bn2 = nn.BatchNorm2d(512)
        self.fc = nn.Linear(512 * (size // 16) ** 2, 512)
        self.features = nn.BatchNorm1d(512)
        self.features.weight.requires_grad = False

    def forward(self, x):
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.features(self.fc(torch.flatten(self.bn2(x), 1)))


class Unit(nn.Module):
    """conv, BN and, where asked, PReLU under TFace's names."""

    def __init__(self, inside, out, kernel, stride=1, pad=0, groups=1, active=True):
        super().__init__()
        self.conv = nn.Conv2d(inside, out, kernel, stride, pad, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out)
        if active:
            self.prelu = nn.PReLU(out)

    def forward(self, x):
        x = self.bn(self.conv(x))
        return self.prelu(x) if hasattr(self, "prelu") else x


class Bottleneck(nn.Module):
    def __init__(self, inside, out, wide, stride, residual=False):
        super().__init__()
        self.conv = Unit(inside, wide, 1)
        self.conv_dw = Unit(wide, wide, 3, stride, 1, groups=wide)
        self.project = Unit(wide, out, 1, active=False)
        self.residual = residual

    def forward(self, x):
        y = self.project(self.conv_dw(self.conv(x)))
        return x + y if self.residual else y


class Repeat(nn.Module):
    def __init__(self, channels, wide, count):
        super().__init__()
        self.model = nn.Sequential(*[Bottleneck(channels, channels, wide, 1, True) for _ in range(count)])

    def forward(self, x):
        return self.model(x)


def make_head(module, size, affine):
    module.conv_6_dw = Unit(512, 512, size // 16, groups=512, active=False)
    module.linear = nn.Linear(512, 512, bias=False)
    module.bn = nn.BatchNorm1d(512, affine=affine)


class MobileFaceNet(nn.Module):
    """`family`: tface and cavaface have a module around the head, facex has none."""

    def __init__(self, size, family):
        super().__init__()
        self.conv1 = Unit(3, 64, 3, 2, 1)
        self.conv2_dw = Unit(64, 64, 3, 1, 1, groups=64)
        self.conv_23 = Bottleneck(64, 64, 128, 2)
        self.conv_3 = Repeat(64, 128, 4)
        self.conv_34 = Bottleneck(64, 128, 256, 2)
        self.conv_4 = Repeat(128, 256, 6)
        self.conv_45 = Bottleneck(128, 128, 512, 2)
        self.conv_5 = Repeat(128, 256, 2)
        self.conv_6_sep = Unit(128, 512, 1)
        if family == "facex":
            make_head(self, size, True)
        else:
            self.output_layer = nn.Module()
            make_head(self.output_layer, size, family == "cavaface")

    def forward(self, x):
        for part in (self.conv1, self.conv2_dw, self.conv_23, self.conv_3, self.conv_34, self.conv_4, self.conv_45,
                     self.conv_5, self.conv_6_sep):
            x = part(x)
        head = getattr(self, "output_layer", self)
        return head.bn(head.linear(head.conv_6_dw(x).flatten(1)))


DEPTHS = {"ir18": (2, 2, 2, 2), "ir34": (3, 4, 6, 3), "ir50": (3, 4, 14, 3), "ir100": (3, 13, 30, 3),
          "ir200": (6, 26, 60, 6)}
MOBILEFACENETS = {"mobilefacenet": "tface", "cavaface_mobilefacenet": "cavaface", "facex_mobilefacenet": "facex"}


# Every network of models/registry.c, and the size of the pictures for which its embeddings are compared.
NETWORKS = {
    "ir18": 112, "ir34": 16, "ir50": 112, "ir100": 16, "ir200": 16, "mobilefacenet": 112, "mbf": 112, "mbf_large": 32,
    "mobilenetv3_large": 112, "resnet18": 112, "resnet34": 32, "resnet50": 112, "tface_ir18": 16, "tface_ir34": 16,
    "tface_ir50": 32, "tface_ir101": 16, "tface_ir152": 32, "tface_ir200": 16, "tface_ir_se50": 32,
    "tface_ir_se101": 16, "evolve_ir50": 32, "evolve_ir101": 16, "evolve_ir152": 16, "evolve_ir_se50": 32,
    "evolve_ir_se101": 16, "evolve_ir_se152": 16, "cavaface_ir50": 32, "cavaface_ir101": 16,
    "cavaface_mobilefacenet": 32, "facex_mobilefacenet": 32, "xiaoccer_mobilefacenet": 112,
    "yakhyo_mobilenetv3_large": 112, "torchvision_mobilenetv3_large": 112, "evolve_resnet50": 112}
# One of each kind of block and head.
TRAINED = {
    "mobilefacenet": (112, 32), "ir18": (16,), "tface_ir_se50": (16,), "evolve_ir50": (16,), "cavaface_ir50": (16,),
    "resnet18": (64,), "evolve_resnet50": (64,), "mobilenetv3_large": (32,), "yakhyo_mobilenetv3_large": (32,),
    "torchvision_mobilenetv3_large": (64,), "mbf": (32,), "facex_mobilefacenet": (16,),
    "xiaoccer_mobilefacenet": (32,)}


def module(net, size):
    model = torch_networks.build(net, size)
    if model is None:
        model = MobileFaceNet(size, MOBILEFACENETS[net]) if net in MOBILEFACENETS else IResNet(DEPTHS[net], size)
    return model


def gain(net):
    """Of a batch norm. Hard swish and gates halve what passes: without it all pictures end up the same."""
    return 1.25 if "mobilenetv3" in net else 1


def build(net, size):
    return fill(module(net, size), gain(net))


def width(net, size):
    """Of a picture that is `size` pixels high."""
    return size - 16 if net.startswith("xiaoccer") else size


def pixels(net, batch, size):
    shape = (size, width(net, size), 3)
    images = [uniform("pixels%d" % i, math.prod(shape)) * 0.5 + (0.5 if i % 2 else -0.5) for i in range(batch)]
    stack = torch.from_numpy(np.array(images, np.float32)).reshape((batch,) + shape)
    return stack.permute(0, 3, 1, 2).contiguous().double()


def rounded(values):
    return [float("%.9g" % v) for v in values]


def summary(tensor):
    """Norm, and elements at k * count / SAMPLES."""
    flat = tensor.detach().reshape(-1).numpy()
    picks = [k * flat.size // SAMPLES for k in range(SAMPLES)]
    return {"norm": float("%.9g" % np.sqrt((flat**2).sum())), "samples": rounded(flat[picks])}


def keys_case(net):
    """The state_dict at 112 pixels: how many entries, and a CRC of "name 64x3x3x3" lines in their order."""
    model = module(net, 112)
    lines = ["%s %s\n" % (name, "x".join(map(str, t.shape)) or "scalar") for name, t in model.state_dict().items()]
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    return {"net": net, "size": 112, "mode": "keys", "keys": len(lines), "crc": zlib.crc32("".join(lines).encode()),
            "parameters": sum(p.numel() for p in model.parameters()), "frozen": frozen}


def eval_case(net, size, batch):
    """Every fourth number of the unit embeddings; the norm in them is that of all numbers."""
    model = build(net, size).eval()
    with torch.no_grad():
        embedding = model(pixels(net, batch, size))
    unit = embedding / embedding.norm(dim=1, keepdim=True)
    print(net, size, "eval: |e|", embedding.norm(dim=1).tolist(), "cosine", float(unit[0] @ unit[1]))
    assert unit[0] @ unit[1] < 0.999, "the two pictures look the same: nothing is tested"
    return {"net": net, "size": size, "gain": gain(net), "batch": batch, "mode": "eval", "unit": rounded(unit[:, ::4].reshape(-1).numpy())}


def train_case(net, size, batch):
    model = build(net, size).train()
    embedding = model(pixels(net, batch, size))
    seed = uniform("seed", embedding.numel()).astype(np.float32)
    (embedding * torch.from_numpy(seed).reshape(embedding.shape).double()).sum().backward()
    grads = {n: summary(p.grad) for n, p in model.named_parameters() if p.requires_grad}
    stats = {n: summary(b) for n, b in model.named_buffers()
             if n.endswith("running_mean") or n.endswith("running_var")}
    print(net, size, "train: grads", len(grads), "stats", len(stats))
    return {"net": net, "size": size, "gain": gain(net), "batch": batch, "mode": "train", "embedding": summary(embedding),
            "grads": grads, "stats": stats}


def main():
    torch.set_num_threads(1)
    cases = [keys_case(net) for net in NETWORKS]
    cases += [eval_case(net, size, 2) for net, size in NETWORKS.items()]
    cases += [train_case(net, size, 4) for net, sizes in TRAINED.items() for size in sizes]
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "networks.json")
    with open(path, "w") as file:
        file.write('{"torch": "%s", "cases": [\n' % torch.__version__)
        file.write(",\n".join(json.dumps(case) for case in cases))
        file.write("\n]}\n")
    print(os.path.getsize(path), "bytes")


if __name__ == "__main__":
    main()
