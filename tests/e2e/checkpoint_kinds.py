"""Files as people have them, for checkpoint_kinds.sh: writes FOLDER/NAME.pth, and FOLDER/expected with a line
NAME|EXIT CODE|what must be said|..."""
import os
import sys

import torch

sys.path.insert(0, os.path.join(os.environ["CASK_SOURCE"], "tests", "golden"))
import make_networks  # noqa: E402

folder = sys.argv[1]
torch.manual_seed(1)
network = make_networks.module("mobilefacenet", 112)
state = network.state_dict()
imagenet = make_networks.module("resnet18", 112).state_dict()
imagenet.update({"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)})


def named(prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


def each(change):
    return {name: change(tensor) for name, tensor in state.items()}


def quantised(tensor):
    return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8) if tensor.dim() > 1 else tensor


whole = "with all its tensors and no others"
cases = {
    # --- what is understood
    "data_parallel": (named("module."), 0, "mobilefacenet, 512-d"),
    "lightning": ({"state_dict": named("model."), "hyper_parameters": {"lr": 0.1},
                   "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}}]}, 0, "mobilefacenet, 512-d"),
    "training": ({"epoch": 1, "state_dict_backbone": state,
                  "state_optimizer": {"state": {0: {"momentum_buffer": torch.zeros(5)}}}}, 0, "mobilefacenet, 512-d"),
    "wrapped": (named("student.encoder."), 0, "mobilefacenet, 512-d"),
    "with_head": ({**state, "arcface.kernel": torch.zeros(512, 10)}, 0, "mobilefacenet, 512-d"),
    "adaface": ({**named("model."), "head.kernel": torch.zeros(512, 10)}, 0, "mobilefacenet, 512-d"),
    "old": ({k: v for k, v in state.items() if "num_batches" not in k}, 0, "mobilefacenet, 512-d"),
    "half": (each(lambda t: t.half() if t.is_floating_point() else t), 0, "mobilefacenet, 512-d"),
    "narrow": ({**state, "output_layer.linear.weight": torch.zeros(128, 512),
                **{"output_layer.bn." + k: torch.ones(128) for k in ("running_mean", "running_var")}},
               0, "mobilefacenet, 128-d"),
    # --- what is refused
    "renamed": ({k.replace("linear", "fc"): v for k, v in state.items()}, 3, "not weights of mobilefacenet",
                "1 missing: output_layer.linear.weight", "1 unknown: output_layer.fc.weight",
                "output_layer.fc.weight has the shape of output_layer.linear.weight (renamed?)", whole),
    "cut": ({k: v for k, v in state.items() if not k.startswith("conv_6_sep")}, 3, "6 missing: conv_6_sep.conv.weight",
            "and others", whole),
    "grey": ({**state, "conv1.conv.weight": torch.zeros(64, 1, 3, 3)}, 3,
             "conv1.conv.weight (expected 64x3x3x3, found 64x1x3x3)", whole),
    "extra": ({**state, "conv1.mask": torch.zeros(3)}, 3, "1 unknown: conv1.mask", whole),
    "strange": ({k.replace(".", "_"): v for k, v in state.items()}, 3, "cannot tell the network from its 331 tensors",
                "export it to ONNX"),
    "integers": (each(lambda t: t.to(torch.int8) if t.dim() > 1 else t), 3, "integers.pth", "conv1.conv.weight",
                 "found I8", "save the float network"),
    "quantised": (each(quantised), 3, "quantised.pth", "QInt8Storage is not read", "save the float network"),
    "imagenet": (imagenet, 3, "imagenet.pth", "resnet18", "1000 outputs", "expected an embedding", "name the network"),
    "module": (network, 3, "a whole module", "model.state_dict()"),
    "head_only": ({"kernel": torch.zeros(512, 10)}, 3, "a classifier, kernel (512x10), and no network"),
}
with open(os.path.join(folder, "expected"), "w") as lines:
    for name, (content, *told) in cases.items():
        torch.save(content, os.path.join(folder, name + ".pth"))
        lines.write("|".join([name, *map(str, told)]) + "\n")
