"""Videos as recorders, phones and programs write them: which frames, when, and how they are shown.

Each test makes its file; frames show their number.
"""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition
from helpers_videos import number_of, numbered, write_coded

from person_search.footage import video_decoding
from person_search.footage.files import BrokenFile, FootageOptions, iterate_files
from person_search.footage.images import ImageError
from person_search.footage.video import (
    decode_frames,
    read_clock,
    read_video_frame,
    read_video_size,
)
from person_search.footage.video_clock import Packets, VideoClock
from person_search.footage.video_file import OpenVideo
from person_search.footage.video_picture import turn

H264 = {"g": "5", "bf": "2", "preset": "ultrafast"}


def shown(path, numbers=None):
    """The numbers that frames show, by the number under which they are read."""
    numbers = range(len(read_clock(path).times)) if numbers is None else numbers
    return {number: number_of(pixels) for number, pixels in decode_frames(path, numbers)}


def assert_whole(path, first=0, last=20, step=0.1):
    """Every frame is there once, at its time, and the same however it is come by."""
    count = last - first
    assert read_clock(path).times == pytest.approx([n * step for n in range(count)])
    pixels = dict(decode_frames(path, range(count)))
    assert [number_of(p) for p in pixels.values()] == list(range(first, last))
    sparse = dict(decode_frames(path, range(1, count, 7)))
    assert list(sparse) == list(range(1, count, 7))
    for number, picture in sparse.items():
        np.testing.assert_array_equal(picture, pixels[number])
    np.testing.assert_array_equal(read_video_frame(path, count - 1), pixels[count - 1])


def collect(path, every=0.5):
    return list(iterate_files([path], FootageOptions(every=every), lambda frame: False))


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", H264),
        ("a.ts", "libx264", {"x264-params": "open-gop=1:bframes=3:keyint=5:scenecut=0"}),
        ("a.mkv", "libx264", {"x264-params": "intra-refresh=1:keyint=5:bframes=0"}),
        ("a.avi", "libx264", H264),
        ("a.mpg", "mpeg2video", {"g": "5", "bf": "2"}),
        ("a.vob", "mpeg2video", {"g": "5", "bf": "2"}),
        ("a.webm", "libvpx", {"g": "5", "auto-alt-ref": "1", "lag-in-frames": "4"}),
        ("a.mov", "mjpeg", {}),
    ],
)
def test_every_frame_is_read_once_and_the_same_from_anywhere(tmp_path, name, codec, options):
    """MPEG program streams lost one frame in twenty, interlaced ones half of all."""
    is_mpeg = codec == "mpeg2video"
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    kind = {"a.mpg": "mpeg", "a.vob": "vob", "a.ts": "mpegts"}.get(name)
    path = write_coded(
        tmp_path / name, codec, kind, number=20, options=options, pixels=pixels,
        rate=25 if is_mpeg else 10,
    )  # fmt: skip
    assert_whole(path, step=0.04 if is_mpeg else 0.1)


def test_of_a_late_frame_few_packets_are_decoded(tmp_path, monkeypatch):
    """Decoding an hour of video for one picture would take minutes."""
    path = write_coded(tmp_path / "a.mp4", "libx264", number=300, options={**H264, "g": "20"})
    decoded, decode = [], OpenVideo.decode
    monkeypatch.setattr(
        OpenVideo, "decode", lambda self, packet: decoded.append(packet) or decode(self, packet)
    )
    clock = read_clock(path)
    for number in (299, 30, 141, 140, 139):
        decoded.clear()
        assert number_of(read_video_frame(path, number)) == number
        assert len(decoded) <= 23
    # Of frames that are far from each other, each with those from the key frame before it.
    decoded.clear()
    assert list(shown(path, [0, 105, 205])) == [0, 105, 205]
    assert len(decoded) < 40
    assert [(run.first % 20, run.numbers) for run in clock.runs([0, 1, 105, 205])] == [
        (0, [0, 1]), (0, [105]), (0, [205]),
    ]  # fmt: skip


