"""A gallery of one video and one picture, whose people wear stripes that blurring takes away."""

import hashlib

import numpy as np
from helpers_gallery import FINGERPRINT, unit
from helpers_videos import write_video
from PIL import Image

from person_search.footage.files import Frame
from person_search.gallery.index import GalleryIndex
from person_search.inference.model_card import ModelCard
from person_search.people import People

DIM = 16
LOOKS = unit(np.random.default_rng(7).normal(size=(2, DIM)))
BOXES = np.float32([[16, 12, 56, 108], [92, 12, 132, 108]])
HIS, HERS = BOXES
WHOLE, NOTHING = 150, 30
"""Contrast of stripes that are whole, and of those that are not there any more."""
CARD = ModelCard("toy", "toys", "MIT", "nothing", numbers={"toys: mAP": 50.0})
START = 1.7e9


def draw_two():
    """Draw two people (120, 160, 3) in stripes, of two pixels as videos keep no finer colour."""
    picture = np.full((120, 160, 3), 90, np.uint8)
    for x1, y1, x2, y2 in BOXES.astype(int):
        picture[y1:y2, x1:x2] = 20
        picture[y1:y2, x1:x2].reshape(y2 - y1, -1, 4, 3)[:, :, :2] = 230
    return picture


def contrast(picture, box):
    """How much neighbouring columns within a box differ, 210 where the stripes are whole."""
    x1, y1, x2, y2 = (int(side) for side in box)
    part = np.asarray(picture)[y1 + 8 : y2 - 8, x1 + 8 : x2 - 8].astype(int)
    return float(abs(part[:, 2:] - part[:, :-2]).max(axis=2).mean())


def hash_of(file, number=None):
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return digest if number is None else hashlib.sha256(f"{digest}#{number}".encode()).hexdigest()


def make_case_gallery(root, every=5, camera="hall", picture="still.png"):
    """Write footage and its gallery; both people are in every frame, the second by a low score."""
    video = write_video(root / "hall.mp4", [draw_two()] * 21, rate=10)
    still = root / picture
    Image.fromarray(draw_two()).save(still)
    people = People(BOXES, np.float32([0.9, 0.01]), LOOKS)
    frames = [
        Frame(f"{video}#frame={n}", hash_of(video, n), camera, START + n / 10)
        for n in range(0, 21, every)
    ]
    frames.append(Frame(str(still), hash_of(still)))
    made = {"fingerprint": FINGERPRINT, "embedding_dim": DIM, "card": CARD}
    with GalleryIndex.create(root / "g.db", **made) as index:
        index.put([(frame, people) for frame in frames])
        index.appearances.link()
    return root / "g.db"
