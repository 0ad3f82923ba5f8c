import hashlib
import os
import re
import struct
from datetime import UTC, datetime
from fractions import Fraction

import cv2
import numpy as np
import pytest
from helpers_videos import number_of, numbered, write_coded
from PIL import ExifTags, Image

from person_search.footage import files as footage
from person_search.footage import video
from person_search.footage.files import (
    BrokenFile,
    FootageOptions,
    Frame,
    check_start,
    iterate_files,
    list_footage,
)
from person_search.footage.frames import read_frame, read_frame_size
from person_search.footage.images import ImageError
from person_search.footage.listing import describe_kinds, list_files
from person_search.footage.time_text import read_name_pattern
from person_search.footage.video import read_clock
from person_search.footage.video_clock import VideoClock


def write_video(path, numbers, rate=10.0, codec=None, size=(96, 160)):
    code = {".mp4": "mp4v", ".avi": "MJPG", ".mkv": "mp4v"}[path.suffix]
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*(codec or code)), rate, (size[1], size[0])
    )
    assert writer.isOpened()
    for number in numbers:
        writer.write(numbered(number, size))
    writer.release()
    return path


def save_image(path, color=(10, 20, 30), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 12), color).save(path, **options)
    return path


def collect(paths, options=None, is_known=lambda frame: False):
    return list(iterate_files(list_footage(paths), options or FootageOptions(), is_known))


def reasons(found):
    assert all(isinstance(item, BrokenFile) for item in found), found
    return [item.reason for item in found]


# Which files


def test_folders_are_searched_with_all_below_them_sorted_and_each_file_once(tmp_path):
    for name in ("b/2.jpg", "b/10.JPG", "a/x.png", "b/c/d/1.webp", ".hidden/1.jpg", "a/._x.png"):
        save_image(tmp_path / name, format="png")
    (tmp_path / "b/notes.txt").write_text("no picture")
    found = list_footage([tmp_path / "b", tmp_path, tmp_path / "a/x.png"])
    names = [str(path.relative_to(tmp_path)) for path in found]
    assert names == ["b/10.JPG", "b/2.jpg", "b/c/d/1.webp", "a/x.png"]


def test_relative_paths_become_absolute(tmp_path, monkeypatch):
    save_image(tmp_path / "b/1.jpg")
    monkeypatch.chdir(tmp_path / "b")
    assert list_footage(["../b/1.jpg"]) == list_footage("..") == [tmp_path / "b/1.jpg"]


def test_links_are_followed_and_loops_end(tmp_path):
    save_image(tmp_path / "real/1.jpg")
    (tmp_path / "real/up").symlink_to(tmp_path)
    (tmp_path / "real/self").symlink_to(tmp_path / "real")
    save_image(tmp_path / "elsewhere/2.jpg")
    (tmp_path / "real/other").symlink_to(tmp_path / "elsewhere")
    names = [path.name for path in list_footage([tmp_path / "real"])]
    assert sorted(names) == ["1.jpg", "2.jpg"]


def test_a_file_linked_to_itself_is_a_broken_file(tmp_path):
    (tmp_path / "a.jpg").symlink_to(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "gone")
    loop, dangling = reasons(collect([tmp_path]))
    assert "a.jpg" in loop and "b.jpg" in dangling


def test_paths_that_hold_nothing_are_errors(tmp_path):
    with pytest.raises(ValueError, match="no files or folders given"):
        list_footage([])
    with pytest.raises(FileNotFoundError, match="gone does not exist"):
        list_footage([tmp_path / "gone"])
    with pytest.raises(ValueError, match="neither image nor video, nor any other file"):
        list_footage([tmp_path])
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match=r"neither image nor video but 1 file \(\.txt 1\)"):
        list_footage([tmp_path])
    with pytest.raises(ValueError, match=r"notes\.txt is neither .*'\.txt'"):
        list_footage([tmp_path / "notes.txt"])


