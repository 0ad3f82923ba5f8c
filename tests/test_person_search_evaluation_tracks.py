import numpy as np
import pytest
from helpers_tracking import STREAMS, make_stream, to_tracks

from person_search.evaluation.tracking import evaluate_tracking
from person_search.evaluation.tracks import Tracks, join_streams, read_mot

# Classes by the true id: people, and as MOT17 has them a person on a vehicle, a car, a reflection
# and somebody who stands in no class that is scored.
CLASSES = {0: 1, 1: 1, 2: 1, 3: 7, 4: 1, 5: 3, 6: 12, 7: 1, 8: 2}
# TrackEval 1.3.0's for the files of STREAMS, with its rule of MOT17, together.
TRACKEVAL = {
    "HOTA": 26.08793602361759,
    "DetA": 30.497137722939044,
    "AssA": 22.84784312315564,
    "LocA": 78.6619238037848,
    "IDF1": 29.515418502202646,
    "MOTA": -16.908212560386474,
    "IDSW": 18,
}


def write_lines(path, rows):
    path.write_text("".join(",".join(f"{v:g}" for v in row) + "\n" for row in rows))
    return path


def test_distractors_count_as_trackeval_counts_them(tmp_path):
    true, found = [], []
    for stream in STREAMS:
        annotated, rows = make_stream(*stream)
        classes = np.array([CLASSES[number % 9] for number in annotated[:, 1].tolist()])
        columns = (annotated, classes == 1, classes, np.ones(len(classes)))
        truth = read_mot(write_lines(tmp_path / "gt.txt", np.column_stack(columns)))
        one = read_mot(
            write_lines(
                tmp_path / "found.txt", np.column_stack([rows, classes[:1].repeat(len(rows))])
            )
        )
        true.append(truth.people)
        found.append(truth.without_distractors(one.people))
    scores = evaluate_tracking(true, found)
    assert scores == pytest.approx(TRACKEVAL, rel=1e-13)


def test_a_line_of_mot_text(tmp_path):
    path = tmp_path / "gt.txt"
    path.write_text("7,3,10,20,30.5,40,1,1,0.25\n8,3,10,20,30,40,0,1,1\n8,4,10,20,30,40,0,12,1\n")
    truth = read_mot(path)
    assert truth.annotated.frames.tolist() == [7, 8, 8]
    assert truth.annotated.ids.tolist() == [3, 3, 4]
    assert truth.annotated.boxes[0].tolist() == [10, 20, 40.5, 60]
    assert truth.counts.tolist() == [True, False, False]
    assert truth.is_distractor.tolist() == [False, False, True]
    path.write_text("7,3,10,20,30,40,0.2,-1,-1,-1\n")
    assert len(read_mot(path).people) == 1
    path.write_text("")
    assert len(read_mot(path).people) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3,4,5,6\n", "has 6 numbers a line; expected frame, id, left"),
        ("frame,id\n", "is no line of numbers"),
        ("1,2,0,0,5,6,1\n1,2,9,9,5,6,1\n", "frame 1 has track 2 more than once"),
    ],
)
def test_other_text_is_refused(tmp_path, text, message):
    path = tmp_path / "gt.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_mot(path)


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"shapes \(2,\), \(1,\) and \(2, 4\)"):
        Tracks(np.zeros(2, int), np.zeros(1, int), np.zeros((2, 4)))


def test_joined_streams_share_no_frame():
    stream = to_tracks([(0, 1, 0, 0, 10, 20), (5, 1, 0, 0, 10, 20)])
    joined = join_streams([stream, to_tracks([]), stream])
    assert joined.ids.tolist() == [1, 1, 1, 1]
    assert len(set(joined.frames.tolist())) == 4
    assert len(join_streams([])) == 0
