"""The PyTorch and OpenCV side of export_student.sh.

usage: export_student.py make FOLDER            random weights of several networks as NAME.pth, and what PyTorch
                                                says about two pictures of noise
       export_student.py onnx FOLDER NAME FILE [pixels]    OpenCV's DNN module says the same
       export_student.py graph FOLDER NAME FILE NODES           which operators FILE has
       export_student.py pth FOLDER NAME FILE [fp16]            FILE loads strictly and is the same state_dict
       export_student.py same NPZ NPZ SMALLEST_COSINE           two caches hold the same embeddings
"""
import os
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.environ["CASK_SOURCE"], "tests", "golden"))
SIZES = {"ir18": 64, "tface_ir18": 64, "tface_ir_se50": 32, "resnet18": 112,
         "mobilenetv3_large": 112, "yakhyo_mobilenetv3_large": 112, "mobilefacenet": 112}


def module(name):
    import make_networks
    return make_networks.build(name, SIZES[name]).float().eval()


def make(folder):
    import torch
    torch.set_num_threads(2)
    torch.manual_seed(7)
    for name, size in SIZES.items():
        model = module(name)
        for entry, tensor in model.state_dict().items():
            if entry.endswith("num_batches_tracked"):
                tensor.fill_(12345)
        torch.save(model.state_dict(), "%s/%s.pth" % (folder, name))
        pixels = torch.randint(0, 256, (2, 3, size, size)).float()
        with torch.no_grad():
            said = model((pixels - 127.5) / 127.5)
        np.savez("%s/%s.npz" % (folder, name), pixels=pixels.numpy(), said=said.numpy())


def close(name, found, want, tolerance):
    found, want = found.astype(np.float64), want.astype(np.float64)
    assert found.shape == want.shape, (found.shape, want.shape)
    cosine = (found * want).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(want, axis=1)
    error = np.abs(found - want).max() / np.abs(want).max()
    print("%s: smallest cosine %.8f, largest error %.1e" % (name, cosine.min(), error))
    assert cosine.min() > 0.9999 and error < tolerance, name
    between = want[0] @ want[1] / np.linalg.norm(want[0]) / np.linalg.norm(want[1])
    assert between < cosine.min(), "the two pictures look the same: nothing is tested"


def onnx(folder, name, file, how=""):
    import cv2
    case = np.load("%s/%s.npz" % (folder, name))
    pixels = case["pixels"] if how == "pixels" else (case["pixels"] - 127.5) / 127.5
    gated = "_se" in name or "v3" in name  # OpenCV 4.6 multiplies with a gate for one picture at a time only
    said = []
    for batch in ([0, 1], [0], [1]):
        if len(batch) > 1 and gated:
            continue
        net = cv2.dnn.readNetFromONNX(file)
        net.setInput(pixels[batch].astype(np.float32), "data")
        said.append(net.forward("embedding").copy())
    close("%s in OpenCV" % os.path.basename(file), np.concatenate(said[-2:]), case["said"], 1e-4)
    if not gated:
        close("%s in OpenCV, both at once" % os.path.basename(file), said[0], case["said"], 1e-4)


def pth(folder, name, file, how=""):
    import torch
    want, found = torch.load("%s/%s.pth" % (folder, name)), torch.load(file)
    assert type(found).__name__ == "OrderedDict" and set(found) == set(want)
    for key, tensor in want.items():
        half = how == "fp16" and tensor.dim() > 1
        assert found[key].dtype == (torch.float16 if half else tensor.dtype), (key, found[key].dtype)
        assert torch.equal(found[key], tensor.to(found[key].dtype)), key
    model = module(name)
    for tensor in model.state_dict().values():
        tensor.fill_(-1)
    print(name, model.load_state_dict(found, strict=True))
    case = np.load("%s/%s.npz" % (folder, name))
    with torch.no_grad():
        said = model((torch.from_numpy(case["pixels"]) - 127.5) / 127.5)
    close("%s in PyTorch" % os.path.basename(file), said.numpy(), case["said"], 2e-2 if how == "fp16" else 1e-5)


def fields(data):
    """(number, value) of a protobuf message, one level deep."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 2:
            length = varint()
            yield key >> 3, data[at:at + length]
            at += length
        elif key & 7 == 5:
            yield key >> 3, data[at:at + 4]
            at += 4
        else:
            yield key >> 3, varint()


def graph(folder, name, file, wanted):
    model = list(fields(open(file, "rb").read()))
    inside = list(fields(dict(model)[7]))
    ops = [dict(fields(node))[4].decode() for number, node in inside if number == 1]
    found = " ".join("%s:%d" % (op, ops.count(op)) for op in sorted(set(ops)))
    print(name, found)
    assert found == wanted, "expected %s" % wanted
    made = {"data"} | {dict(fields(t))[8].decode() for number, t in inside if number == 5}
    for number, node in inside:  # every node reads what stands before it
        if number == 1:
            for field, value in fields(node):
                assert field != 1 or value.decode() in made, value
            made.add(dict(fields(node))[2].decode())
    opset = dict(fields(dict(model)[8]))
    assert opset[2] == 13, opset
    properties = {dict(fields(v))[1].decode(): dict(fields(v))[2].decode() for number, v in model if number == 14}
    assert properties["net"] == name and properties["channel_order"] == "rgb", properties


def same(first, second, smallest):
    a, b = np.load(first)["embedding"].astype(np.float64), np.load(second)["embedding"].astype(np.float64)
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    print("%s: smallest cosine %.9f" % (os.path.basename(second), cosine.min()))
    assert a.shape == b.shape and cosine.min() > float(smallest)


globals()[sys.argv[1]](*sys.argv[2:])
