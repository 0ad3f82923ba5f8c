import collections
import io
import os
import pickle

import numpy as np
import pytest

from reid_heads.plain_pickle import ForeignNameError, read_plain_pickle

ARRAYS = {
    "weights": np.arange(6, dtype=np.float32).reshape(2, 3),
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "none": np.zeros((0, 4), np.float16),
    "one": np.array(7, np.int64),
    "big_endian": np.array([1, 2], ">i4"),
    "names": np.array(["a", "bc"]),
    "yes": np.array([True, False]),
}


def read(content):
    return read_plain_pickle(io.BytesIO(content))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_come_back_as_pickle_reads_them(protocol):
    given = {
        "model": collections.OrderedDict(ARRAYS),
        "blobs": [(np.float32(1.5), b"\x00\xff"), None, 3, "text"],
    }
    found = read(pickle.dumps(given, protocol))
    assert list(found) == ["model", "blobs"] and found["blobs"] == given["blobs"]
    assert list(found["model"]) == list(ARRAYS)
    for name, array in ARRAYS.items():
        read_array = found["model"][name]
        assert read_array.dtype == array.dtype and np.array_equal(read_array, array), name
        assert read_array.flags.writeable


def test_arrays_that_python_2_wrote_come_back():
    """Caffe2's files are of Python 2, whose texts of bytes come as text."""
    values = np.array([1.0, -2.0], "<f4")
    head = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    dtype = b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
    raw = repr(values.tobytes())[1:].encode()
    content = head + b"(I1\n(I2\nt" + dtype + b"I00\nS" + raw + b"\ntb."
    assert read(content).tolist() == pickle.loads(content, encoding="latin1").tolist() == [1, -2]


class Runs:
    def __init__(self, function, *arguments):
        self.called = function, arguments

    def __reduce__(self):
        return self.called


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.mkdir, r"posix\.mkdir|os\.mkdir"),
        (eval, r"builtins\.eval"),
        (np.load, r"numpy\.load"),
        (getattr, r"builtins\.getattr"),
    ],
)
def test_nothing_else_is_called(tmp_path, function, name):
    marker = tmp_path / "was_run"
    arguments = (
        (f"__import__('os').mkdir({str(marker)!r})",) if function is eval else (str(marker),)
    )
    with pytest.raises(ForeignNameError, match=name):
        read(pickle.dumps({"model": Runs(function, *arguments)}))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(np.array([print, "x"], object)), "array of object"),
        (pickle.dumps(np.zeros(2, [("a", "i4")])), "array of .*void|array of"),
        (pickle.dumps(ARRAYS)[:-20], "truncated|EOF"),
        (b"no pickle", "load key|EOF|pop"),
        (b"", "EOF|Ran out"),
    ],
)
def test_other_contents_are_refused(content, message):
    with pytest.raises(pickle.UnpicklingError, match=message):
        read(content)


def test_an_array_larger_than_its_bytes_is_refused():
    """NumPy's own reading believes what a file says of an array's memory."""
    content = pickle.dumps(np.zeros(3, np.float64), 2).replace(b"K\x03\x85", b"K\x09\x85")
    with pytest.raises(pickle.UnpicklingError, match=r"24 bytes for an array of \(9,\)"):
        read(content)
