#!/usr/bin/python3
"""Writes tests/golden/checkpoints/*: small files as PyTorch makes them (Debian's python3-torch 1.13.1).

Tensor number k holds ((7 * i + k) % 32 - 16) / 4 at row-major index i, exact in every float type.
Run by hand; the files are committed.
"""
import argparse
import collections
import os

import torch

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "checkpoints")


def ramp(k, *shape, dtype=torch.float32):
    count = 1
    for size in shape:
        count *= size
    values = ((7 * torch.arange(count) + k) % 32 - 16).double() / 4
    return values.reshape(shape).to(dtype)


def state(prefix=""):
    return collections.OrderedDict(
        [(prefix + "conv.weight", ramp(0, 2, 3, 3, 3)), (prefix + "bn.weight", ramp(1, 2)),
         (prefix + "bn.num_batches_tracked", torch.tensor(7)), (prefix + "empty", torch.zeros(0, 3))])


def save(name, value, legacy=False):
    torch.save(value, os.path.join(OUT, name), _use_new_zipfile_serialization=not legacy)


# Made by type(), because PyTorch would copy a written class's source and path into the file.
Net = type("Net", (torch.nn.Module,), {})


os.makedirs(OUT, exist_ok=True)
save("plain.pth", state())
save("legacy.pth", state(), legacy=True)
save("types.pth", {"f16": ramp(2, 5, dtype=torch.float16), "bf16": ramp(3, 5, dtype=torch.bfloat16),
                   "f64": ramp(4, 5, dtype=torch.float64), "u8": torch.arange(5, dtype=torch.uint8),
                   "f16_special": torch.tensor([6e-8, -6e-8, float("inf"), float("nan"), 65504.0, -0.0],
                                               dtype=torch.float16)})
base = ramp(5, 4, 6)
for name, legacy in (("views.pth", False), ("views_legacy.pth", True)):
    save(name, {"base": base, "rows": base[1:3], "columns": base[:, 2:4], "turned": base.t(),
                "strided": base.view(-1)[1::5], "scalar": base[2, 3],
                "last": ramp(6, 2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
                "parameter": torch.nn.Parameter(base[3])}, legacy)
network = torch.nn.Linear(3, 2)
optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
network(torch.ones(1, 3)).sum().backward()
optimizer.step()
save("training.ckpt", {"epoch": 68, "rate": 0.125, "name": "run", "state_dict": state("module.backbone."),
                       "optimizer": optimizer.state_dict(), "callbacks": collections.defaultdict(list, a=[1]),
                       "hyper_parameters": argparse.Namespace(classes=10, nested={"a": [1, 2]})})
save("with_head.pth", {"state_dict": {"backbone.conv.weight": ramp(0, 2, 3, 3, 3), "head.weight": ramp(7, 6, 4)},
                       "epoch": 1, "batch_id": 0})
save("partial_fc.pt", {"epoch": 2, "state_dict_backbone": state(), "state_dict_softmax_fc": {"weight": ramp(8, 6, 4)}})
save("kernel.pth", {"ms1m": {"kernel": ramp(9, 4, 6)}})
save("tensor.pt", ramp(10, 6, 4))
net = Net()
net.weight = torch.nn.Parameter(torch.ones(2, 2))
save("module.pth", net)
save("module_legacy.pth", net, legacy=True)
