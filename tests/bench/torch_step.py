#!/usr/bin/python3
"""A training step of one of Cask's students in PyTorch's eager mode, on the CPU: images a second.

    /usr/bin/python3 tests/bench/torch_step.py [--net mobilefacenet] [--batch 64] [--repeats 3]

A step is what a step is in bench_step: forward in training mode, then the gradients of all parameters
from a given gradient of the embedding; no loss and no optimizer. The modules are those of
tests/golden, and before anything is timed they are held to networks.json, as Cask is by
tests/golden/test_golden_networks.c: the same parameters, embeddings and, where the file has them,
gradients.
"""
import argparse
import json
import os
import sys
import time

import torch

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden")
sys.path.insert(0, GOLDEN)
import make_networks  # noqa: E402


def worst(found, want):
    """Largest difference of two lists of numbers, as a part of the largest number."""
    assert len(found) == len(want) > 0
    largest = max(abs(w) for w in want)
    off = [abs(f - w) for f, w in zip(found, want)]
    assert all(o <= largest for o in off), "not the same numbers, or not a number"
    return max(off) / largest


def check(net):
    """The module is the network that Cask computes."""
    with open(os.path.join(GOLDEN, "networks.json")) as file:
        cases = [case for case in json.load(file)["cases"] if case["net"] == net]
    said = []
    for case in cases:
        if case["mode"] == "keys":
            assert make_networks.keys_case(net) == case, "other parameters than Cask's"
            said.append("%d parameters in %d entries" % (case["parameters"], case["keys"]))
        elif case["mode"] == "eval":
            off = worst(make_networks.eval_case(net, case["size"], case["batch"])["unit"], case["unit"])
            assert off <= 1e-6, off
            said.append("embeddings within %.0e" % off)
        elif case["mode"] == "train":
            found = make_networks.train_case(net, case["size"], case["batch"])["grads"]
            assert sorted(found) == sorted(case["grads"])
            norms = [[grads[name]["norm"] for name in case["grads"]] for grads in (found, case["grads"])]
            off = worst(*norms)
            assert off <= 1e-6, off
            said.append("%d gradients at %d pixels within %.0e" % (len(found), case["size"], off))
    assert len(said) > 1, "networks.json does not know %s" % net
    return ", ".join(said)


def quietly(act, *arguments):
    """Without what make_networks prints on its way."""
    out, sys.stdout = sys.stdout, open(os.devnull, "w")
    try:
        return act(*arguments)
    finally:
        sys.stdout.close()
        sys.stdout = out


def step(model, pixels, seed, half):
    model.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        embedding = model(pixels)
    embedding.backward(seed.to(embedding.dtype))


def measure(model, pixels, seed, half, repeats):
    """Seconds of the fastest step, after one that is not counted."""
    best = float("inf")
    for turn in range(repeats + 1):
        start = time.perf_counter()
        step(model, pixels, seed, half)
        seconds = time.perf_counter() - start
        best = min(best, seconds) if turn > 0 else best
    gradients = [p.grad for p in model.parameters() if p.requires_grad]
    assert all(g is not None and bool(torch.isfinite(g).all()) for g in gradients), "a step without gradients"
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", default="mobilefacenet", choices=sorted(make_networks.NETWORKS))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print("PyTorch %s, CPU capability %s, oneDNN %s" % (
        torch.__version__, torch.__config__.show().split("CPU capability usage: ")[1].split()[0],
        torch.__config__.show().split("MKL-DNN v")[1].split()[0] if torch.backends.mkldnn.is_available() else "absent"))
    torch.set_num_threads(1)
    print("%s: %s" % (options.net, quietly(check, options.net)))
    print("batch %d, best of %d" % (options.batch, options.repeats))
    torch.manual_seed(1)
    model = make_networks.build(options.net, 112).float().train()
    pixels = torch.randn(options.batch, 3, 112, make_networks.width(options.net, 112))
    with torch.no_grad():
        seed = torch.randn_like(model(pixels[:2])[:1].expand(options.batch, -1))
    for half in (False, True):
        for threads in range(1, min(2, os.cpu_count()) + 1):
            torch.set_num_threads(threads)
            for layout in (torch.contiguous_format, torch.channels_last):
                model = model.to(memory_format=layout)
                seconds = measure(model, pixels.contiguous(memory_format=layout), seed, half, options.repeats)
                print("%-13s %d thread%s %-17s %7.1f images/s %8.1f ms" % (
                    "bf16 autocast" if half else "fp32", threads, " " if threads == 1 else "s",
                    str(layout).split(".")[1], options.batch / seconds, 1e3 * seconds), flush=True)


if __name__ == "__main__":
    main()
