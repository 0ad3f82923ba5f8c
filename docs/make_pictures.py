"""Make the README's pictures: ``make readme``."""

from pathlib import Path

import numpy as np
from PIL import Image

from demo import search_drawn_gallery
from person_search.cli import main as person_search
from person_search.synthetic.faces.sheet import face_sheet
from person_search.synthetic.faces.spec import FACE_PRESETS
from person_search.synthetic.faces.world import FaceWorld
from person_search.synthetic.modality_sheet import modality_sheet, modality_world, style_sheet
from person_search.synthetic.presets import ALL_PRESETS
from person_search.synthetic.town.sheet import town_sheet
from person_search.synthetic.town.spec import TOWN_PRESETS
from person_search.synthetic.town.town import Town

DOCS = Path(__file__).resolve().parent
WIDTH = 1200


def main() -> None:
    """Search the drawn gallery, draw the sheets, and write JPEG files of a page's width."""
    output = Path("output/readme")
    search_drawn_gallery.main(["--output", str(output)])
    sheets = ["--set", "drawn-cuhk", "--root", str(output), "--preview", "6"]
    person_search(["draw", *sheets])
    crops = ["--set", "drawn-market", "--root", str(output), "--preview", "3"]
    person_search(["draw", *crops])
    for picture, name in (
        (output / "ranking.png", "ranking.jpg"),
        (output / "drawn-cuhk-frames.png", "frames.jpg"),
        (output / "drawn-cuhk-people.png", "people.jpg"),
        (output / "drawn-market-crops.png", "crops.jpg"),
    ):
        with Image.open(picture) as image:
            save(image.convert("RGB"), name)
    draw_modalities_and_domains()
    draw_faces()
    draw_town()


def draw_modalities_and_domains() -> None:
    """Write ``modalities.jpg`` (near infrared above, heat below) and ``domains.jpg``."""
    near, far = (
        modality_sheet(modality_world(ALL_PRESETS[name]), 4, 7)
        for name in ("drawn-sysu", "drawn-regdb")
    )
    save(Image.fromarray(np.vstack([near, far])[:, :, ::-1]), "modalities.jpg")
    domains = [ALL_PRESETS[f"drawn-{name}"] for name in ("noon", "dusk", "mall", "vhs")]
    save(Image.fromarray(style_sheet(domains)[:, :, ::-1]), "domains.jpg")


def draw_faces() -> None:
    """Write ``faces.jpg``: a row for each of six test people, the first picture without faults."""
    world = FaceWorld(FACE_PRESETS["drawn-faces"])
    save(Image.fromarray(face_sheet(world, 6)[:, :, ::-1]), "faces.jpg")


def draw_town() -> None:
    """Write ``town.jpg``: a busy moment of each of the town's six cameras, with the true boxes."""
    sheet = town_sheet(Town(TOWN_PRESETS["drawn-town"]), 6)
    save(Image.fromarray(sheet[:, :, ::-1]), "town.jpg")


def save(picture: Image.Image, name: str) -> None:
    """Write a JPEG file of at most a page's width."""
    if picture.width > WIDTH:
        height = round(picture.height * WIDTH / picture.width)
        picture = picture.resize((WIDTH, height), Image.Resampling.LANCZOS)
    picture.save(DOCS / name, quality=88, optimize=True)


if __name__ == "__main__":
    main()