def test_where_no_index_leads_to_the_frame_the_file_is_read_over(tmp_path, monkeypatch):
    path = write_coded(tmp_path / "a.mp4", "libx264", number=60, options=H264)
    monkeypatch.setattr(video_decoding, "_FAR", 5)
    for astray in (lambda self, packet: None, lambda self, packet: len(self) - 1):
        monkeypatch.setattr(Packets, "place_of", astray)
        assert shown(path, [7, 29, 58]) == {7: 7, 29: 29, 58: 58}


def test_recordings_that_were_joined_follow_each_other(tmp_path):
    """Their timestamps begin anew, or a day later: half of the frames hid the other half."""
    parts = [
        write_coded(
            tmp_path / f"{n}.ts", "libx264", "mpegts",
            first=10 * n, number=10, options=H264, start=start,
        )
        for n, start in enumerate((0, 0, 800_000))
    ]  # fmt: skip
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert_whole(path, last=30)
    assert [type(found) for found in collect(path)].count(BrokenFile) == 0
    assert read_clock(path).mark == "#joined"


def test_of_a_film_that_was_cut_without_coding_it_anew_the_hidden_frames_are_not_shown(tmp_path):
    """They were sampled, and then listed as broken."""
    whole = write_coded(tmp_path / "whole.mp4", "libx264", number=20, options={**H264, "g": "20"})
    path = tmp_path / "cut.mp4"
    options = {"avoid_negative_ts": "disabled"}
    with av.open(str(whole)) as source, av.open(str(path), "w", options=options) as target:
        film = source.streams.video[0]
        copy = target.add_stream_from_template(film)
        for packet in source.demux(film):
            if packet.dts is not None:
                packet.pts -= round(0.7 / film.time_base)
                packet.dts -= round(0.7 / film.time_base)
                packet.stream = copy
                target.mux(packet)
    assert_whole(path, first=7)
    assert not any(isinstance(found, BrokenFile) for found in collect(path))


@pytest.mark.parametrize("kind", ["mkv", "mp4", "ts"])
def test_a_film_that_does_not_begin_at_0_is_not_cut_off(tmp_path, kind):
    """Matroska's length is the time of its end: 10 s were said to be missing."""
    name = {"ts": "mpegts"}.get(kind)
    path = write_coded(tmp_path / f"a.{kind}", "libx264", name, number=20, options=H264, start=100)
    assert_whole(path)
    assert read_clock(path).missing == 0


@pytest.mark.parametrize("disposition", [0, Disposition.attached_pic])
@pytest.mark.parametrize("kind", ["mkv", "mp4"])
def test_the_film_is_shown_not_the_still_before_it(tmp_path, kind, disposition):
    path = tmp_path / f"a.{kind}"
    with av.open(str(path), "w") as container:
        still = container.add_stream("mjpeg", rate=1)
        still.height, still.width, still.pix_fmt = 480, 640, "yuvj420p"
        still.disposition = disposition
        film = container.add_stream("libx264", rate=10, options=H264)
        film.height, film.width, film.pix_fmt = 96, 160, "yuv420p"
        grey = av.VideoFrame.from_ndarray(np.full((480, 640, 3), 99, np.uint8), format="rgb24")
        container.mux([*still.encode(grey), *still.encode()])
        for n in range(20):
            frame = av.VideoFrame.from_ndarray(numbered(n), format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 10)
            container.mux(film.encode(frame))
        container.mux(film.encode())
    assert_whole(path)
    assert read_video_size(path) == (160, 96)


@pytest.mark.parametrize("matrix", [(a, b, c, d) for a in (-1, 0, 1) for b in (-1, 0, 1)
                                    for c in (-1, 0, 1) for d in (-1, 0, 1)
                                    if abs(a * d - b * c) == 1 and abs(a) + abs(b) == 1
                                    and abs(c) + abs(d) == 1])  # fmt: skip
