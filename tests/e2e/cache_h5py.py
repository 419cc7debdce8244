"""What a Python user sees of a cache: opens every shard with h5py and hdf5plugin, compares it with the
plain arrays beside it (expected-*.bin, written by test_cache_h5py), then writes the first shard anew
with h5py, for our own reader to read back.

usage: cache_h5py.py CACHE_FOLDER EXPECTED_FOLDER REWRITTEN_SHARD
"""
import json
import os
import sys

import h5py
import hdf5plugin
import numpy as np

folder, expected, rewritten = sys.argv[1:4]
manifest = json.load(open(os.path.join(folder, "manifest.json")))
images, per_shard = manifest["images"], manifest["shard_images"]
dimension, k, temperatures = manifest["embedding"], manifest["topk"], len(manifest["temperatures"])


def load(name, dtype, *shape):
    return np.fromfile(os.path.join(expected, "expected-%s.bin" % name), dtype).reshape(shape)


def check(what, found, want):
    if found.dtype != want.dtype or found.shape != want.shape or not np.array_equal(found, want):
        sys.exit("%s: found %s %s, expected %s %s, equal: %s" % (
            what, found.dtype, found.shape, want.dtype, want.shape, np.array_equal(found, want)))


shared = {"label": load("label", "<u4", images), "sample_id": load("sample_id", "<u8", images),
          "source_offset": load("source_offset", "<u8", images)}
checked = 0
for number in range((images + per_shard - 1) // per_shard):
    first, end = number * per_shard, min(images, (number + 1) * per_shard)
    with h5py.File(os.path.join(folder, "shard-%05d.h5" % number), "r") as shard:
        assert shard.attrs["format"] == b"cask" and shard.attrs["major"] == 1, dict(shard.attrs)
        assert shard.attrs["row_begin"] == first and shard.attrs["row_count"] == end - first
        assert list(shard.attrs["temperatures"]) == manifest["temperatures"]
        for name, want in shared.items():
            check(name, shard[name][:], want[first:end])
        for view, group in enumerate(["orig", "hflip"]):
            def rows(name, dtype, *shape):
                return load("%d-%s" % (view, name), dtype, images, *shape)[first:end]
            check(group, shard[group]["topk_index"][:], rows("topk_index", "<u4", k))
            cosine = shard[group]["topk_cosine"][:].astype("<f4") * np.float32(1.0 / 32767.0)
            check(group, cosine, rows("topk_cosine", "<f4", k))
            for name in ("norm", "label_cosine"):
                check(group + "/" + name, shard[group][name][:], rows(name, "<f4"))
            check(group, shard[group]["lse"][:], rows("lse", "<f4", temperatures))
            stored = shard[group]["embedding"][:].astype("f8")
            if manifest["embedding_type"] == "int8":
                stored *= shard[group]["embedding_scale"][:].astype("f8")[:, None]
            length = np.linalg.norm(stored, axis=1, keepdims=True)
            found = np.divide(stored, length, where=length > 0, out=np.zeros_like(stored))
            want = rows("embedding", "<f4", dimension)
            if not np.abs(found - want).max() <= 2e-7 or not np.abs(want).max() > 0.1:
                sys.exit("%s/embedding: off by %g" % (group, np.abs(found - want).max()))
            checked += end - first

with h5py.File(os.path.join(folder, "centers.h5"), "r") as centers:
    check("centers", centers["centers"][:], load("centers", "<f4", manifest["classes"], dimension))

# The other direction: the same rows through h5py's own filter pipeline. It compresses a row of zeros (a
# bad image), which the format does not allow in embeddings, so those rows are given noise.
noise = np.random.default_rng(1)
with h5py.File(os.path.join(folder, "shard-00000.h5"), "r") as source, \
        h5py.File(rewritten, "w", libver=("v110", "v110")) as copy:
    for name in ("label", "sample_id", "source_offset", "flags"):
        copy.create_dataset(name, data=source[name][:])
    for group in ("orig", "hflip"):
        for name, data in source[group].items():
            options, values = {}, data[:]
            if name == "embedding":
                bad = ~values.any(axis=1)
                values[bad] = noise.integers(-100, 100, (bad.sum(), values.shape[1]))
                options = dict(chunks=data.chunks, **hdf5plugin.LZ4(nbytes=data.shape[1] * data.dtype.itemsize))
            elif name.startswith("topk"):
                options = dict(chunks=data.chunks, shuffle=True, **hdf5plugin.LZ4(nbytes=0))
            copy.create_dataset(group + "/" + name, data=values, **options)
print("%d rows compared" % checked)
