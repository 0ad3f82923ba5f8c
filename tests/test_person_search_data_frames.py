import pytest
from helpers_layouts import write_image
from PIL import Image

from person_search.data.frames import read_image_sizes


def test_sizes_are_width_and_height_in_order(tmp_path):
    paths = []
    for width in (8, 16, 24):
        paths.append(tmp_path / f"{width}.jpg")
        write_image(paths[-1], (width, 10))
    assert read_image_sizes(paths) == [(8, 10), (16, 10), (24, 10)]
    assert read_image_sizes([]) == []


def test_a_photo_on_its_side_has_the_size_that_detectron2_reads(tmp_path):
    from detectron2.data.detection_utils import read_image

    path = tmp_path / "phone.jpg"
    exif = Image.Exif()
    exif[274] = 6  # orientation: turn by 90 degrees
    Image.new("RGB", (20, 10)).save(path, exif=exif)
    height, width, _ = read_image(str(path), "BGR").shape
    assert read_image_sizes([path]) == [(width, height)] == [(10, 20)]


def test_all_missing_images_are_counted_and_the_first_named(tmp_path):
    write_image(tmp_path / "there.jpg")
    paths = [tmp_path / "there.jpg", *(tmp_path / f"gone{n}.jpg" for n in range(5))]
    with pytest.raises(FileNotFoundError, match=r"5 of 6 image files are missing.*gone0.jpg"):
        read_image_sizes(paths)


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "page.jpg").write_text("<html>not found</html>")
    with pytest.raises(ValueError, match=r"1 of 1 files cannot be read as images.*page.jpg"):
        read_image_sizes([tmp_path / "page.jpg"])
