"""The PyTorch and OpenCV side of export_student.sh.

usage: export_student.py names                   the networks that are exported here
       export_student.py sizes                   NAME SIZE of those for square pictures
       export_student.py make FOLDER            their random weights as NAME.pth, what PyTorch says about two pictures
                                                of noise, and some as PyTorch's own exporter writes them (NAME.torch.onnx)
       export_student.py onnx FOLDER NAME FILE [pixels|fp16]   OpenCV's DNN module says the same; python3-onnx, where it is
                                                installed, finds nothing wrong with FILE
       export_student.py graph FOLDER NAME FILE NODES           which operators FILE has
       export_student.py pth FOLDER NAME FILE [fp16]            FILE loads strictly and is the same state_dict
       export_student.py every FOLDER           all of that for what export_student.sh wrote of every network
       export_student.py same NPZ NPZ SMALLEST_COSINE           two caches hold the same embeddings
"""
import os
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.environ["CASK_SOURCE"], "tests", "golden"))
# Every kind of student, for pictures of these sizes: the smaller, the faster.
SIZES = {"ir18": 32, "ir34": 16, "mobilefacenet": 112, "cavaface_mobilefacenet": 32, "facex_mobilefacenet": 32,
         "xiaoccer_mobilefacenet": 112, "mbf": 32, "mobilenetv3_large": 112, "yakhyo_mobilenetv3_large": 112,
         "torchvision_mobilenetv3_large": 112, "tface_ir18": 32, "tface_ir_se50": 16, "evolve_ir50": 16,
         "resnet18": 112, "resnet50": 112, "evolve_resnet50": 64}
TORCH_ONNX = ("ir18", "mbf", "tface_ir_se50", "facex_mobilefacenet", "mobilenetv3_large", "yakhyo_mobilenetv3_large",
              "torchvision_mobilenetv3_large", "resnet18")


def names():
    print(" ".join(SIZES))


def sizes():
    """Of the networks for square pictures; test_golden_networks has Xiaoccer's."""
    for name, size in SIZES.items():
        if not name.startswith("xiaoccer"):
            print(name, size)


def empty(name):
    import make_networks
    return make_networks.module(name, SIZES[name]).eval()


def module(name):
    """Weights that keep the size of what passes; batch norms and slopes off their usual values."""
    import make_networks
    import torch
    model = empty(name)
    slopes = {n + ".weight" for n, m in model.named_modules() if isinstance(m, torch.nn.PReLU)}
    for entry, tensor in model.state_dict().items():
        if not entry.endswith("num_batches_tracked"):
            centre, spread = make_networks.rule(entry, tensor, tensor.dim() > 1, entry in slopes)
            tensor.uniform_(centre - spread, centre + spread)
            if entry.endswith("running_var"):
                tensor /= make_networks.gain(name) ** 2
    return model


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
        width = size - 16 if name.startswith("xiaoccer") else size
        pixels = torch.randint(0, 128, (2, 3, size, width)).float() + torch.tensor([0, 127])[:, None, None, None]
        with torch.no_grad():
            said = model((pixels - 127.5) / 127.5)
        np.savez("%s/%s.npz" % (folder, name), pixels=pixels.numpy(), said=said.numpy())
        if name in TORCH_ONNX:
            torch.onnx.export(model, pixels, "%s/%s.torch.onnx" % (folder, name), input_names=["data"], opset_version=13,
                              dynamic_axes={"data": {0: "batch"}})


def close(name, found, want, tolerance):
    found, want = found.astype(np.float64), want.astype(np.float64)
    assert found.shape == want.shape, (found.shape, want.shape)
    cosine = (found * want).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(want, axis=1)
    error = np.abs(found - want).max() / np.abs(want).max()
    print("%s: smallest cosine %.8f, largest error %.1e" % (name, cosine.min(), error))
    assert cosine.min() > 0.9999 and error < tolerance, name
    between = want[0] @ want[1] / np.linalg.norm(want[0]) / np.linalg.norm(want[1])
    assert between < cosine.min(), "the two pictures look the same: nothing is tested"


def check_model(name, file, dimension):
    """The format's own checker, and what stands at the ends of the graph."""
    try:
        import onnx as format
    except ImportError:
        print("%s: not seen by onnx.checker, as python3-onnx is not installed" % name)
        return
    model = format.load(file)
    format.checker.check_model(model, full_check=True)
    ends = [[(d.dim_param or d.dim_value) for d in v.type.tensor_type.shape.dim]
            for v in (model.graph.input[0], model.graph.output[0])]
    width = SIZES[name] - 16 if name.startswith("xiaoccer") else SIZES[name]
    assert ends == [["batch", 3, SIZES[name], width], ["batch", dimension]], ends
    assert [v.name for v in (model.graph.input[0], model.graph.output[0])] == ["data", "embedding"]
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 13)]


def onnx(folder, name, file, how=""):
    import cv2
    case = np.load("%s/%s.npz" % (folder, name))
    check_model(name, file, case["said"].shape[1])
    if how == "fp16":  # OpenCV 4.6 reads no such file
        assert os.path.getsize(file) < 0.52 * os.path.getsize("%s/%s.pth" % (folder, name)), os.path.getsize(file)
        return
    pixels = case["pixels"] if how == "pixels" else (case["pixels"] - 127.5) / 127.5
    gated = "_se" in name or "mobilenetv3" in name  # OpenCV 4.6 multiplies with a gate for one picture at a time only
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
    assert type(found).__name__ == "OrderedDict" and list(found) == list(want)
    if how == "folded":  # a state_dict made of PyTorch's own ONNX file: other numbers, the same network
        want = {}
    for key, tensor in want.items():
        half = how == "fp16" and tensor.dim() > 1
        assert found[key].dtype == (torch.float16 if half else tensor.dtype), (key, found[key].dtype)
        assert torch.equal(found[key], tensor.to(found[key].dtype)), key
    model = empty(name)
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


def every(folder):
    for name in SIZES:
        onnx(folder, name, "%s/%s.onnx" % (folder, name))
        onnx(folder, name, "%s/%s.half.onnx" % (folder, name), "fp16")
        pth(folder, name, "%s/%s.again.pth" % (folder, name))
        if name in TORCH_ONNX:
            pth(folder, name, "%s/%s.torch.pth" % (folder, name), "folded")


globals()[sys.argv[1]](*sys.argv[2:])
