"""Texts of variable length in an HDF5 file, without reading them.

They are objects of global heaps. Sources: HDF5 File Format Specification Version 3.0, section III.E "Level 1E - Global Heap".
"""

import mmap
import os
import struct
from typing import Any

import h5py

# The signature and the only version. HDF5 ignores the three bytes that follow, and expects the size of the heap behind them.
_HEAP = b"GCOL\x01"
_HEADER = struct.Struct("<8xQ")
# Number (0 is the free space at the end), references to it, reserved bytes, size; the text follows, padded to 8 bytes.
_OBJECT = struct.Struct("<HHIQ")


def longest_text(file: h5py.File) -> int:
    """The size in bytes of the largest object that a text in ``file`` may refer to; at most the size of the file."""
    if os.path.isfile(str(file.filename)):
        with open(file.filename, "rb") as stored, mmap.mmap(stored.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _longest(content)
    return _longest(file.id.get_file_image())  # of a member of an archive, which is in memory already


def _longest(content: Any) -> int:
    longest, start = 0, content.find(_HEAP)
    while start >= 0 and start + _HEADER.size <= len(content):
        end = min(start + _HEADER.unpack_from(content, start)[0], len(content))
        at = start + _HEADER.size
        while at + _OBJECT.size <= end:
            number, _, _, size = _OBJECT.unpack_from(content, at)
            if number == 0:
                break
            longest = max(longest, min(size, len(content)))
            at += _OBJECT.size + size + -size % 8
        # Not from the heap's end: what looks like a heap may be inside weights.
        start = content.find(_HEAP, start + len(_HEAP))
    return longest
