"""Every kind of drawn set draws the very bytes that it drew when its format got its number."""

import dataclasses
import hashlib

import cv2
import pytest

from person_search.synthetic.faces.spec import FACE_PRESETS
from person_search.synthetic.faces.world import FaceWorld
from person_search.synthetic.market_plan import market_world
from person_search.synthetic.modality_world import RegdbWorld, SysuWorld
from person_search.synthetic.presets import ALL_PRESETS
from person_search.synthetic.town.spec import TOWN_PRESETS
from person_search.synthetic.town.town import Town


def frame_of(world, index):
    frame = world.draw(index)
    return frame.people, frame.image


def frame_of_town(town):
    frame = town.draw(0, 200)
    return frame.people, frame.image


def worn(name):
    """A styled world with everything that a video recorder of old does to a picture."""
    return dataclasses.replace(
        ALL_PRESETS[name], saturation=0.75, chroma_bleed=7, coarseness=2, picture_levels=(48, 206)
    )


DRAWN = {
    "styled": lambda: frame_of(market_world(ALL_PRESETS["tiny-noon"]), 7),
    "worn": lambda: frame_of(market_world(worn("tiny-noon")), 7),
    "near infrared": lambda: frame_of(SysuWorld(ALL_PRESETS["tiny-sysu"]), 13),
    "far infrared": lambda: frame_of(RegdbWorld(ALL_PRESETS["tiny-regdb"]), 12),
    "face": lambda: ((), FaceWorld(FACE_PRESETS["tiny-faces"]).draw(3)),
    "town": lambda: frame_of_town(Town(TOWN_PRESETS["tiny-town"])),
}
"""World, frame, and plain crops are pinned in the tests of the world and of market_writer."""

PINNED = {
    "styled": "9d732c80feb22421f3eb3b1f27371c37a655be1d6aae36221f4ef1a28792d6fc",
    "worn": "e6f27ea5395ab8b883ffad5aa39362c542459dd153c1d8466e32d4604c8706d6",
    "near infrared": "866b6950171911153e49077646d4994eb21085a002503b42f0397c71836c2fe6",
    "far infrared": "a2b08a0cb163bbf55921088dd6a4a91f6cd2dcc61c06b79b7842e7854f5c3e7e",
    "face": "b41b7397f68dc23a074ce95b2da0339d57cf3f076172dc88f34c38fcb7cb4fb4",
    "town": "29ff070327144a4a96722d5833996074439c829bfd2100dd127241ef8dc1d821",
}
"""SHA-256 of people and pixels; a change needs a new ``output_folder.FORMAT_VERSION``."""


@pytest.mark.parametrize("kind", DRAWN)
def test_pictures_keep_their_bytes(kind):
    people, image = DRAWN[kind]()
    digest = hashlib.sha256(repr(people).encode() + image.tobytes()).hexdigest()
    assert digest == PINNED[kind]


def test_a_worn_picture_does_not_depend_on_vector_instructions():
    was_optimised = cv2.useOptimized()
    try:
        cv2.setUseOptimized(False)
        test_pictures_keep_their_bytes("worn")
    finally:
        cv2.setUseOptimized(was_optimised)
