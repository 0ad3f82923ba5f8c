import os
import subprocess
import sys

import numpy as np
from helpers_gallery import DIM, FINGERPRINT, assert_holds, make_entries

from person_search.gallery.checking import check_gallery_file
from person_search.gallery.database import check_file
from person_search.gallery.index import GalleryIndex, list_galleries

MODEL = {"fingerprint": FINGERPRINT, "embedding_dim": DIM}
# What another process does with the file: open, write, close. The last one takes the log away.
PUT = """
import sys
sys.path.insert(0, "tests")
import numpy as np
from helpers_gallery import make_entries
from person_search.gallery.index import GalleryIndex
with GalleryIndex.open(sys.argv[1]) as index:
    index.put(make_entries(np.random.default_rng(1), 3, first=100))
"""


def test_a_file_that_is_open_keeps_its_locks(tmp_path):
    """Looking at its header closed a descriptor, with which a process loses all its locks.

    Another process then took itself for the last one and removed the log; the first one said that
    it had been deleted.
    """
    path = tmp_path / "g.db"
    entries = make_entries(np.random.default_rng(0), 6)
    with GalleryIndex.create(path, **MODEL) as index:
        index.put(entries[:3])
        GalleryIndex.open(path).close()
        assert list_galleries(path) == ["gallery"]
        check_file(path, must_exist=True)
        assert not check_gallery_file(path).problems
        subprocess.run([sys.executable, "-c", PUT, str(path)], check=True)
        assert (tmp_path / "g.db-wal").exists()
        index.put(entries[3:])
        there = [*entries, *make_entries(np.random.default_rng(1), 3, first=100)]
        assert_holds(index, there)
    assert os.listdir(tmp_path) == ["g.db"]
    with GalleryIndex.open(path) as index:
        assert_holds(index, there)


def test_a_folder_may_have_a_name_that_is_no_text(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    entries = make_entries(np.random.default_rng(0), 3)
    with GalleryIndex.create(folder / "g.db", **MODEL) as index:
        index.put(entries)
        assert_holds(index, entries)
    assert not check_gallery_file(folder / "g.db").problems
