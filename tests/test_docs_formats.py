import json

import pytest
from helpers_docs import PAGES, blocks, shell_in, shell_lines

from person_search.gallery.index import GalleryIndex

GUIDE = PAGES["docs/formats.md"]


@pytest.mark.slow
def test_every_command_of_the_guide_runs(tmp_path):
    """In the order of the guide, in one folder."""
    run = shell_in(tmp_path)
    printed = "".join(run(line) for line in shell_lines(GUIDE))
    # How many people a model finds differs a little from one machine to the next.
    for line in "".join(blocks(GUIDE, "text")).splitlines():
        assert line.split()[0] in printed
    chosen = json.loads((tmp_path / "found-coco.json").read_text())["annotations"]
    stays = {
        m["appearance"]["id"] for m in json.loads((tmp_path / "found.json").read_text())["matches"]
    }
    assert {one["person_id"] for one in chosen} == stays
    for number, example in enumerate(blocks(GUIDE, "python")):
        (tmp_path / f"example{number}.py").write_text(example)
        run(f"python example{number}.py")
    images = json.loads((tmp_path / "market.json").read_text())["images"]
    assert {image["camera"] for image in images} == {"market"}
    with GalleryIndex.open(tmp_path / "true.db") as index:
        assert index.info().people > 50
        assert all(index.people_of(f.name).scores.min(initial=1) == 1 for f in index.frames())
