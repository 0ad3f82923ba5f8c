"""What a file's first bytes tell of it, without PyTorch: most wrong files are wrong from there.

A file of ``torch.save`` is a zip archive, before PyTorch 1.6 pickles one after the other, long ago
a tar archive.
"""

import os
import zipfile

from reid_heads.file_kinds import ZIP, name_kind

_PICKLE = b"\x80"
_TAR, _TAR_AT = b"ustar", 257
_LONGEST = _TAR_AT + len(_TAR)


def check_checkpoint(path: str | os.PathLike[str]) -> None:
    """Refuse what cannot be a checkpoint, whatever follows its first bytes.

    Args:
        path: of a file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is empty or of another kind; says of which, where that is known.
    """
    size = os.path.getsize(path)
    if size == 0:
        raise ValueError(
            f"{os.fspath(path)} is empty, 0 bytes; expected a checkpoint of PyTorch: copy or fetch "
            "it again"
        )
    with open(path, "rb") as file:
        start = file.read(_LONGEST)
    if start.startswith(ZIP):
        _refuse_other_archive(path)
    if start.startswith((ZIP, _PICKLE)) or start[_TAR_AT:] == _TAR:
        return
    kind = name_kind(start)
    # A header's length in eight bytes, and its JSON.
    if start[8:10] == b'{"':
        kind = "a file of safetensors: give it a name that ends in .safetensors"
    begins = f"it begins as {kind}" if kind else f"it begins with {start[:8]!r}"
    raise ValueError(
        f"{os.fspath(path)} is not a checkpoint of PyTorch ({size} bytes): {begins}. Expected a "
        "file that torch.save wrote"
    )


def _refuse_other_archive(path: str | os.PathLike[str]) -> None:
    """Refuse a zip archive with files in it, of which one may be the checkpoint."""
    # One that breaks off is left to PyTorch, which says so.
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, RuntimeError, EOFError):
        return
    if not any(name.rpartition("/")[2] == "data.pkl" for name in names):
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        raise ValueError(
            f"{os.fspath(path)} is a zip archive of {', '.join(names[:5]) or 'nothing'}{more}, not "
            "a checkpoint of PyTorch: unpack it, and name the checkpoint in it"
        )
