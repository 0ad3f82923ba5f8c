"""Embeddings of one set of images: the file, its protocols, the evaluator and the command."""

import json

import numpy as np
import pytest
import torch
from helpers_processes import run_processes

from reid_heads.evaluate import main
from reid_heads.evaluation.embedding_scoring import (
    score_identification,
    score_recall,
    score_verification,
)
from reid_heads.evaluation.embeddings import ImageEmbeddings, load_embeddings, save_embeddings
from reid_heads.evaluation.features import ReIDFeatures, save_features
from reid_heads.evaluation.image_evaluator import ImageEvaluator
from reid_heads.evaluation.rules import ReIDRules
from reid_heads.face_pairs import read_pairs

PAIRS = ["2 2", "a 1 2", "b 1 2", "a 1 b 1", "b 2 c 1", "c 1 2", "a 2 3", "a 3 c 2", "b 1 c 1"]
IMAGES = [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2), ("c", 1), ("c", 2)]


def make_embeddings(seed=0):
    rng = np.random.default_rng(seed)
    pids = np.array([ord(person) - ord("a") for person, _ in IMAGES])
    features = rng.standard_normal((3, 5))[pids] + 0.7 * rng.standard_normal((7, 5))
    names = np.array([f"test/{person}/{person}_{i:04d}.png" for person, i in IMAGES])
    return ImageEmbeddings(names, features.astype(np.float32), pids)


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text("\n".join(PAIRS), encoding="utf-8")
    return path


