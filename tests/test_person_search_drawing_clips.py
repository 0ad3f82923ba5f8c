import io

import av
import numpy as np
import pytest
from helpers_videos import write_video
from PIL import Image

from person_search.drawing import clips
from person_search.drawing.clips import cut_clip
from person_search.drawing.people import SELECTED_COLOR
from person_search.footage.images import ImageError
from person_search.people import Match


def _match(image, box=(20, 10, 60, 70)):
    return Match(str(image), box, score=0.9, similarity=0.0)


def _frames(clip):
    with av.open(io.BytesIO(clip.content)) as container:
        assert container.streams.video[0].codec.name in ("vp9", "libvpx-vp9")
        return [(f.time, f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]


def _has_box(picture, box):
    """Whether the line left of a box has about the colour of a chosen person."""
    x1, y1, _, y2 = (int(v) for v in box)
    line = picture[y1 + 8 : y2 - 8, max(0, x1 - 3) : x1 + 2].reshape(-1, 3).astype(int)
    return (abs(line - SELECTED_COLOR).sum(axis=1) < 90).mean() > 0.15


def test_a_clip_shows_the_stay_with_a_second_around_it_and_the_box_between_sights(tmp_path):
    video = write_video(tmp_path / "a.mp4", [np.full((96, 128, 3), 90, np.uint8)] * 60, rate=10)
    sights = [_match(f"{video}#frame={n}", (b, 10, b + 40, 80)) for n, b in ((20, 20), (40, 60))]
    clip = cut_clip(sights)
    frames = _frames(clip)
    assert (clip.frames, clip.is_whole) == (41, True)  # frames 10 to 50
    assert [round(time, 2) for time, _ in frames] == [round(0.1 * n, 2) for n in range(41)]
    assert clip.seconds == pytest.approx(4.0)
    for place, x in ((10, 20), (20, 40), (30, 60)):
        assert _has_box(frames[place][1], (x, 10, x + 40, 80)), place
    assert not _has_box(frames[20][1], (20, 10, 60, 80))
    assert not _has_box(frames[5][1], (20, 10, 60, 80)), "before the first sight nobody is known"


def test_a_hidden_clip_begins_and_ends_with_the_person_and_is_the_same_twice(tmp_path):
    video = write_video(tmp_path / "a.mp4", [np.full((96, 128, 3), 90, np.uint8)] * 40, rate=10)
    sights = [_match(f"{video}#frame={n}", (b, 10, b + 40, 80)) for n, b in ((10, 20), (20, 60))]
    asked = []

    def hide(name, pixels, box):
        asked.append((name, box))
        return np.full_like(pixels, 200), None if name.endswith("=12") else box

    clip = cut_clip(sights, hide=hide)
    assert [name for name, _ in asked] == [f"{video}#frame={n}" for n in range(10, 21)]
    assert asked[5][1] == pytest.approx((40, 10, 80, 80))
    frames = _frames(clip)
    assert frames[0][0] == 0 and frames[3][1][5, 5].mean() > 190
    assert _has_box(frames[5][1], (40, 10, 80, 80))
    assert not _has_box(frames[2][1], (28, 10, 68, 80)), "this box was hidden, too"
    assert cut_clip(sights, hide=hide).content == clip.content


def test_a_fast_video_is_thinned_out_but_every_sight_is_shown(tmp_path):
    video = write_video(tmp_path / "a.mp4", [np.full((48, 64, 3), 90, np.uint8)] * 100, rate=50)
    clip = cut_clip([_match(f"{video}#frame={n}", (5, 5, 20, 40)) for n in (49, 50, 51)])
    times = np.array([time for time, _ in _frames(clip)])
    assert {0.98, 1.0, 1.02} <= set(times.round(2).tolist())
    assert clip.frames < 30


def test_pictures_follow_each_other_and_small_ones_get_a_border(tmp_path):
    for name, size in (("a", (80, 60)), ("b", (40, 60))):
        Image.new("RGB", size, (90, 90, 90)).save(tmp_path / f"{name}.png")
    clip = cut_clip([_match(tmp_path / f"{n}.png", (5, 5, 30, 50)) for n in "ab"])
    frames = _frames(clip)
    assert [time for time, _ in frames] == [0.0, 0.5]
    assert {picture.shape for _, picture in frames} == {(60, 80, 3)}
    assert frames[1][1][:, 4:12].mean() < 40 < frames[1][1][30, 40].mean()


def test_a_stay_over_two_files_is_one_clip(tmp_path):
    videos = [
        write_video(tmp_path / f"{n}.mp4", [np.full((48, 64, 3), v, np.uint8)] * 5, rate=10)
        for n, v in (("a", 60), ("b", 180))
    ]
    frames = _frames(cut_clip([_match(f"{v}#frame=2", (5, 5, 20, 40)) for v in videos]))
    times, levels = zip(*[(time, picture[2, 60].mean()) for time, picture in frames], strict=True)
    assert len(frames) == 10 and list(times) == sorted(set(times))
    assert max(levels[:5]) < 90 and min(levels[5:]) > 150


def test_large_pictures_are_reduced_and_long_stays_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(clips, "MOST_SECONDS", 1.0)
    monkeypatch.setattr(clips, "MAX_SIDE", 40)
    video = write_video(tmp_path / "a.mp4", [np.full((48, 65, 3), 90, np.uint8)] * 40, rate=10)
    clip = cut_clip([_match(f"{video}#frame={n}", (5, 5, 20, 40)) for n in (0, 39)])
    assert not clip.is_whole and clip.seconds == pytest.approx(1.0)
    assert _frames(clip)[0][1].shape == (30, 40, 3)


@pytest.mark.parametrize(
    ("image", "error", "words"),
    [
        ("gone.mp4#frame=3", FileNotFoundError, "gone.mp4"),
        ("gone.jpg", FileNotFoundError, "gone.jpg"),
        ("short.mp4#frame=30", ImageError, "has 3 frames, fewer than when it was indexed"),
        ("broken.mp4#frame=0", ImageError, "broken.mp4"),
    ],
)
def test_footage_that_is_gone_or_changed_is_named(tmp_path, image, error, words):
    write_video(tmp_path / "short.mp4", [np.zeros((48, 64, 3), np.uint8)] * 3, rate=10)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(error, match=words):
        cut_clip([_match(tmp_path / image)])


def test_no_sights():
    with pytest.raises(ValueError, match="no sights"):
        cut_clip([])
