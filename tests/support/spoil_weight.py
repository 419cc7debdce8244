"""A safetensors file with one fault: the numbers of one tensor are another number.

usage: spoil_weight.py IN OUT VALUE [TENSOR [COUNT]]

TENSOR is float32; without it, the first "...weight" of the network. COUNT: only its first COUNT numbers.
"""
import struct
import sys

sys.dont_write_bytecode = True
import safetensors  # the one beside this file

source, target, value = sys.argv[1:4]
data, places = safetensors.read(source)
name = sys.argv[4] if len(sys.argv) > 4 else next(
    key for key in places if key.endswith("weight") and key != "head.weight")
dtype, begin, end = places[name]
assert dtype == "F32", (name, dtype)
count = int(sys.argv[5]) if len(sys.argv) > 5 else (end - begin) // 4
spoiled = struct.pack("<f", float(value)) * count
open(target, "wb").write(data[:begin] + spoiled + data[begin + len(spoiled):])
