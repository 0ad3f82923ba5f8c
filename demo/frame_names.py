"""What frames are called outside of the server."""

from pathlib import PurePath

from person_search.footage.frames import split_frame_name


def frame_label(name: str) -> str:
    """Return what a frame is called outside of the server: its file and the folder of that.

    Args:
        name: path of a picture, or ``FILE#frame=N`` of a video.
    """
    file, number = split_frame_name(name)
    label = "/".join(PurePath(file).parts[-2:])
    return label if number is None else f"{label}#frame={number}"
