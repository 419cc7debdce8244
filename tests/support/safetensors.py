"""Reads safetensors files with nothing but struct: 8 bytes of size, a JSON header, the numbers."""
import json
import struct


def read(path):
    """The file's bytes, and of each tensor (dtype, first byte, byte behind the last)."""
    data = open(path, "rb").read()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    return data, {name: (t["dtype"], *(8 + size + at for at in t["data_offsets"])) for name, t in header.items()}


def tensors(path):
    """The bytes of each tensor."""
    data, places = read(path)
    return {name: data[begin:end] for name, (_, begin, end) in places.items()}


def floats(path):
    """The numbers of each float32 tensor."""
    return {name: struct.unpack("<%df" % (len(data) // 4), data) for name, data in tensors(path).items()}
