#!/usr/bin/python3
"""Writes tests/golden/onnx/NAME.onnx, and NAME.bin with float32 input [2,3,H,W] and output [2,D].

Made with Debian's python3-torch 1.13.1, whose exporter needs no onnx package. Run by hand; the files
are committed.
"""
import os
import struct

import numpy
import torch
from torch import nn

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "onnx")


def shake(model):
    """Statistics and slopes that are not the trivial ones."""
    for m in model.modules():
        if isinstance(m, (nn.BatchNorm2d, nn.BatchNorm1d)):
            nn.init.uniform_(m.running_mean, -0.5, 0.5)
            nn.init.uniform_(m.running_var, 0.5, 2)
            if m.affine:
                nn.init.uniform_(m.weight, 0.5, 1.5)
                nn.init.uniform_(m.bias, -0.5, 0.5)
        elif isinstance(m, nn.PReLU):
            nn.init.uniform_(m.weight, -0.2, 0.5)


class Block(nn.Module):
    """IResNet's: the leading batch norm cannot be fused, the others are."""

    def __init__(self, c, p, stride):
        super().__init__()
        self.body = nn.Sequential(nn.BatchNorm2d(c), nn.Conv2d(c, p, 3, 1, 1, bias=False), nn.BatchNorm2d(p), nn.PReLU(p),
                                  nn.Conv2d(p, p, 3, stride, 1, bias=False), nn.BatchNorm2d(p))
        self.side = nn.Sequential(nn.Conv2d(c, p, 1, stride, bias=False), nn.BatchNorm2d(p))

    def forward(self, x):
        return self.body(x) + self.side(x)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.PReLU(8))
        self.block = Block(8, 12, 2)
        self.tail = nn.Sequential(nn.BatchNorm2d(12), nn.Dropout(0.4), nn.Flatten(), nn.Linear(12 * 16, 10), nn.BatchNorm1d(10))

    def forward(self, x):
        return self.tail(self.block(self.stem(x)))


class Reshaped(nn.Module):
    """view(size(0), -1), a linear layer without bias, normalisation inside the graph."""

    def __init__(self, dynamic):
        super().__init__()
        self.dynamic = dynamic
        self.conv = nn.Conv2d(3, 6, 3, 2, 1, groups=3)
        self.act = nn.PReLU(1)
        self.fc = nn.Linear(6 * 4 * 6, 9, bias=False)

    def forward(self, x):
        x = self.act(self.conv((x - 127.5) * 0.0078125))
        x = x.view(x.size(0), -1) if self.dynamic else x.reshape(1, -1)
        return torch.matmul(x, self.fc.weight.t())


