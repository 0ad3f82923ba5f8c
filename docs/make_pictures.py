"""Make the README's pictures: ``make readme``."""

from pathlib import Path

from PIL import Image

from demo import search_drawn_gallery
from person_search.cli import main as person_search

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
            small = image.convert("RGB")
        if small.width > WIDTH:
            height = round(small.height * WIDTH / small.width)
            small = small.resize((WIDTH, height), Image.Resampling.LANCZOS)
        small.save(DOCS / name, quality=88, optimize=True)


if __name__ == "__main__":
    main()
