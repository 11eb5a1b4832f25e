import gzip
import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from idx_files import arrays, idx, write_idx, write_set

from el_larq.data.idx import find_files, read_idx, read_splits
from el_larq.errors import ElLarqError, UsageError

OneLine = Callable[[BaseException], str]
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def refuse(path: Path, dimensions: int, one_line: OneLine) -> str:
    with pytest.raises(ElLarqError) as caught:
        read_idx(path, dimensions)
    message = one_line(caught.value)
    assert str(path) in message
    return message


# --- What is right --------------------------------------------------------------------------------------------------------


@SHARED
@given(st_numpy.arrays(np.uint8, st.one_of(st.tuples(st.integers(1, 60)), st.tuples(*[st.integers(1, 9)] * 3))), st.booleans())
def test_every_array_is_read_as_it_was_written(tmp_path: Path, values: np.ndarray, compressed: bool) -> None:
    path = write_idx(tmp_path / ("values.gz" if compressed else "values"), values)
    read = read_idx(path, values.ndim)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, values)


def test_compression_is_seen_from_the_content_and_not_from_the_name(tmp_path: Path) -> None:
    images, _ = arrays()
    (tmp_path / "plain.gz").write_bytes(idx(images))
    (tmp_path / "compressed").write_bytes(gzip.compress(idx(images)))
    for name in ("plain.gz", "compressed"):
        np.testing.assert_array_equal(read_idx(tmp_path / name, 3), images)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("test", ["t10k", "test"])
def test_the_four_files_of_a_folder(tmp_path: Path, suffix: str, test: str) -> None:
    write_set(tmp_path, suffix=suffix, test=test)
    train, held = read_splits(find_files(tmp_path), tmp_path)
    for split, wanted in ((train, arrays(40)), (held, arrays(20, seed=1))):
        for array, expected in zip(split, wanted, strict=True):
            np.testing.assert_array_equal(array, expected)


def test_names_with_a_dot_and_a_file_both_compressed_and_not(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").rename(tmp_path / "train-images.idx3-ubyte.gz")
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", arrays(20)[1])
    found = find_files(tmp_path)
    assert {role: path.name for role, path in found.items()} == {
        "train-images": "train-images.idx3-ubyte.gz",
        "train-labels": "train-labels-idx1-ubyte.gz",
        "t10k-images": "t10k-images-idx3-ubyte.gz",
        "t10k-labels": "t10k-labels-idx1-ubyte",
    }


# --- What is wrong --------------------------------------------------------------------------------------------------------


@SHARED
@given(
    content=st.binary(max_size=200), start=st.sampled_from([b"", b"\0\0\x08\x01", b"\0\0\x08\x03", b"\x1f\x8b", b"\x1f\x8b\x08\0"])
)
def test_any_bytes_are_values_or_one_clear_line(tmp_path: Path, one_line: OneLine, content: bytes, start: bytes) -> None:
    path = tmp_path / "any"
    path.write_bytes(start + content)
    for dimensions in (1, 3):
        try:
            values = read_idx(path, dimensions)
        except ElLarqError as error:
            message = one_line(error)
        else:
            message = f"{path}"
            assert values.size == len(start + content) - 4 - 4 * dimensions
        assert str(path) in message


@SHARED
@given(share=st.floats(0, 0.999), compressed=st.booleans())
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, one_line: OneLine, share: float, compressed: bool) -> None:
    content = idx(arrays()[0])
    content = gzip.compress(content) if compressed else content
    path = tmp_path / "cut"
    path.write_bytes(content[: int(share * len(content))])
    refuse(path, 3, one_line)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("change", "message"), [(-1, "truncated: its header states 40 x 28 x 28 values"), (1, "longer than stated")]
)
def test_a_file_longer_or_shorter_than_its_header_states(
    tmp_path: Path, one_line: OneLine, compressed: bool, change: int, message: str
) -> None:
    content = idx(arrays()[0])
    content = content[:-1] if change < 0 else content + b"\0"
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(content) if compressed else content)
    assert message in refuse(path, 3, one_line)


@pytest.mark.parametrize(
    ("content", "dimensions", "message", "kind"),
    [
        (b"", 3, "not an IDX file; it must begin with the bytes 00 00 08 03", ElLarqError),
        (b"\x89PNG\r\n\x1a\n", 1, "not an IDX file; it must begin with the bytes 00 00 08 01", ElLarqError),
        (struct.pack(">BBBBI", 0, 0, 13, 1, 1) + bytes(4), 1, "contains floats", UsageError),
        (idx(np.zeros(5)), 3, r"has 1 dimensions; images \(N, height, width\) have 3", UsageError),
        (idx(np.zeros((2, 2, 2))), 1, "has 3 dimensions; labels have 1", UsageError),
        (b"\0\0\x08\x03\0\0", 3, "truncated within its header", ElLarqError),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 0, 28, 28), 3, "empty: its header states 0 x 28 x 28", ElLarqError),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, *[2**32 - 1] * 3), 3, "at most 2,147,483,648 are read", ElLarqError),
    ],
)
def test_what_is_not_such_a_file(tmp_path: Path, content: bytes, dimensions: int, message: str, kind: type) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(kind, match=message):
        read_idx(tmp_path / "file", dimensions)


def test_a_header_that_declares_much_needs_no_memory(tmp_path: Path, one_line: OneLine) -> None:
    header = struct.pack(">BBBB3I", 0, 0, 8, 3, 1000, 1000, 1000)
    plain, small = tmp_path / "plain", tmp_path / "small.gz"
    plain.write_bytes(header + bytes(1000))
    small.write_bytes(gzip.compress(header + bytes(1000)))
    tracemalloc.start()
    assert "the file contains 1,000 bytes" in refuse(plain, 3, one_line)
    assert "the compressed file is too small for that" in refuse(small, 3, one_line)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_compressed_file_is_unpacked_no_further_than_its_header_states(tmp_path: Path, one_line: OneLine) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(idx(np.zeros((1, 8, 8))) + bytes(100_000_000), compresslevel=1))
    tracemalloc.start()
    assert "longer than stated: its header states 1 x 8 x 8 values, the file contains more" in refuse(path, 3, one_line)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_a_damaged_byte_in_a_compressed_file(tmp_path: Path, one_line: OneLine) -> None:
    content = bytearray(gzip.compress(idx(arrays()[0])))
    content[-6] ^= 1  # of the checksum
    path = tmp_path / "damaged.gz"
    path.write_bytes(content)
    assert "damaged: CRC check failed" in refuse(path, 3, one_line)


def test_what_is_not_a_file(tmp_path: Path, one_line: OneLine) -> None:
    assert "No such file" in refuse(tmp_path / "missing", 3, one_line)
    assert "Is a directory" in refuse(tmp_path, 3, one_line)
    if os.path.exists("/dev/zero"):
        assert "a device or a pipe" in refuse(Path("/dev/zero"), 3, one_line)


def test_files_that_do_not_fit_together(tmp_path: Path) -> None:
    write_set(tmp_path)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", arrays(39)[1])
    with pytest.raises(ElLarqError, match=r"40 images, but 39 labels in train-labels-idx1-ubyte\.gz; take both files"):
        read_splits(find_files(tmp_path), tmp_path)
    write_set(tmp_path)
    write_idx(tmp_path / "t10k-images-idx3-ubyte.gz", arrays(20, size=32)[0])
    with pytest.raises(ElLarqError, match="different sizes, 28x28 and 32x32"):
        read_splits(find_files(tmp_path), tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte.gz").unlink()
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ElLarqError, match=r"t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte is missing; .* has four files"):
        read_splits(find_files(tmp_path), tmp_path)
