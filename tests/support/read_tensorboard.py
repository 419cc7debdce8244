"""Reads TensorBoard event files with nothing but struct, and compares them with metrics.jsonl.

usage: read_tensorboard.py RUN

Written from the format's description (TFRecord, event.proto, summary.proto), not from Cask's writer:
CRC-32C bit by bit, protocol buffers field by field. Every number of every line must be there once, as
a float of 32 bits, and nothing else; checksums must hold; steps after a restart begin where the older
files end.
"""
import glob
import json
import math
import struct
import sys


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(data):
    at = 0
    while at < len(data):
        (size,) = struct.unpack_from("<Q", data, at)
        assert struct.unpack_from("<I", data, at + 8)[0] == masked(data[at:at + 8]), "checksum of a length"
        body = data[at + 12:at + 12 + size]
        assert len(body) == size, "a torn record"
        assert struct.unpack_from("<I", data, at + 12 + size)[0] == masked(body), "checksum of a record"
        yield body
        at += 16 + size


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def fields(data):
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind == 2:
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
        else:
            size, code = {1: (8, "<d"), 5: (4, "<f")}[kind]
            value, at = struct.unpack_from(code, data, at)[0], at + size
        assert at <= len(data), "a field is cut"
        yield key >> 3, value


def read(run):
    found, files, last = {}, sorted(glob.glob(run + "/events.out.tfevents.*")), 0
    assert files, "no event files"
    for number, path in enumerate(files):
        for index, body in enumerate(records(open(path, "rb").read())):
            event = dict(fields(body))
            assert event[1] > 1.6e9, "wall time"
            step = event.get(2, 0)
            if index == 0:
                assert event[3] == b"brain.Event:2" and step == 0, event
            elif 7 in event:  # SessionLog START
                assert dict(fields(event[7])) == {1: 1} and step > last, event
                assert number > 0 and index == 1, "START inside a file"
            else:
                assert step >= last, "step %d after %d" % (step, last)
                last = step
                for field, value in fields(event[5]):
                    value = dict(fields(value))
                    key = (value[1].decode(), step)
                    assert field == 1 and key not in found, "%s at step %d comes twice" % key
                    found[key] = value[2]
    return found, len(files)


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def expected(run):
    for line in open(run + "/metrics.jsonl"):
        line = json.loads(line)
        step = line.pop("step")
        for key, value in line.items():
            if is_number(value) and "validation" not in line:  # it repeats the training line's epoch
                yield ("train/" + key, step), value
            children = value.items() if isinstance(value, dict) else [(None, value)]
            for name, child in children:
                if is_number(child) and name is not None:
                    yield ("%s/%s" % (key, name), step), child
                for entry in child if isinstance(child, list) else []:
                    for field, number in entry.items() if isinstance(entry, dict) else []:
                        if is_number(number):
                            group = key if field in ("value", "accuracy") else key + "_" + field
                            yield ("%s/%s" % (group, entry["name"]), step), number


def main():
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    found, files = read(sys.argv[1])
    wanted = dict(expected(sys.argv[1]))
    assert set(found) == set(wanted), sorted(set(found) ^ set(wanted))[:9]
    for key, value in wanted.items():
        as_float = struct.unpack("<f", struct.pack("<f", value))[0]
        assert found[key] == as_float or math.isnan(as_float), (key, found[key], value)
    print("%d scalars in %d files" % (len(found), files))


main()
