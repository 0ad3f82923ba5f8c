"""A small gallery of pictures and a video, to be written in other formats."""

import json

import numpy as np
from helpers_gallery import FINGERPRINT, unit
from helpers_videos import write_video
from PIL import Image

from person_search.footage.files import Frame
from person_search.gallery.index import GalleryIndex
from person_search.people import People

DIM = 16
LOOKS = unit(np.random.default_rng(7).normal(size=(3, DIM)))
START = 1.7e9


def make_gallery(root):
    """Make ``root/g.db``: a video of 4 s before "hall", a picture of "gate", and one of nowhere.

    In the video the first person stays, the second comes for the last second; the picture of
    nowhere shows the third, that of the gate nobody.
    """
    video = write_video(root / "hall.mp4", [np.full((96, 128, 3), 90, np.uint8)] * 40, rate=10)
    (root / "still").mkdir()
    for name in ("gate", "alone"):
        Image.new("RGB", (64, 80)).save(root / "still" / f"{name}.jpg")
    entries = []
    for number in range(0, 40, 5):
        who = [0, 1] if number >= 30 else [0]
        name = f"{video}#frame={number}"
        entries.append(_entry(name, "hall", START + number / 10, who))
    entries.append(_entry(str(root / "still" / "gate.jpg"), "gate", START + 1, []))
    entries.append(_entry(str(root / "still" / "alone.jpg"), None, None, [2]))
    with GalleryIndex.create(root / "g.db", fingerprint=FINGERPRINT, embedding_dim=DIM) as index:
        index.put(entries)
        index.appearances.link()
    return root


def _entry(name, camera, time, who):
    boxes = np.float32([[3.1 + 50 * (w % 2), 10.7, 33.4 + 50 * (w % 2), 70.9] for w in who])
    scores = np.full(len(who), 0.9, np.float32)
    people = People(boxes.reshape(-1, 4), scores, LOOKS[who].reshape(-1, DIM))
    return Frame(name, name[-60:], camera, time), people


def write_coco(path, images, annotations, **more):
    """Write COCO JSON of (file_name, width, height) and (image, [x, y, w, h]); ids from 1."""
    content = {
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}],
        "images": [
            {"id": number, "file_name": name}
            | ({} if width is None else {"width": width, "height": height})
            for number, (name, width, height) in enumerate(images, 1)
        ],
        "annotations": [
            {"id": number, "image_id": image, "category_id": 1, "bbox": box} | extra
            for number, (image, box, extra) in enumerate(annotations, 1)
        ],
        **more,
    }
    path.write_text(json.dumps(content))
    return path
