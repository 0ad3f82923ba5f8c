"""Files of ``torch.save``: read without running what may be in them, and checked for damage."""

import os
import zipfile
from typing import Any

import torch

from reid_heads.trust import SWITCH, files_are_trusted

_CHUNK = 1 << 24


class DamagedFileError(ValueError):
    """A file is not what was written: cut off, or changed since."""


def load_torch_file(path: str | os.PathLike[str]) -> Any:
    """Read what ``torch.save`` wrote, on the CPU, and nothing that could run.

    Trusted files (`reid_heads.trust`) may hold any object.

    Args:
        path: of the file.

    Raises:
        DamagedFileError: if a checksum in it does not fit.
        OSError: if it cannot be read.
        pickle.UnpicklingError: if it holds more than tensors and plain containers.
    """
    check_sums(path)
    return torch.load(path, map_location="cpu", weights_only=not files_are_trusted())


def check_sums(path: str | os.PathLike[str]) -> None:
    """Compare a file of ``torch.save`` with the checksums in it, which PyTorch writes only.

    Each part, tensor or pickle, has one of 32 bits (CRC). Files of before PyTorch 1.6, and those
    written without checksums, pass.

    Raises:
        DamagedFileError: names the part that differs, or is packed: ``torch.save`` packs none,
            and a few megabytes could be unpacked into all of the memory.
        OSError: if the file cannot be read.
    """
    if not zipfile.is_zipfile(path):
        return
    part = "its table of contents"
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            packed = [info for info in parts if info.compress_type != zipfile.ZIP_STORED]
            if packed:
                raise DamagedFileError(
                    f"{os.fspath(path)} is packed ({packed[0].filename}: {packed[0].file_size:,} "
                    "bytes), as torch.save never does; save it again with torch.save"
                )
            # torch.serialization.set_crc32_options(False) leaves zeros.
            if not any(info.CRC for info in parts):
                return
            for info in parts:
                part = info.filename
                with archive.open(info) as file:
                    while file.read(_CHUNK):
                        pass
    except (PermissionError, DamagedFileError):
        raise
    # What a damaged archive raises is of any kind.
    except Exception as error:
        raise DamagedFileError(
            f"{os.fspath(path)} is damaged: the checksum of {part} in it does not fit; copy it "
            "again, or take an earlier checkpoint"
        ) from error


def advise_trust(what: str) -> str:
    """Return what to add for a file that is refused, for messages.

    Args:
        what: the file, as "the file".
    """
    return f"if you trust who made {what} as you trust a program of theirs, add {SWITCH}"
