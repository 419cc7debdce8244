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

SAMPLES = 6


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


def fill(model):
    slopes = {n + ".weight" for n, m in model.named_modules() if isinstance(m, nn.PReLU)}
    state = model.state_dict()
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        centre, spread = rule(name, tensor, tensor.dim() > 1, name in slopes)
        values = (centre + spread * uniform(name, tensor.numel())).astype(np.float32)
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


class Head(nn.Module):
    def __init__(self, size, embedding):
        super().__init__()
        self.conv_6_dw = Unit(512, 512, size // 16, groups=512, active=False)
        self.linear = nn.Linear(512, embedding, bias=False)
        self.bn = nn.BatchNorm1d(embedding, affine=False)

    def forward(self, x):
        return self.bn(self.linear(torch.flatten(self.conv_6_dw(x), 1)))


class MobileFaceNet(nn.Module):
    def __init__(self, size, embedding=512):
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
        self.output_layer = Head(size, embedding)

    def forward(self, x):
        for _, part in self.named_children():
            x = part(x)
        return x


DEPTHS = {"ir18": (2, 2, 2, 2), "ir50": (3, 4, 14, 3)}


def build(net, size):
    model = torch_networks.build(net, size)
    if model is None:
        model = MobileFaceNet(size) if net == "mobilefacenet" else IResNet(DEPTHS[net], size)
    return fill(model)


def pixels(batch, size):
    values = uniform("pixels", batch * size * size * 3).astype(np.float32)
    images = torch.from_numpy(values).reshape(batch, size, size, 3)
    return images.permute(0, 3, 1, 2).contiguous().double()


def rounded(values):
    return [float("%.9g" % v) for v in values]


def summary(tensor):
    """Norm, and elements at k * count / SAMPLES."""
    flat = tensor.detach().reshape(-1).numpy()
    picks = [k * flat.size // SAMPLES for k in range(SAMPLES)]
    return {"norm": float("%.9g" % np.sqrt((flat**2).sum())), "samples": rounded(flat[picks])}


def eval_case(net, size, batch):
    model = build(net, size).eval()
    with torch.no_grad():
        embedding = model(pixels(batch, size))
    unit = embedding / embedding.norm(dim=1, keepdim=True)
    print(net, size, "eval: |e|", embedding.norm(dim=1).tolist(), "cosine", float(unit[0] @ unit[1]))
    return {"net": net, "size": size, "batch": batch, "mode": "eval", "keys": len(model.state_dict()),
            "unit": rounded(unit.reshape(-1).numpy())}


def train_case(net, size, batch):
    model = build(net, size).train()
    embedding = model(pixels(batch, size))
    seed = uniform("seed", embedding.numel()).astype(np.float32)
    (embedding * torch.from_numpy(seed).reshape(embedding.shape).double()).sum().backward()
    grads = {n: summary(p.grad) for n, p in model.named_parameters() if p.requires_grad}
    stats = {n: summary(b) for n, b in model.named_buffers()
             if n.endswith("running_mean") or n.endswith("running_var")}
    print(net, size, "train: grads", len(grads), "stats", len(stats))
    return {"net": net, "size": size, "batch": batch, "mode": "train", "embedding": summary(embedding),
            "grads": grads, "stats": stats}


def main():
    torch.set_num_threads(1)
    cases = [eval_case("ir18", 112, 2), eval_case("ir50", 112, 2), eval_case("mobilefacenet", 112, 2),
             train_case("mobilefacenet", 112, 4), train_case("mobilefacenet", 32, 4),
             train_case("ir18", 16, 4),
             eval_case("tface_ir50", 32, 2), eval_case("tface_ir152", 32, 2), eval_case("tface_ir_se50", 32, 2),
             eval_case("evolve_ir50", 32, 2), eval_case("evolve_ir_se50", 32, 2), eval_case("cavaface_ir50", 32, 2),
             eval_case("resnet18", 112, 2), eval_case("resnet50", 112, 2),
             eval_case("mobilenetv3_large", 112, 2), eval_case("yakhyo_mobilenetv3_large", 112, 2),
             train_case("tface_ir_se50", 16, 4), train_case("evolve_ir50", 16, 4),
             train_case("resnet18", 64, 4),
             train_case("mobilenetv3_large", 32, 4), train_case("yakhyo_mobilenetv3_large", 32, 4)]
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "networks.json")
    with open(path, "w") as file:
        file.write('{"torch": "%s", "cases": [\n' % torch.__version__)
        file.write(",\n".join(json.dumps(case) for case in cases))
        file.write("\n]}\n")
    print(os.path.getsize(path), "bytes")


if __name__ == "__main__":
    main()