class Squeeze(nn.Module):
    """MobileNetV3's pieces: hard-swish, squeeze-and-excitation, ReLU6, pooling."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1), nn.Hardsigmoid())
        self.tail = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.ReLU6(), nn.Conv2d(8, 7, 1), nn.Sigmoid(),
                                  nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, x):
        x = nn.functional.hardswish(self.conv(x) * 3)
        return self.tail(x * self.gate(x) / 0.5 + 0.25) * 2 - 1


class Gated(nn.Module):
    """Squeeze-and-excitation by linear layers: the gate becomes an image again by Unsqueeze or Reshape."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 8))
        self.tail = nn.Sequential(nn.Conv2d(8, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, x):
        x = self.conv(x)
        y = x * torch.sigmoid(self.gate(x))[:, :, None, None]
        z = y * nn.functional.hardsigmoid(3 * self.gate(y)).unsqueeze(-1).unsqueeze(2)
        return self.tail(z + y * torch.sigmoid(self.gate(z)).view(x.size(0), -1, 1, 1))


class Means(nn.Module):
    """Pooling as x.mean((2, 3)): in the gate with its axes kept, then away."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.gate = nn.Sequential(nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1), nn.Sigmoid())
        self.fc = nn.Linear(8, 6)

    def forward(self, x):
        x = nn.functional.hardswish(self.conv(x))
        x = x * self.gate(x.mean((2, 3), keepdim=True))
        return self.fc(x.mean([-2, -1]))


def write(name, model, size, scale=1.0, **options):
    model.eval()
    shake(model)
    x = (torch.rand(2, 3, *size) * 2 - 1) * scale
    with torch.no_grad():
        y = torch.cat([model(x[i:i + 1]) for i in range(2)])
    torch.onnx.export(model, x[:1], os.path.join(OUT, name + ".onnx"), input_names=["data"], **options)
    with open(os.path.join(OUT, name + ".bin"), "wb") as f:
        f.write(x.numpy().tobytes() + y.numpy().tobytes())


torch.manual_seed(3)
os.makedirs(OUT, exist_ok=True)
write("residual", Residual(), (8, 8), opset_version=11)
write("residual_unfused", Residual(), (8, 8), opset_version=11, training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)
write("reshape_fixed", Reshaped(False), (8, 12), 127.5, opset_version=11)
write("reshape_dynamic", Reshaped(True), (8, 12), 127.5, opset_version=13, dynamic_axes={"data": {0: "batch"}})
write("squeeze", Squeeze(), (10, 10), opset_version=11)
write("squeeze_14", Squeeze(), (10, 10), opset_version=14)

# What PyTorch's exporter never writes, put together by hand: a protobuf field is (number, value).


def varint(n):
    n &= (1 << 64) - 1
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def message(*fields):
    return b"".join(field(n, v) for n, v in fields)


FLOAT, INT64, FLOAT16, DOUBLE, BFLOAT16 = 1, 7, 10, 11, 16


def tensor(name, kind, values, data):
    """data: the field that carries the numbers; dims are written one by one, not packed."""
    return message(*[(1, d) for d in values.shape], (2, kind), (8, name)) + data


def node(op, inputs, output, *attributes):
    return message(*[(1, i) for i in inputs], (2, output), (4, op), *[(5, message((1, n), *v)) for n, v in attributes])


def info(name, dims):
    return message((1, name), (2, message((1, message((1, FLOAT), (2, b"".join(field(1, message((1, d))) for d in dims)))))))


def write_typed():
    r = numpy.random.RandomState(5)
    half = lambda *shape: r.uniform(-1, 1, shape).astype(numpy.float16)
    w, b = half(4, 3, 2, 2), half(4)
    scale, shift, mean, var = half(4), half(4), half(4), abs(half(4)) + numpy.float16(0.5)
    var = var.astype(numpy.float32).view(numpy.uint32)
    var = (var >> 16 << 16).view(numpy.float32)  # exact in bfloat16
    gemm, bias = half(4 * 9, 6), half(6)
    f32 = lambda v: v.astype("<f4")
    initializers = [
        tensor("w", FLOAT, w, b"".join(field(4, float(v)) for v in w.ravel())),                 # not packed
        tensor("b", DOUBLE, b, field(10, b.astype("<f8").tobytes())),                           # packed
        tensor("scale", FLOAT16, scale, field(5, b"".join(varint(int(v)) for v in scale.view(numpy.uint16)))),
        tensor("shift", FLOAT16, shift, field(9, shift.tobytes())),
        tensor("shared", FLOAT, mean, field(4, f32(mean).tobytes())),                           # packed
        tensor("var", BFLOAT16, var, field(9, (var.view(numpy.uint32) >> 16).astype("<u2").tobytes())),
        tensor("gemm", FLOAT, gemm, field(9, f32(gemm).tobytes())),
        tensor("bias", FLOAT, bias, field(9, f32(bias).tobytes())),
    ]
    nodes = [
        node("Identity", ["shared"], "alias"),
        node("Identity", ["alias"], "mean"),
        node("Conv", ["x", "w", "b"], "c", ("auto_pad", [(4, "SAME_UPPER")]), ("strides", [(8, 2), (8, 2)])),
        node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], "n", ("epsilon", [(2, 0.25)]), ("spatial", [(3, 0)])),
        node("Softmax", ["n"], "unused"),
        node("Flatten", ["n"], "f"),
        node("Gemm", ["f", "gemm", "bias"], "y", ("alpha", [(2, 0.5)]), ("beta", [(2, 2.0)])),
    ]
    graph = b"".join(field(1, n) for n in nodes) + b"".join(field(5, i) for i in initializers)
    graph += message((11, info("x", [1, 3, 5, 5])), (11, info("w", list(w.shape))), (12, info("y", [1, 6])))
    with open(os.path.join(OUT, "typed.onnx"), "wb") as f:
        f.write(message((1, 6), (7, graph), (8, message((2, 9)))))
    x = r.uniform(-1, 1, (2, 3, 5, 5)).astype(numpy.float32)
    t = lambda v: torch.from_numpy(v.astype(numpy.float64))
    y = nn.functional.conv2d(nn.functional.pad(t(x), (0, 1, 0, 1)), t(w), t(b), 2)  # 5 -> 3 needs one pixel, at the end
    y = nn.functional.batch_norm(y, t(mean), t(var), t(scale), t(shift), eps=0.25).flatten(1)
    y = 0.5 * y @ t(gemm) + 2 * t(bias)
    with open(os.path.join(OUT, "typed.bin"), "wb") as f:
        f.write(x.tobytes() + y.float().numpy().tobytes())


def write_unsqueezed(opset):
    """Both axes in one node: an attribute up to opset 12, then an input."""
    r = numpy.random.RandomState(opset)
    w, v = r.uniform(-1, 1, (4, 3, 1, 1)), r.uniform(-1, 1, (6, 4, 1, 1))
    data = lambda values, kind="<f4": field(9, values.astype(kind).tobytes())
    initializers = [tensor("w", FLOAT, w, data(w)), tensor("v", FLOAT, v, data(v))]
    axes = numpy.array([-1, 2])
    attributes = [("axes", [(8, int(a)) for a in axes])] if opset < 13 else []
    if opset >= 13:
        initializers.append(tensor("axes", INT64, axes, data(axes, "<i8")))
    nodes = [
        node("Conv", ["x", "w"], "c"),
        node("GlobalAveragePool", ["c"], "p"),
        node("Flatten", ["p"], "f"),
        node("Unsqueeze", ["f"] + ["axes"] * (opset >= 13), "u", *attributes),
        node("Conv", ["u", "v"], "y"),
    ]
    graph = b"".join(field(1, n) for n in nodes) + b"".join(field(5, i) for i in initializers)
    graph += message((11, info("x", [1, 3, 4, 4])), (12, info("y", [1, 6, 1, 1])))
    with open(os.path.join(OUT, "unsqueeze_%d.onnx" % opset), "wb") as f:
        f.write(message((1, 7), (7, graph), (8, message((2, opset)))))
    x = r.uniform(-1, 1, (2, 3, 4, 4)).astype(numpy.float32)
    t = lambda a: torch.from_numpy(a.astype(numpy.float32).astype(numpy.float64))
    y = nn.functional.conv2d(nn.functional.conv2d(t(x), t(w)).mean((2, 3), keepdim=True), t(v))
    with open(os.path.join(OUT, "unsqueeze_%d.bin" % opset), "wb") as f:
        f.write(x.tobytes() + y.float().numpy().tobytes())


def write_reduced(opset):
    """The axes from behind, an attribute up to opset 17, then an input; keepdims left out and 0."""
    r = numpy.random.RandomState(opset)
    w, v = r.uniform(-1, 1, (4, 3, 1, 1)), r.uniform(-1, 1, (5, 4))
    data = lambda values, kind="<f4": field(9, values.astype(kind).tobytes())
    initializers = [tensor("w", FLOAT, w, data(w)), tensor("v", FLOAT, v, data(v))]
    attributes = lambda *axes: [("axes", [(8, a) for a in axes])] if opset < 18 else []
    if opset >= 18:
        initializers += [tensor("a", INT64, numpy.array([-1, -2]), data(numpy.array([-1, -2]), "<i8")),
                         tensor("b", INT64, numpy.array([2, -1]), data(numpy.array([2, -1]), "<i8"))]
    nodes = [
        node("Conv", ["x", "w"], "c"),
        node("ReduceMean", ["c"] + ["a"] * (opset >= 18), "k", *attributes(-1, -2)),
        node("Mul", ["c", "k"], "m"),
        node("Sigmoid", ["m"], "s"),
        node("ReduceMean", ["s"] + ["b"] * (opset >= 18), "f", *attributes(2, -1), ("keepdims", [(3, 0)])),
        node("Gemm", ["f", "v"], "y", ("transB", [(3, 1)])),
    ]
    graph = b"".join(field(1, n) for n in nodes) + b"".join(field(5, i) for i in initializers)
    graph += message((11, info("x", [1, 3, 4, 6])), (12, info("y", [1, 5])))
    with open(os.path.join(OUT, "mean_%d.onnx" % opset), "wb") as f:
        f.write(message((1, 8), (7, graph), (8, message((2, opset)))))
    x = r.uniform(-1, 1, (2, 3, 4, 6)).astype(numpy.float32)
    t = lambda a: torch.from_numpy(a.astype(numpy.float32).astype(numpy.float64))
    c = nn.functional.conv2d(t(x), t(w))
    y = torch.sigmoid(c * c.mean((2, 3), keepdim=True)).mean((2, 3)) @ t(v).t()
    with open(os.path.join(OUT, "mean_%d.bin" % opset), "wb") as f:
        f.write(x.tobytes() + y.float().numpy().tobytes())


write_typed()
write("gated_11", Gated(), (9, 9), opset_version=11)
write("gated_13", Gated(), (9, 9), opset_version=13, dynamic_axes={"data": {0: "batch"}})
for opset in 12, 13:
    write_unsqueezed(opset)
write("means_11", Means(), (9, 7), opset_version=11)
write("means_13", Means(), (9, 7), opset_version=13, dynamic_axes={"data": {0: "batch"}})
for opset in 17, 18:
    write_reduced(opset)
