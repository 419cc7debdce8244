"""Two JSON files that say the same but for rounding: numbers within 1e-6 of each other, relative to
the larger or to one.

usage: same_numbers.py A B
"""
import json
import sys


def compare(a, b, path):
    if isinstance(a, float) or isinstance(b, float):
        if not abs(a - b) <= 1e-6 * max(1, abs(a), abs(b)):
            sys.exit("%s: %r, %r" % (path, a, b))
    elif isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        for key in a:
            compare(a[key], b[key], "%s.%s" % (path, key))
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, pair in enumerate(zip(a, b)):
            compare(*pair, "%s[%d]" % (path, i))
    elif a != b:
        sys.exit("%s: %r, %r" % (path, a, b))


compare(json.load(open(sys.argv[1])), json.load(open(sys.argv[2])), "")
