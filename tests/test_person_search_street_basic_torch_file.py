"""Files that PyTorch wrote in its first format, and hostile ones."""

import io
import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch

from person_search.street_basic.torch_file import read_tensors

HEAD = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]


def save(content):
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def make_tensors():
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(4, 3, 3, 3, generator=generator)
    return OrderedDict(
        weight=weights,
        part=weights[1:3],
        row=weights[2:3, :1, 1:2],
        number=torch.tensor(7),
        empty=torch.zeros(0, 2),
    )


def pickled(*contents):
    return b"".join(pickle.dumps(x, protocol=2) for x in contents)


class Calls:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def test_tensors_are_those_that_pytorch_saved():
    tensors = make_tensors()
    read = read_tensors(save(tensors), "x.pt")
    assert list(read) == list(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(read[name], tensor.numpy())
        assert read[name].dtype == tensor.numpy().dtype


def test_the_state_of_a_network_can_be_read():
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    read = read_tensors(save(network.state_dict()), "x.pt")
    assert {k: v.shape for k, v in read.items()} == {
        k: tuple(v.shape) for k, v in network.state_dict().items()
    }


@pytest.mark.parametrize("at", range(5))
def test_a_pickle_that_calls_something_is_not_run(tmp_path, at):
    """Whichever of the file's five pickles it hides in."""
    trace = tmp_path / "ran"
    parts = [*HEAD, OrderedDict(), []]
    parts[at] = Calls(os.mkdir, str(trace))
    with pytest.raises(ValueError, match=r"x\.pt: its pickle asks for \w+\.mkdir"):
        read_tensors(pickled(*parts), "x.pt")
    assert not trace.exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Calls(eval, "1"), r"builtin\w*\.eval"),
        (Calls(getattr, OrderedDict, "update"), r"builtin\w*\.getattr"),
        (torch.nn.Parameter, r"torch\.nn\.parameter\.Parameter"),
        (torch.float32, "damaged|asks for"),
    ],
)
def test_other_objects_are_named(value, message):
    with pytest.raises(ValueError, match=message):
        read_tensors(pickled(*HEAD, OrderedDict(weight=value), []), "x.pt")


def test_a_name_with_dots_reaches_nothing_behind_an_allowed_one():
    """STACK_GLOBAL of protocol 4 would look up each part of a dotted name."""
    call = b"\x80\x04\x8c\x0bcollections\x8c\x19OrderedDict.__class__.mro\x93)R."
    with pytest.raises(ValueError, match=r"collections\.OrderedDict\.__class__\.mro"):
        read_tensors(pickled(*HEAD) + call, "x.pt")


def test_a_storage_is_nothing_that_can_be_called():
    call = b"ctorch\nFloatStorage\n(I1000000000\ntR."
    with pytest.raises(ValueError, match="damaged"):
        read_tensors(pickled(*HEAD) + call, "x.pt")


def test_a_file_that_is_cut_off_is_refused_wherever_it_is_cut():
    content = save(make_tensors())
    for end in [*range(0, len(content) - 1, 40), len(content) - 1]:
        with pytest.raises(ValueError, match=r"x\.pt"):
            read_tensors(content[:end], "x.pt")


def test_tensors_beyond_their_storage_or_with_gaps_are_refused():
    turned = torch.arange(6.0).reshape(2, 3).T
    with pytest.raises(ValueError, match=r"weight of shape \(3, 2\) has strides \(1, 3\)"):
        read_tensors(save(OrderedDict(weight=turned)), "x.pt")
    content = save(OrderedDict(weight=torch.arange(6.0).reshape(2, 3)))
    # The shape (2, 3) and its strides (3, 1), as the pickle has them.
    larger = content.replace(b"K\x02K\x03\x86", b"K\x09K\x03\x86")
    assert larger != content
    with pytest.raises(ValueError, match=r"weight of shape \(9, 3\) .* in 6 numbers"):
        read_tensors(larger, "x.pt")


def test_files_of_other_formats_are_refused():
    file = io.BytesIO()
    torch.save(make_tensors(), file)
    with pytest.raises(ValueError, match=r"x\.pt"):
        read_tensors(file.getvalue(), "x.pt")
    with pytest.raises(ValueError, match="first format"):
        read_tensors(pickled(1, 2, 3, 4, 5), "x.pt")
    with pytest.raises(ValueError, match="byte order"):
        read_tensors(pickled(*HEAD[:2], {"little_endian": False}, 4, 5), "x.pt")
    with pytest.raises(ValueError, match="holds a list"):
        read_tensors(save([torch.zeros(1)]), "x.pt")
