"""The reader of pictures under the name that footage has for it.

It is `reid_heads.pictures`, so that crops and faces to train on are read exactly as the pictures of
a gallery are.
"""

from reid_heads.pictures import (
    MAX_PIXELS,
    ImageError,
    ImageSource,
    check_file,
    decode_image,
    open_image,
    read_bytes,
    read_image,
    read_image_size,
)

__all__ = (
    "MAX_PIXELS",
    "ImageError",
    "ImageSource",
    "check_file",
    "decode_image",
    "open_image",
    "read_bytes",
    "read_image",
    "read_image_size",
)