def test_what_is_no_footage_is_listed_as_passed_over(tmp_path):
    """Of a .jpg and five .txt beside it nothing said that there was more than one picture."""
    save_image(tmp_path / "a/1.jpg")
    for name in ("a/b.txt", "a/c/d.TXT", "e", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    listed = list_files([tmp_path, tmp_path / "a"])
    assert listed.files == [tmp_path / "a/1.jpg"]
    assert listed.passed_over == [tmp_path / name for name in ("a/b.txt", "a/c/d.TXT", "e")]
    assert describe_kinds(listed.passed_over) == "3 files (.txt 2, without a suffix 1)"


def test_a_heic_picture_is_footage_and_named_where_it_cannot_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr("reid_heads.pictures._readable_formats", lambda: ("JPEG",))
    save_image(tmp_path / "1.jpg")
    (tmp_path / "2.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    first, second = collect([tmp_path])
    assert first.load().shape == (12, 16, 3)
    with pytest.raises(ImageError, match=r"2\.HEIC is a HEIF picture, which needs the package"):
        second.load()


def test_a_folder_that_may_not_be_read_is_left_out_with_a_warning(tmp_path, caplog, monkeypatch):
    save_image(tmp_path / "a/1.jpg")
    save_image(tmp_path / "secret/2.jpg")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert list_footage([tmp_path]) == [tmp_path / "a/1.jpg"]
    assert "secret" in caplog.text


# Images


def test_an_image_comes_with_its_hash_and_pixels(tmp_path):
    path = save_image(tmp_path / "a.png")
    (frame,) = collect([path])
    assert frame == Frame(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), None, None)
    assert (frame.load() == (10, 20, 30)).all() and frame.load().shape == (12, 16, 3)
    assert (Frame(frame.name, frame.content_hash).load() == frame.load()).all()


def test_pixels_and_hash_are_of_the_same_bytes(tmp_path):
    """A file replaced in between would else be stored with the old hash and the new people."""
    path = save_image(tmp_path / "a.png")
    (frame,) = collect([path])
    save_image(path, (99, 99, 99))
    assert (frame.load() == (10, 20, 30)).all()


def test_known_frames_are_neither_yielded_nor_decoded(tmp_path, monkeypatch):
    first, second = save_image(tmp_path / "1.png"), save_image(tmp_path / "2.png", (0, 0, 9))
    hashes = {hashlib.sha256(first.read_bytes()).hexdigest()}
    found = collect([tmp_path], is_known=lambda frame: frame.content_hash in hashes)
    assert [frame.name for frame in found] == [str(second)]
    monkeypatch.setattr(footage, "decode_image", lambda *args: pytest.fail("decoded"))
    assert collect([tmp_path], is_known=lambda frame: True) == []


def test_broken_files_are_listed_and_the_rest_goes_on(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "b.jpg").write_text("no picture")
    good = save_image(tmp_path / "c.jpg")
    (tmp_path / "d.jpg").mkdir()
    save_image(tmp_path / "d.jpg/e.jpg").unlink()
    os.mkfifo(tmp_path / "f.jpg")
    empty, text, image, pipe = collect([tmp_path])
    assert "zero bytes" in empty.reason and "is not a file" in pipe.reason
    with pytest.raises(ImageError, match="not a picture"):
        text.load()
    assert image.name == str(good)


def test_a_file_that_goes_after_listing_is_broken(tmp_path):
    path = save_image(tmp_path / "a.png")
    files = list_footage([path])
    path.unlink()
    (broken,) = iterate_files(files, FootageOptions(), lambda frame: False)
    assert broken.name == str(path) and "No such file" in broken.reason


def test_a_camera_that_no_gallery_keeps_is_listed(tmp_path):
    """One such folder ended the indexing of all others, and a watch."""
    options = FootageOptions(camera_from="folder")
    for name in ("ga\nte", "gate"):
        (tmp_path / name).mkdir()
        save_image(tmp_path / name / "a.png")
    broken, frame = iterate_files(list_footage([tmp_path]), options, lambda frame: False)
    assert "'ga\\nte', has control characters; rename the folder" in broken.reason
    assert frame.camera == "gate"


def test_a_name_that_is_no_utf8_is_listed(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    save_image(tmp_path / "a.png").rename(os.fsdecode(path))
    (broken,) = collect([tmp_path])
    assert broken.name.endswith("caf\\xe9.png") and "UTF-8" in broken.reason


def test_an_error_of_the_store_is_not_taken_for_a_broken_file(tmp_path):
    save_image(tmp_path / "a.png")
    write_video(tmp_path / "b.mp4", range(3))

    def lost(frame):
        raise ConnectionError("the store is gone")

    for name in ("a.png", "b.mp4"):
        with pytest.raises(ConnectionError):
            collect([tmp_path / name], is_known=lost)


def test_the_walk_is_lazy(tmp_path):
    for number in range(3):
        save_image(tmp_path / f"{number}.png")
    asked = []
    frames = iterate_files(
        list_footage([tmp_path]), FootageOptions(), lambda frame: asked.append(frame)
    )
    next(frames)
    assert len(asked) == 1


# Camera and time


def test_the_camera_of_an_option_a_folder_or_a_pattern(tmp_path):
    path = tmp_path / "north/cam07_0001.jpg"
    assert FootageOptions().camera_of(path) is None
    assert FootageOptions(camera="door").camera_of(path) == "door"
    assert FootageOptions(camera_from="folder").camera_of(path) == "north"
    assert FootageOptions(camera_from=r"cam(\d+)").camera_of(path) == "07"
    assert FootageOptions(camera_from=r"/(north|south)/").camera_of(path) == "north"
    assert FootageOptions(camera_from=r"lens(\d+)").camera_of(path) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every is 0 s"),
        ({"every": float("nan")}, "every is nan s"),
        ({"start": float("nan")}, "start is nan"),
        ({"camera_from": "("}, "no regular expression"),
        ({"camera_from": r"cam\d+"}, "with 0 groups"),
        ({"camera_from": r"(a)(b)"}, "with 2 groups"),
        ({"camera": "a", "camera_from": "folder"}, "expected one"),
        ({"time_from": "size"}, "time_from is 'size'"),
        ({"time_from": "exif:%Y"}, "time_from is 'exif:%Y'"),
        ({"time_from": "name:"}, "pattern of times '' has no date"),
        ({"time_from": "name:%H%M"}, "pattern of times '%H%M' has no date"),
        ({"time_from": "name:%Y%m%d%Q"}, "'%Y%m%d%Q' has %Q; expected signs such as %Y"),
        ({"time_from": "name:%Y%m%d%m"}, "'%Y%m%d%m' has one twice"),
        ({"time_from": "name:%Y%m%d", "start": 1.6e9}, "two starts of a video"),
        ({"camera": "a\nb"}, r"camera is 'a\\nb'; expected printable text"),
        ({"time_from": "name", "start": 1.6e9}, "two starts of a video"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        FootageOptions(**options)


def test_times_of_images(tmp_path):
    taken = datetime(2024, 5, 6, 7, 8, 9)
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2024:05:06 07:08:09"
    local = save_image(tmp_path / "1.jpg", exif=exif)
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.OffsetTimeOriginal] = "+02:00"
    save_image(tmp_path / "2.jpg", exif=exif)
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "0000:00:00 00:00:00"
    save_image(tmp_path / "3.jpg", exif=exif)
    save_image(tmp_path / "4.jpg")
    os.utime(local, (1, 1234567890.5))

    def times(time_from):
        return [f.timestamp for f in collect([tmp_path], FootageOptions(time_from=time_from))]

    utc = datetime(2024, 5, 6, 5, 8, 9, tzinfo=UTC).timestamp()
    assert times("exif") == [taken.timestamp(), utc, None, None]
    assert times("modified")[0] == 1234567890.5
    assert times("none") == [None] * 4
    local.rename(tmp_path / "gate_20240506-070809.jpg")
    assert times("name") == [None] * 3 + [taken.timestamp()]


# Videos


@pytest.mark.parametrize("name", ["clip.mp4", "clip.avi", "clip#frame=3.mp4", "a b#%d.avi"])
def test_a_frame_is_read_again_exactly_as_it_was_indexed(tmp_path, name):
    path = write_video(tmp_path / name, range(120), rate=10)
    found = collect([path], FootageOptions(every=0.7))
    assert [number_of(frame.load()) for frame in found] == list(range(0, 120, 7))
    for number, frame in zip(range(0, 120, 7), found, strict=True):
        assert frame.name == f"{path}#frame={number}"
        assert frame.timestamp == pytest.approx(number / 10)
        assert (read_frame(frame.name) == frame.load()).all()
    assert number_of(read_frame(f"{path}#frame=119")) == 119


def test_the_hash_is_of_the_video_and_the_number(tmp_path):
    path = write_video(tmp_path / "clip.mp4", range(12))
    first, second = collect([path])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert first.content_hash == hashlib.sha256(f"{digest}#0".encode()).hexdigest()
    assert second.content_hash == hashlib.sha256(f"{digest}#10".encode()).hexdigest()


def test_known_frames_of_a_video_are_left_out_and_a_known_video_is_not_decoded(
    tmp_path, monkeypatch
):
    path = write_video(tmp_path / "clip.mp4", range(40))
    found = collect([path], is_known=lambda frame: frame.name.endswith(("=0", "=20")))
    assert [frame.name[-3:] for frame in found] == ["=10", "=30"]
    monkeypatch.setattr(footage, "decode_frames", lambda *args: pytest.fail("decoded"))
    assert collect([path], is_known=lambda frame: True) == []


def test_all_sampled_frames_are_asked_for_before_the_first_is_yielded(tmp_path):
    path = write_video(tmp_path / "clip.mp4", range(40))
    asked = []
    frames = iterate_files([path], FootageOptions(), lambda frame: asked.append(frame.name))
    next(frames)
    assert len(asked) == 4


def test_a_start_makes_unix_times_and_the_camera_holds_for_videos_too(tmp_path):
    (tmp_path / "east").mkdir()
    path = write_video(tmp_path / "east/clip.mp4", range(21))
    found = collect([path], FootageOptions(start=1.6e9, camera_from="folder"))
    assert [(f.timestamp, f.camera) for f in found] == [(1.6e9 + n, "east") for n in range(3)]


@pytest.mark.parametrize(
    ("times", "every", "expected"),
    [
        ([0, 0.5, 1, 1.5, 2], 1, [0, 2, 4]),
        ([0, 0.4, 0.8, 1.2, 1.6, 2.0], 1, [0, 3, 5]),  # the first at or after each second
        ([0, 0.1, 5, 5.1, 6], 1, [0, 2, 4]),  # a gap gives one frame
        ([0, 1 / 3, 2 / 3, 1 - 1e-9], 1, [0, 3]),  # rounding of the timestamps
        ([0, 1, 2, 3], 0.01, [0, 1, 2, 3]),
        ([0], 1, [0]),
    ],
)
def test_sampling_goes_by_time_not_by_number(times, every, expected):
    assert VideoClock(tuple(times), False).sample(every) == expected


def test_a_video_starts_at_the_time_in_its_name(tmp_path):
    for name in ("2024-05-06_07-08-09.avi", "clip.avi"):
        write_video(tmp_path / name, range(21))
    found = collect([tmp_path], FootageOptions(time_from="name"))
    start = datetime(2024, 5, 6, 7, 8, 9).timestamp()
    assert [f.timestamp for f in found] == [start, start + 1, start + 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("%Y%m%d_%H%M%S", "cam1_20250602_100000", (2025, 6, 2, 10, 0, 0)),
        ("%d%m%y-%H%M", "x 020625-1005 y", (2025, 6, 2, 10, 5, 0)),
        ("%Y-%j", "2025-153", (2025, 6, 2, 0, 0, 0)),
        ("%d%b%Y", "02jun2025", (2025, 6, 2, 0, 0, 0)),
        ("%I.%M.%S %p %Y%m%d", "10.00.01 PM 20250602", (2025, 6, 2, 22, 0, 1)),
        ("%Y-%m-%d/%H/*/%M.%S", "2025-06-02/14/gate/05.30", (2025, 6, 2, 14, 5, 30)),
        # The first place that is a time; digits beside it are of something else.
        ("%Y%m%d", "20251399 20250602", (2025, 6, 2, 0, 0, 0)),
        ("%Y%m%d", "9920250602", None),
        ("%Y%m%d", "2025060299", None),
        ("%Y%m%d_%H%M%S", "clip", None),
        ("%Y%m%d", "20250602/clip", None),
    ],
)
def test_the_time_in_a_name_by_a_pattern(pattern, name, expected):
    expected = expected and datetime(*expected).timestamp()
    assert read_name_pattern(pattern)(f"/footage/{name}") == expected


def test_times_with_an_offset_and_seconds_since_1970():
    assert read_name_pattern("%Y%m%dT%H%M%S%z")("/a-20250602T120000Z") == 1748865600
    assert read_name_pattern("%Y%m%dT%H%M%S%z")("/a-20250602T140000+0200") == 1748865600
    assert read_name_pattern("cam_%s")("/cam_1748865600.25-x") == 1748865600.25


def test_a_pattern_gives_the_times_of_pictures_and_videos(tmp_path):
    write_video(tmp_path / "cam1-020624-100000.avi", range(11))
    save_image(tmp_path / "cam1-020624-110000.jpg")
    save_image(tmp_path / "other.jpg")
    found = collect([tmp_path], FootageOptions(time_from="name:%d%m%y-%H%M%S"))
    start = datetime(2024, 6, 2, 10).timestamp()
    assert [frame.timestamp for frame in found] == [start, start + 1, start + 3600, None]


def test_one_start_for_several_videos_is_refused(tmp_path):
    """All clips of a day began at the same moment."""
    videos = [tmp_path / "a.mp4", tmp_path / "b.avi"]
    check_start([*videos[:1], tmp_path / "c.jpg"], FootageOptions(start=1.6e9))
    check_start(videos, FootageOptions(time_from="name"))
    with pytest.raises(ValueError, match=r"2 videos, such as a\.mp4 and b\.avi; .* --time-from"):
        check_start(videos, FootageOptions(start=1.6e9))


def test_what_is_said_of_a_file_is_one_line_and_steers_no_terminal():
    """Its name was printed as it is: over two lines, and an escape sequence took effect."""
    assert str(BrokenFile("/a\nb/\x1b[31m\u00e9.jpg", "is\tbroken")) == (
        "/a\\nb/\\x1b[31m\u00e9.jpg: is\\tbroken"
    )


def test_a_camera_with_a_line_break_is_listed_and_the_rest_goes_on(tmp_path):
    """The run ended there."""
    save_image(tmp_path / "a\nb/1.jpg")
    write_video(tmp_path / "a\nb/2.avi", range(2))
    save_image(tmp_path / "c/3.jpg")
    *broken, good = collect([tmp_path], FootageOptions(camera_from="folder"))
    assert all(r"camera, 'a\nb', has control characters" in text for text in reasons(broken))
    assert (len(broken), good.camera) == (2, "c")


@pytest.mark.parametrize(
    ("aspect", "size"), [((24, 11), (96, 349)), ((8, 9), (108, 160)), ((1, 1), (96, 160))]
)
def test_pixels_that_are_not_square_are_stretched(tmp_path, aspect, size):
    """People of a recorder's 352 x 576 were half as wide as in life."""
    path = write_coded(tmp_path / "a.mp4", "libx264", None, aspect=Fraction(*aspect))
    frames = collect([tmp_path], FootageOptions(every=0.5))
    assert [frame.load().shape for frame in frames] == [(*size, 3)] * 3
    again = read_frame(frames[1].name)
    np.testing.assert_array_equal(again, frames[1].load())
    assert read_frame_size(frames[1].name) == size[::-1]
    column = round(10 * size[1] / 160)
    row = round(40 * size[0] / 96)
    assert again[row, column].mean() > 127 and read_clock(path).times[-1] == pytest.approx(1.1)
    square = hashlib.sha256(f"{hashlib.sha256(path.read_bytes()).hexdigest()}#0".encode())
    # So that frames indexed with other pixels are replaced.
    assert (frames[0].content_hash == square.hexdigest()) == (aspect == (1, 1))


@pytest.mark.parametrize(
    ("name", "codec", "kind"),
    [
        ("a.h264", "libx264", "h264"),
        ("a.264", "libx264", "h264"),
        ("a.M2V", "mpeg2video", "mpeg2video"),
        ("a.vob", "mpeg2video", "vob"),
        ("a.asf", "wmv2", "asf"),
        ("a.f4v", "libx264", "f4v"),
        ("a.nut", "libx264", "nut"),
        ("a.y4m", "rawvideo", "yuv4mpegpipe"),
    ],
)
def test_videos_of_recorders_and_discs_are_read(tmp_path, name, codec, kind):
    """Raw H.264 and MPEG-2 have no timestamps: the rate is that of the coded frames, not 25."""
    write_coded(tmp_path / name, codec, kind)
    frames = collect([tmp_path], FootageOptions(every=0.5))
    assert [frame.timestamp for frame in frames] == pytest.approx([0, 0.5, 1.0])
    assert [number_of(frame.load()) for frame in frames] == [0, 5, 10]
    assert number_of(read_frame(frames[1].name)) == 5


def test_frames_of_an_avi_in_the_order_of_decoding(tmp_path):
    """With B frames the timestamps were those of the frames beside, and the first was lost."""
    write_coded(tmp_path / "a.avi", "mpeg4", None, options={"bf": "2"})
    frames = collect([tmp_path], FootageOptions(every=0.3))
    assert [frame.timestamp for frame in frames] == pytest.approx([0, 0.3, 0.6, 0.9])
    assert [number_of(frame.load()) for frame in frames] == [0, 3, 6, 9]
    assert number_of(read_frame(frames[2].name)) == 6


def test_a_variable_frame_rate_is_sampled_by_the_timestamps(tmp_path):
    """Twelve frames in the first 1.2 s, then one each second: mkv's times rewritten in the file."""
    path = write_video(tmp_path / "clip.mkv", range(16), rate=10)
    times = [100 * n for n in range(12)] + [2000, 3000, 4000, 5000]
    rewrite_mkv_times(path, times)
    clock = read_clock(path)
    assert clock.times == pytest.approx([time / 1000 for time in times])
    found = collect([path])
    assert [number_of(frame.load()) for frame in found] == [0, 10, 12, 13, 14, 15]
    assert [frame.timestamp for frame in found] == pytest.approx([0, 1, 2, 3, 4, 5])
    for frame in found:
        assert (read_frame(frame.name) == frame.load()).all()


def rewrite_mkv_times(path, milliseconds):
    """Set the times of the blocks of a short Matroska file of 10 frames/s.

    A block's time is 16 bits, from the start of its cluster; OpenCV's writer begins one at every
    key frame, the twelfth.
    """
    data, place = bytearray(path.read_bytes()), 0
    for number, time in enumerate(milliseconds):
        cluster = 100 * (number - number % 12)
        place = data.index(b"\x81" + struct.pack(">h", 100 * number - cluster), place) + 1
        data[place : place + 2] = struct.pack(">h", time - cluster)
    path.write_bytes(data)


def test_the_rotation_of_a_phone_video_is_applied(tmp_path):
    path = write_video(tmp_path / "clip.mp4", range(12))
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    assert struct.unpack(">9i", data[matrix : matrix + 36])[0] == 1 << 16
    turned = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    data[matrix : matrix + 36] = struct.pack(">9i", *turned)
    path.write_bytes(data)
    found = collect([path])
    assert [frame.load().shape for frame in found] == [(160, 96, 3)] * 2
    assert number_of(np.rot90(found[1].load())) == 10
    assert (read_frame(found[1].name) == found[1].load()).all()


def test_what_is_no_video_is_broken_and_nothing_is_written_to_the_terminal(tmp_path, capfd):
    write_video(tmp_path / "0.mp4", range(0))
    whole = write_video(tmp_path / "whole.mp4", range(50)).read_bytes()
    (tmp_path / "whole.mp4").unlink()
    (tmp_path / "1.mp4").write_bytes(whole[: len(whole) // 2])  # without its index
    (tmp_path / "2.mp4").write_bytes(b"")
    (tmp_path / "3.mp4").write_text("no video" * 1000)
    (tmp_path / "4.mp4").write_bytes(np.random.default_rng(0).bytes(20_000))
    Image.new("RGB", (8, 8)).save(tmp_path / "5.png")
    found = collect([tmp_path])
    assert isinstance(found.pop(), Frame)
    listed = reasons(found)
    assert "not a video" in listed[0] or "no video frames" in listed[0]
    assert "not a video, or is cut off" in listed[1]
    assert "zero bytes" in listed[2]
    assert "not a video" in listed[3] and "not a video" in listed[4]
    assert capfd.readouterr() == ("", "")


def test_of_a_video_cut_off_the_frames_before_are_read_and_the_rest_is_reported(tmp_path, capfd):
    path = write_video(tmp_path / "clip.avi", range(60))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    *found, broken = collect([path])
    numbers = [number_of(frame.load()) for frame in found]
    assert numbers == list(range(0, 30, 10))[: len(numbers)] and len(numbers) >= 2
    assert "cut off" in broken.reason and "frames before were read" in broken.reason
    assert capfd.readouterr() == ("", "")


def test_frames_that_cannot_be_decoded_are_reported(tmp_path):
    path = write_video(tmp_path / "clip.avi", range(40))
    data = bytearray(path.read_bytes())
    # Each frame is a JPEG; those from 1.5 s on lose their heads.
    for place in [found.start() for found in re.finditer(b"\xff\xd8\xff", data)][15:]:
        data[place : place + 400] = bytes(400)
    path.write_bytes(data)
    *found, broken = collect([path])
    assert [number_of(frame.load()) for frame in found] == [0, 10]
    assert "2 of 4 sampled frames cannot be decoded" in broken.reason
    with pytest.raises(ImageError, match="frame 20 cannot be decoded"):
        read_frame(f"{path}#frame=20")


def test_a_frame_beyond_the_end_and_a_missing_video(tmp_path):
    path = write_video(tmp_path / "clip.mp4", range(12))
    with pytest.raises(ImageError, match="has no frame 12; it has 12, counted from 0"):
        read_frame(f"{path}#frame=12")
    with pytest.raises(FileNotFoundError):
        read_frame(f"{tmp_path}/gone.mp4#frame=0")


def test_a_video_that_changes_is_read_anew(tmp_path):
    path = write_video(tmp_path / "clip.mp4", range(12))
    assert number_of(read_frame(f"{path}#frame=5")) == 5
    write_video(path, range(100, 130))
    assert number_of(read_frame(f"{path}#frame=25")) == 125


@pytest.mark.parametrize(("every", "expected"), [(1.0, 4), (0.5, 8), (100.0, 1), (0.001, 40)])
def test_the_estimate_of_the_samples(tmp_path, every, expected):
    path = write_video(tmp_path / "clip.mp4", range(40))
    assert video.estimate_num_samples(path, every) == expected
    assert len(read_clock(path).sample(every)) == expected
    (tmp_path / "no.mp4").write_text("no video")
    assert video.estimate_num_samples(tmp_path / "no.mp4", every) == 1


def test_a_clock_that_was_never_set_gives_no_time(tmp_path):
    """1970 was shown as counted from the start of a video."""
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "1970:01:01 00:00:00"
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg", exif=exif)
    os.utime(tmp_path / "a.jpg", (0, 0))
    for time_from in ("exif", "modified"):
        (frame,) = collect([tmp_path], FootageOptions(time_from=time_from))
        assert frame.timestamp is None
