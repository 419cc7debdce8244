"""The PyTorch side of teacher_torch.sh.

usage: teacher_torch.py make FOLDER          random IResNet-50 weights, both containers of torch.save,
                                             and what the network says about FOLDER/faces
       teacher_torch.py compare FOLDER NPZ fp32|bf16
"""
import glob
import os
import sys

import numpy as np

SOURCE = os.environ["CASK_SOURCE"]
VIEWS = ("orig", "hflip")


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def make(folder):
    import cv2
    import torch

    sys.path.insert(0, os.path.join(SOURCE, "tests", "golden"))
    import make_networks

    torch.set_num_threads(2)
    model = make_networks.build("ir50", 112).float().eval()
    state = model.state_dict()
    torch.save(state, os.path.join(folder, "zip.pth"))
    torch.save(state, os.path.join(folder, "legacy.pth"), _use_new_zipfile_serialization=False)
    images = np.stack([cv2.imread(path)[:, :, ::-1] for path in sorted(glob.glob(folder + "/faces/*/*.jpg"))])
    for view, pixels in zip(VIEWS, (images, images[:, :, ::-1])):
        scaled = (pixels.astype(np.float32) - 127.5) / 127.5
        with torch.no_grad():
            said = model(torch.from_numpy(np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))))
        np.save(os.path.join(folder, view + ".npy"), said.numpy())


def compare(folder, npz, precision):
    cache = np.load(npz)
    for number, view in enumerate(VIEWS):
        want = np.load(os.path.join(folder, view + ".npy")).astype(np.float64)
        length = np.linalg.norm(want, axis=1)
        found, norm = unit(cache["embedding"][number].astype(np.float64)), cache["norm"][number]
        want = unit(want)
        between = want @ want.T - 2 * np.eye(len(want))
        assert found.shape == want.shape, (found.shape, want.shape)
        # a teacher that says the same of every image would prove nothing
        assert between.max() < 0.998, "two images look the same: cosine %g" % between.max()
        cosine = (found * want).sum(axis=1).min()
        error = np.abs(found - want).max()
        storage = np.abs(unit(want.astype(np.float16).astype(np.float64)) - want).max()
        lengths = np.abs(norm / length - 1).max()
        print("%s %-5s largest error %.2e, of it by float16 storage up to %.2e; norms %.2e; smallest cosine %.7f; "
              "other images at most %.4f" % (precision, view, error, storage, lengths, cosine, between.max()))
        if precision == "fp32":
            # storage is accounted for on its own: what is left is the network's
            assert error <= 1e-4 and max(error - storage, 0) <= 1e-5 and lengths <= 1e-4, "off by more than 1e-4"
        assert cosine > (0.999999 if precision == "fp32" else 0.999), "cosine %g" % cosine


make(sys.argv[2]) if sys.argv[1] == "make" else compare(*sys.argv[2:])