def test_file_round_trip_and_errors(tmp_path):
    embeddings = make_embeddings()
    path = tmp_path / "new" / "embeddings.npz"
    save_embeddings(path, embeddings)
    read = load_embeddings(path)
    for name in ("image_names", "features", "pids"):
        np.testing.assert_array_equal(getattr(read, name), getattr(embeddings, name))
    with pytest.raises(FileNotFoundError, match="no such embeddings file"):
        load_embeddings(tmp_path / "gone.npz")
    np.savez(tmp_path / "other.npz", features=embeddings.features)
    with pytest.raises(ValueError, match=r"other.npz: no array named image_names, pids"):
        load_embeddings(tmp_path / "other.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(ValueError, match=r"no \.npz archive"):
        load_embeddings(tmp_path / "text.npz")


def test_rows_that_do_not_fit():
    one = make_embeddings()
    names = one.image_names
    for arrays, message in (
        ((names[:-1], one.features, one.pids), "image_names: 6 rows, but features has 7"),
        ((names, one.features, one.pids[:-1]), "pids: 6 rows"),
        ((np.arange(7), one.features, one.pids), "image_names: got int64"),
        (
            (np.append(names[:-1], names[0]), one.features, one.pids),
            "a_0001.png stands there twice",
        ),
        ((names, one.features * np.nan, one.pids), "features: NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            ImageEmbeddings(*arrays)
    twin = names.copy()
    twin[1] = "train/a/a_0001.jpg"
    with pytest.raises(ValueError, match="are both called a/a_0001"):
        ImageEmbeddings(twin, one.features, one.pids).rows_of(["a/a_0001"], "pairs.txt")


def test_verification_and_recall_of_unit_vectors_by_loops(pairs):
    embeddings = make_embeddings()
    unit = embeddings.features / np.linalg.norm(embeddings.features, axis=1, keepdims=True)
    row_of = {f"{p}/{p}_{i:04d}": row for row, (p, i) in enumerate(IMAGES)}
    listed = read_pairs(pairs)
    cosines = [
        unit[row_of[a]] @ unit[row_of[b]] for a, b in zip(listed.first, listed.second, strict=True)
    ]
    roc = score_verification(embeddings, listed).roc
    np.testing.assert_allclose(roc.thresholds[1:], sorted(cosines)[::-1], rtol=1e-6)
    scaled = ImageEmbeddings(embeddings.image_names, 7 * embeddings.features, embeddings.pids)
    assert score_recall(scaled).metrics() == pytest.approx(score_recall(embeddings).metrics())

    similarities = unit @ unit.T - 9 * np.eye(7)
    nearest = embeddings.pids[similarities.argmax(axis=1)]
    recall1 = score_recall(embeddings).metrics()["recall1"]
    assert recall1 == pytest.approx(100 * np.mean(nearest == embeddings.pids))


def feed(evaluator, embeddings, rows):
    inputs = [
        {"image_id": str(embeddings.image_names[i]), "person_id": int(embeddings.pids[i])}
        for i in rows
    ]
    evaluator.process(
        inputs, [{"embedding": torch.from_numpy(embeddings.features[i])} for i in rows]
    )


def test_evaluator_writes_what_the_command_scores(tmp_path, pairs, capsys):
    embeddings = make_embeddings()
    listed = read_pairs(pairs)
    expected = {
        "verification": score_verification(embeddings, listed).metrics(),
        "recall": score_recall(embeddings).metrics(),
    }
    for protocol, options in (("verification", ["--pairs", str(pairs)]), ("recall", [])):
        folder = tmp_path / protocol
        evaluator = ImageEvaluator(protocol, folder, load_pairs=lambda: listed, record={"seed": 3})
        feed(evaluator, embeddings, range(4))
        feed(evaluator, embeddings, range(2, 7))
        assert evaluator.evaluate() == {protocol: expected[protocol]}
        written = json.loads((folder / "results.json").read_text())
        assert written[protocol] == expected[protocol]
        assert (written["record"], written["num_images"]) == ({"seed": 3}, 7)
        out = tmp_path / f"{protocol}.json"
        command = ["--protocol", protocol, "--features", str(folder / "embeddings.npz")]
        assert main([*command, *options, "--json", str(out)]) == 0
        assert json.loads(out.read_text()) == expected[protocol]
        assert f"scored by {protocol}" in capsys.readouterr().out


def _evaluate_share(rank, folder, spans):
    evaluator = ImageEvaluator("recall", folder)
    feed(evaluator, make_embeddings(), range(*spans[rank]))
    return dict(evaluator.evaluate())


def test_two_processes_give_what_one_gives(tmp_path):
    expected = score_recall(make_embeddings()).metrics()
    main_result, other = run_processes(_evaluate_share, 2, tmp_path, [(0, 5), (3, 7)])
    assert (main_result, other) == ({"recall": expected}, {})
    np.testing.assert_array_equal(
        load_embeddings(tmp_path / "embeddings.npz").image_names, make_embeddings().image_names
    )


def test_evaluator_refuses():
    with pytest.raises(ValueError, match="expected one of verification, recall"):
        ImageEvaluator("market1501")
    with pytest.raises(ValueError, match="give load_pairs"):
        ImageEvaluator("verification")
    evaluator = ImageEvaluator("recall")
    with pytest.raises(ValueError, match="got 0 images"):
        evaluator.evaluate()
    with pytest.raises(ValueError, match=r"x.png: the model gave \['boxes'\]"):
        evaluator.process([{"image_id": "x.png", "person_id": 0}], [{"boxes": 1}])


def test_command_with_queries_and_gallery(tmp_path, capsys):
    """Recall of queries in a gallery, and identification with two probes that are not enrolled."""
    rng = np.random.default_rng(2)
    features = ReIDFeatures(
        query_features=rng.standard_normal((6, 4)),
        query_pids=np.array([0, 1, 2, 3, 8, 9]),
        query_camids=np.zeros(6, int),
        gallery_features=rng.standard_normal((8, 4)),
        gallery_pids=np.arange(8) // 2,
        gallery_camids=np.zeros(8, int),
    )
    path = tmp_path / "features.npz"
    save_features(path, features)
    out = tmp_path / "out.json"
    command = ["--features", str(path), "--json", str(out), "--protocol"]
    assert main([*command, "recall", "--ranks", "1", "5"]) == 0
    recall = score_recall(features, ReIDRules(recall_ranks=(1, 5)))
    assert json.loads(out.read_text()) == recall.metrics()
    assert "4 images searched for, 2 without a match" in capsys.readouterr().out
    assert main([*command, "identification"]) == 0
    assert json.loads(out.read_text()) == score_identification(features).metrics()
    assert "4 probes of enrolled persons, 2 of others" in capsys.readouterr().out


def test_command_refuses(tmp_path, pairs, capsys):
    embeddings = make_embeddings()
    save_embeddings(tmp_path / "e.npz", embeddings)
    few = ImageEmbeddings(embeddings.image_names[:6], embeddings.features[:6], embeddings.pids[:6])
    save_embeddings(tmp_path / "few.npz", few)
    for options, message in (
        (["--protocol", "verification"], "needs --pairs"),
        (["--protocol", "recall", "--pairs", "p"], "--pairs belongs to --protocol verification"),
        (["--protocol", "market1501", "--ranks", "1"], "--ranks belongs to --protocol recall"),
        (["--protocol", "recall", "--rerank"], "do not belong to --protocol recall"),
    ):
        with pytest.raises(SystemExit):
            main(["--features", str(tmp_path / "e.npz"), *options])
        assert message in capsys.readouterr().err
    for protocol, file, message in (
        ("verification", "few.npz", "names 1 images without an embedding, c/c_0002 first"),
        ("verification", "gone.npz", "no such embeddings file"),
        ("recall", "gone.npz", "no such embeddings file"),
        ("identification", "e.npz", "no array named query_features"),
    ):
        options = ["--pairs", str(pairs)] if protocol == "verification" else []
        command = ["--protocol", protocol, "--features", str(tmp_path / file), *options]
        assert main(command) == 2
        assert message in capsys.readouterr().err
