#!/usr/bin/python3
"""Writes tests/golden/ops/*.json: what PyTorch computes for one case of every kind of op.

    python3 tests/golden/make_ops.py        (Debian 12: python3-torch 1.13.1; about two seconds)

A case is a line of tests/support/ops and names its operands as the C family of that name does.
`runs` is a list: operands that a later run does not name keep the value they have. Everything is
computed in float64 from inputs that float32 holds exactly, so that a double backend must agree to
about 1e-12 and a float backend starts from the same numbers. Images are written as NHWC.
"""
import json
import os

import torch
import torch.nn.functional as F

torch.manual_seed(20240229)
torch.set_default_dtype(torch.float64)


def draw(*shape, low=-1.0, high=1.0):
    """Uniform numbers with twelve bits behind the point."""
    return torch.round((torch.rand(*shape) * (high - low) + low) * 4096) / 4096


def nhwc(t):
    return t.permute(0, 2, 3, 1)


def flat(operands):
    return {name: t.detach().reshape(-1).tolist() for name, t in operands.items()}


def run(inputs, outputs):
    return {"in": flat(inputs), "out": flat(outputs)}


def conv(case, n, c, h, w, k, kernel, stride=1, pad=(0, 0, 0, 0), groups=1, bias=True):
    """pad is top, left, bottom, right."""
    x = draw(n, c, h, w).requires_grad_()
    weight = draw(k, c // groups, *kernel).requires_grad_()
    b = draw(k).requires_grad_() if bias else None
    top, left, bottom, right = pad
    y = F.conv2d(F.pad(x, (left, right, top, bottom)), weight, b, stride=stride, groups=groups)
    dy = draw(*y.shape)
    y.backward(dy)
    inputs = {"x": nhwc(x), "weight": weight, "dy": nhwc(dy)}
    outputs = {"y": nhwc(y), "dx": nhwc(x.grad), "dweight": weight.grad}
    if bias:
        inputs["bias"] = b
        outputs["dbias"] = b.grad
    return {"case": case, "runs": [run(inputs, outputs)]}


def linear(case, n, c, h, w, k):
    """PyTorch flattens [C,H,W]; the case is the convolution whose kernel is the whole input."""
    x = draw(n, c, h, w).requires_grad_()
    weight, b = draw(k, c * h * w).requires_grad_(), draw(k).requires_grad_()
    y = F.linear(x.flatten(1), weight, b)
    dy = draw(*y.shape)
    y.backward(dy)
    return {"case": case, "runs": [run(
        {"x": nhwc(x), "weight": weight, "bias": b, "dy": dy},
        {"y": y, "dx": nhwc(x.grad), "dweight": weight.grad, "dbias": b.grad})]}


def batchnorm(case, n, c, h, w, activation=None):
    """Two training steps: the second finds the running statistics of the first."""
    mean, var = draw(c), draw(c, low=0.5, high=2.0)
    gamma, beta = draw(c, low=0.5, high=1.5).requires_grad_(), draw(c).requires_grad_()
    slope = draw(c, low=0.1, high=0.4).requires_grad_()
    runs = []
    for step in range(2):
        first = {"gamma": gamma, "beta": beta, "running mean": mean.clone(), "running var": var.clone()}
        if activation == "prelu":
            first["slope"] = slope
        x = draw(n, c, h, w, low=-1.0, high=2.0).requires_grad_()
        z = F.batch_norm(x, mean, var, gamma, beta, training=True, momentum=0.1, eps=1e-5)
        y = F.prelu(z, slope) if activation == "prelu" else z
        dy = draw(*y.shape)
        for parameter in (gamma, beta, slope):
            parameter.grad = None
        y.backward(dy)
        inputs = {"x": nhwc(x), "dy": nhwc(dy)}
        outputs = {"y": nhwc(y), "dx": nhwc(x.grad), "dgamma": gamma.grad, "dbeta": beta.grad,
                   "running mean": mean.clone(), "running var": var.clone()}
        if activation == "prelu":
            outputs["dslope"] = slope.grad
        runs.append(run({**first, **inputs} if step == 0 else inputs, outputs))
    return {"case": case, "runs": runs}


def batchnorm_eval(case, n, c, h, w):
    x, mean, var = draw(n, c, h, w), draw(c), draw(c, low=0.5, high=2.0)
    gamma, beta, slope = draw(c, low=0.5, high=1.5), draw(c), draw(c, low=0.1, high=0.4)
    y = F.prelu(F.batch_norm(x, mean, var, gamma, beta, training=False, eps=1e-5), slope)
    return {"case": case, "runs": [run(
        {"x": nhwc(x), "gamma": gamma, "beta": beta, "slope": slope, "running mean": mean,
         "running var": var}, {"y": nhwc(y)})]}


def hard_sigmoid(x):
    """F.hardsigmoid rounds its 1/6 to float32 in backward, even for float64."""
    return F.relu6(x + 3) / 6


def activation(case, function, n, c, h, w, slope=None):
    """The first values lie on kinks: the derivative there is a convention, PyTorch's. Not so at 3
    for hard-swish, where its vector loop says 1 and its scalar loop 1.5."""
    x = draw(n, c, h, w, low=-5.0, high=5.0)
    upper = 3.25 if function is F.hardswish else 3.0
    x.view(-1)[:6] = torch.tensor([-3.0, 0.0, upper, -3.5, 3.5, 0.25])
    x.requires_grad_()
    y = function(x) if slope is None else function(x, slope)
    dy = draw(*y.shape)
    y.backward(dy)
    inputs, outputs = {"x": nhwc(x), "dy": nhwc(dy)}, {"y": nhwc(y), "dx": nhwc(x.grad)}
    if slope is not None:
        inputs["slope"] = slope
        outputs["dslope"] = slope.grad
    return {"case": case, "runs": [run(inputs, outputs)]}


def average_pool(case, n, c, h, w):
    x = draw(n, c, h, w).requires_grad_()
    y = F.adaptive_avg_pool2d(x, 1)
    dy = draw(*y.shape)
    y.backward(dy)
    return {"case": case, "runs": [run({"x": nhwc(x), "dy": nhwc(dy)},
                                       {"y": nhwc(y), "dx": nhwc(x.grad)})]}


def l2norm(case, n, c):
    x = draw(n, c).requires_grad_()
    unit = F.normalize(x, dim=1, eps=1e-12)
    dunit = draw(n, c)
    unit.backward(dunit)
    return {"case": case, "runs": [run({"x": x, "dunit": dunit},
                                       {"unit": unit, "norm": x.norm(dim=1), "dx": x.grad})]}


def softmax(case, n, c, size, unlabelled=False):
    z = draw(n, c, low=-size, high=size).requires_grad_()
    labels = torch.randint(0, c, (n,))
    if unlabelled:
        labels[1::3] = -1
    loss = F.cross_entropy(z, labels, ignore_index=-1)
    loss.backward()
    return {"case": case, "runs": [run({"z": z, "labels": labels}, {"loss": loss, "dz": z.grad})]}


def sgd(case, count, momentum=0.0, nesterov=False, decay=0.0, scale=1.0):
    """Five steps. The rate, momentum, decay and clipping factor are those of the C family."""
    w = draw(count).requires_grad_()
    optimizer = torch.optim.SGD([w], lr=0.125, momentum=momentum, nesterov=nesterov,
                                weight_decay=decay)
    runs = []
    for step in range(5):
        inputs = {"w": w.clone(), "v": torch.zeros(count)} if step == 0 else {}
        inputs["g"] = draw(count)
        w.grad = inputs["g"] * scale
        optimizer.step()
        outputs = {"w": w.clone()}
        if momentum > 0:
            outputs["v"] = optimizer.state[w]["momentum_buffer"].clone()
        runs.append(run(inputs, outputs))
    return {"case": case, "runs": runs}


FILES = {
    "conv": lambda: [
        conv("conv n2 c3 h7 w6 k4 r3 s2 p1 bias", 2, 3, 7, 6, 4, (3, 3), 2, (1, 1, 1, 1)),
        conv("conv n1 c4 h5 w5 k6 r3 p1 g2", 1, 4, 5, 5, 6, (3, 3), 1, (1, 1, 1, 1), 2, False),
        conv("conv n2 c5 h5 w4 k5 r3 s2 p1 g5 bias", 2, 5, 5, 4, 5, (3, 3), 2, (1, 1, 1, 1), 5),
        conv("conv n1 c2 h5 w6 k3 r2 q3 pt0 pl1 pb1 pr0", 1, 2, 5, 6, 3, (2, 3), 1, (0, 1, 1, 0), 1, False),
        conv("conv n2 c3 h4 w4 k5 r1 s2", 2, 3, 4, 4, 5, (1, 1), 2, (0, 0, 0, 0), 1, False),
        conv("conv n2 c6 h3 w3 k6 r3 g6", 2, 6, 3, 3, 6, (3, 3), 1, (0, 0, 0, 0), 6, False),
        linear("conv n3 c4 h2 w3 k5 r2 q3 bias", 3, 4, 2, 3, 5),
    ],
    "batchnorm": lambda: [
        batchnorm("batchnorm n2 c3 h3 w2", 2, 3, 3, 2),
        batchnorm("batchnorm n3 c5 h2 w3 prelu", 3, 5, 2, 3, "prelu"),
        batchnorm("batchnorm n4 c17 h1 w1", 4, 17, 1, 1),
        batchnorm_eval("batchnorm_eval n2 c5 h2 w2 prelu", 2, 5, 2, 2),
    ],
    "activation": lambda: [
        activation("activation n2 c3 h2 w3 prelu", F.prelu, 2, 3, 2, 3, draw(3).requires_grad_()),
        activation("activation n2 c5 h2 w3 relu", F.relu, 2, 5, 2, 3),
        activation("activation n2 c5 h2 w3 sigmoid", torch.sigmoid, 2, 5, 2, 3),
        activation("activation n2 c5 h2 w3 hard_sigmoid", hard_sigmoid, 2, 5, 2, 3),
        activation("activation n2 c5 h2 w3 hard_swish", F.hardswish, 2, 5, 2, 3),
    ],
    "reduce": lambda: [
        average_pool("average_pool n2 c5 h3 w2", 2, 5, 3, 2),
        l2norm("l2norm n4 c7", 4, 7),
        softmax("softmax n5 c7", 5, 7, 3.0),
        softmax("softmax n8 c11 unlabelled", 8, 11, 3.0, unlabelled=True),
        softmax("softmax n4 c9 hot", 4, 9, 64.0),
    ],
    "sgd": lambda: [
        sgd("sgd c7", 7),
        sgd("sgd c7 momentum decay", 7, 0.9, False, 5e-2),
        sgd("sgd c7 momentum nesterov decay", 7, 0.9, True, 5e-2),
        sgd("sgd c7 momentum clipped", 7, 0.9, False, 0.0, 0.3),
    ],
}


def main():
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ops")
    os.makedirs(folder, exist_ok=True)
    for name, make in FILES.items():
        with open(os.path.join(folder, name + ".json"), "w") as file:
            json.dump({"torch": torch.__version__, "cases": make()}, file, indent=0)
            file.write("\n")


main()
