"""Write MATLAB files of version 7.3 as MATLAB lays them out; scipy writes none."""

import h5py
import numpy as np
from scipy.io import loadmat


def save_as_hdf5(path):
    """Write a file of version 7 anew as one of version 7.3."""
    content = {k: v for k, v in loadmat(path, appendmat=False).items() if not k.startswith("__")}
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in content.items():
            _write(file, file, name, value)
    data = bytearray(path.read_bytes())
    data[:128] = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    path.write_bytes(data)


def _write(file, parent, name, value):
    if value.dtype.names is not None:
        return _write_struct(file, parent, name, value)
    if value.dtype.kind == "O":
        return _describe(_write_cells(file, parent, name, value), "cell")
    if value.dtype.kind == "U":
        rows = [[ord(sign) for sign in text] for text in value.ravel().tolist()]
        return _write_array(parent, name, np.array(rows, np.uint16).reshape(len(rows), -1), "char")
    if value.dtype.kind == "b":
        return _write_array(parent, name, value.astype(np.uint8), "logical")
    kind = {"float64": "double", "float32": "single"}.get(str(value.dtype), str(value.dtype))
    return _write_array(parent, name, value, kind)


def _write_array(parent, name, value, kind):
    if value.size:
        return _describe(parent.create_dataset(name, data=value.T), kind)
    # Of an empty array its size is written.
    item = parent.create_dataset(name, data=np.array(value.shape, np.uint64))
    item.attrs["MATLAB_empty"] = np.uint8(1)
    return _describe(item, kind)


def _write_struct(file, parent, name, value):
    group = parent.create_group(name)
    group.attrs["MATLAB_class"] = np.bytes_("struct")
    fields = np.empty(len(value.dtype.names), dtype=h5py.vlen_dtype(np.dtype("S1")))
    for row, field in enumerate(value.dtype.names):
        fields[row] = np.array(list(field), "S1")
    group.attrs.create("MATLAB_fields", fields, dtype=h5py.vlen_dtype(np.dtype("S1")))
    for field in value.dtype.names:
        if value.size == 1:
            _write(file, group, field, np.asarray(value[field].ravel()[0]))
        else:
            _write_cells(file, group, field, value[field])
    return group


def _write_cells(file, parent, name, value):
    store = file.require_group("#refs#")
    references = np.empty(value.shape, dtype=h5py.ref_dtype)
    for place, cell in np.ndenumerate(value):
        references[place] = _write(file, store, f"r{len(store)}", np.asarray(cell)).ref
    return parent.create_dataset(name, data=references.T, dtype=h5py.ref_dtype)


def _describe(item, kind):
    item.attrs["MATLAB_class"] = np.bytes_(kind)
    return item