def test_a_frame_is_turned_and_mirrored_pixel_by_pixel(matrix):
    a, b, c, d = matrix
    picture = np.arange(6).reshape(2, 3)
    places = {(a * x + c * y, b * x + d * y): picture[y, x] for y in range(2) for x in range(3)}
    left, top = (min(place[side] for place in places) for side in (0, 1))
    turned = turn(picture, matrix)
    assert {(x + left, y + top): turned[y, x] for y, x in np.ndindex(turned.shape)} == places


def test_a_mirrored_film_is_shown_as_players_show_it(tmp_path):
    """It was turned upside down."""
    path = write_coded(tmp_path / "a.mp4", "libx264", options=H264)
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 44
    data[place : place + 4] = struct.pack(">i", -(1 << 16))
    path.write_bytes(data)
    pixels = dict(decode_frames(path, range(12)))
    assert [number_of(p[:, ::-1]) for p in pixels.values()] == list(range(12))


@pytest.mark.parametrize(("color_range", "white"), [(1, 255), (2, 235)])
def test_the_range_of_brightness_is_that_of_the_file(tmp_path, color_range, white):
    """1: 16 to 235, as for television; 2: 0 to 255."""
    path = tmp_path / "a.mkv"
    planes = np.concatenate([np.full(32 * 48, 235), np.full(16 * 48, 128)]).astype(np.uint8)
    with av.open(str(path), "w") as container:
        film = container.add_stream("ffv1", rate=10)
        film.height, film.width, film.pix_fmt = 32, 48, "yuv420p"
        film.codec_context.color_range = color_range
        frame = av.VideoFrame.from_ndarray(planes.reshape(48, 48), format="yuv420p")
        container.mux([*film.encode(frame), *film.encode()])
    assert abs(int(read_video_frame(path, 0)[5, 5, 0]) - white) <= 1


def test_of_a_damaged_place_the_others_are_read(tmp_path):
    path = write_coded(tmp_path / "a.ts", "libx264", "mpegts", number=40, options=H264)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 600] = bytes(600)
    path.write_bytes(data)
    numbers = shown(path)
    start, end = [n for n in numbers if numbers[n] == n], list(numbers.values())[-5:]
    assert start[:10] == list(range(10)) and end == list(range(35, 40))
    assert all(
        abs(number_of(read_video_frame(path, n)) - numbers[n]) == 0 for n in (3, max(numbers))
    )


def test_a_file_without_timestamps_and_rate_is_broken(tmp_path, monkeypatch):
    path = write_coded(tmp_path / "a.h264", "libx264", "h264", options=H264)
    monkeypatch.setattr(OpenVideo, "rate", None)
    with pytest.raises(ImageError, match="neither timestamps nor a frame rate"):
        read_clock(path)


def test_frames_shown_before_their_key_frame_need_the_one_before():
    """Numbers in the order of decoding; keys at 0 and 3; the frame 2 comes after the key of 4."""
    packets = Packets([0, 10, 30, 40, 20, 50], [None] * 6, [0, 3])
    packets.number([0, 1, 4, 2, 3, 5], [0, 1, 2, 3, 4, 5])
    clock = VideoClock((0.0, 1.0, 2.0, 3.0, 4.0, 5.0), False, packets=packets)
    assert [(r.first, r.last, r.numbers) for r in clock.runs([2])] == [(0, 5, [2])]
    assert [(r.first, r.last, r.numbers) for r in clock.runs([4, 5])] == [(3, 6, [4, 5])]
    assert [(r.first, r.last, r.numbers) for r in clock.runs([1, 5])] == [
        (0, 2, [1]), (3, 6, [5]),
    ]  # fmt: skip
    assert clock.begin_earlier(clock.runs([5])[0], 1).first == 0
