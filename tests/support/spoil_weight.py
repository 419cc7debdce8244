"""A safetensors file with one fault: the numbers of one tensor are another number.

usage: spoil_weight.py IN OUT VALUE [TENSOR [COUNT]]

TENSOR is float32; without it, the first "...weight" of the network. COUNT: only its first COUNT numbers.
"""
import json
import struct
import sys

source, target, value = sys.argv[1:4]
data = bytearray(open(source, "rb").read())
(size,) = struct.unpack("<Q", data[:8])
header = json.loads(data[8:8 + size])
name = sys.argv[4] if len(sys.argv) > 4 else next(
    key for key in header if key.endswith("weight") and key != "head.weight")
assert header[name]["dtype"] == "F32", header[name]
begin, end = (8 + size + at for at in header[name]["data_offsets"])
count = int(sys.argv[5]) if len(sys.argv) > 5 else (end - begin) // 4
data[begin:begin + 4 * count] = struct.pack("<f", float(value)) * count
open(target, "wb").write(data)
