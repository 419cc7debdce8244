#!/usr/bin/python3
"""Writes optimizer.json: what torch.optim.SGD does with parameter groups, clipping and frozen parameters.

    /usr/bin/python3 tests/golden/make_optimizer.py      (Debian 12: python3-torch 1.13.1)

Values, gradients and probes follow from names by the formula of tests/support/formula.h. A parameter's
result is one number, its product with the probe: every element counts.
"""
import json
import os
import re

import torch
from torch import nn

from make_networks import build, uniform

STEPS, RATES = 3, (0.1, 0.05, 0.02)


def filled(name, tensor, spread):
    return torch.from_numpy((spread * uniform(name, tensor.numel())).astype("float32")).double().reshape(tensor.shape)


def groups(model, rule, decay):
    """Parameters that decay, and those that do not, by three rules in the words of their origin."""
    weights = {id(m.weight) for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
    rules = {"all": lambda name, p: True, "no_bn_bias": lambda name, p: id(p) in weights,
             "tface": lambda name, p: name.find("bn") < 0}
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    return [{"params": [p for name, p in named if rules[rule](name, p)], "weight_decay": decay},
            {"params": [p for name, p in named if not rules[rule](name, p)], "weight_decay": 0.0}]


def case(net, rule, nesterov=False, clip=0.0, freeze=None, pattern=None):
    """`freeze` is Cask's word for what the regular expression `pattern` names here."""
    model = build(net, 32)
    for name, p in model.named_parameters():
        if pattern is not None and re.search(pattern, name):
            p.requires_grad = False
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD(groups(model, rule, 0.05), lr=0.1, momentum=0.9, nesterov=nesterov)
    norms = []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATES[step]
        for name, p in model.named_parameters():
            p.grad = filled("%s.grad%d" % (name, step), p, 0.01) if name in trained else None
        if clip > 0:
            norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), clip)))
        optimizer.step()
    found = {name: float((p.detach() * filled(name + ".probe", p, 1)).sum()) for name, p in model.named_parameters()}
    return {"net": net, "decay_on": rule, "nesterov": nesterov, "clip": clip, "freeze": freeze or "", "norms": norms,
            "trained": len(trained), "values": {n: float("%.12g" % v) for n, v in found.items()}}


cases = [case("mobilefacenet", "all"), case("mobilefacenet", "no_bn_bias", nesterov=True),
         case("mobilefacenet", "tface"), case("tface_ir18", "tface"), case("tface_ir18", "no_bn_bias", clip=3.0),
         case("mobilefacenet", "all", clip=5.0, freeze="conv_3.*", pattern=r"^conv_3\."),
         case("mobilefacenet", "all", freeze="bn", pattern=r"\.bn\.")]
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "optimizer.json"), "w") as file:
    file.write('{"torch": "%s", "cases": [\n' % torch.__version__)
    file.write(",\n".join(json.dumps(c) for c in cases) + "\n]}\n")
