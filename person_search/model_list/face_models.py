"""The rows of the list that are for faces, which `python -m reid_heads.faces` takes by their files.

As in `person_search.model_list.table`, a row holds what was read on public pages, and no more.
"""

from person_search.model_list.listed_model import ListedModel
from person_search.model_list.sources import Https, HuggingFace

_BY_HASH = "several public projects that fetch this file by its hash; not seen here"
_INSIGHTFACE = "code MIT; weights for non-commercial research only"
# insightface's own README and its maintainer (issue 2486) say so of all models that it gives.
_BUFFALO = "immich-app/buffalo_l"
_BUFFALO_COMMIT = "d09715916a0778919a770c343533641e250b8699"
_BUFFALO_NOTE = (
    "Not fetched from its makers, who give it in an archive with others, buffalo_l.zip of "
    "github.com/deepinsight/insightface/releases/tag/v0.7, as {}: it has the same hash there, as "
    "others say."
)
# The card of the data set's copy at huggingface.co/datasets/CUHK-CSE/wider_face.
_WIDER_TERMS = "WIDER FACE is CC BY-NC-ND 4.0, as its card on Hugging Face says: non-commercial"

FACE_MODELS = (
    ListedModel(
        name="yunet",
        purpose="finds faces and five points of each; YuNet, small",
        kind="face detector",
        file="face_detection_yunet_2023mar.onnx",
        sources=(
            HuggingFace(
                "opencv/face_detection_yunet",
                "face_detection_yunet_2023mar.onnx",
                "3cc26e7f1014a5ee5d74a42acee58bafc9d0a310",
            ),
            # The repository keeps it in Git LFS, whose content raw.githubusercontent.com does not
            # give, but a pointer.
            Https(
                "https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/"
                "face_detection_yunet/face_detection_yunet_2023mar.onnx"
            ),
        ),
        licence="MIT",
        trained_on="WIDER FACE",
        data_terms=_WIDER_TERMS,
        domain="faces",
        size=232_589,
        sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        size_and_hash_from="the pointer of Git LFS in github.com/opencv/opencv_zoo; not seen here",
        published={
            "WIDER FACE val, easy: AP": 88.44,
            "WIDER FACE val, medium: AP": 86.56,
            "WIDER FACE val, hard: AP": 75.03,
        },
        published_in="the table of models/face_detection_yunet/README.md of "
        "github.com/opencv/opencv_zoo, commit 0fbcdaf; its text says 83.4, 82.4 and 70.8",
        note="Its makers name faces of about 10 to 300 pixels. GitHub's copy was out of reach for "
        "a time, with the repository's budget for Git LFS.",
    ),
    ListedModel(
        name="scrfd-10g",
        purpose="finds faces and five points of each; SCRFD of 10 GFLOPs",
        kind="face detector",
        file="det_10g.onnx",
        sources=(HuggingFace(_BUFFALO, "detection/model.onnx", _BUFFALO_COMMIT),),
        licence=_INSIGHTFACE,
        trained_on="WIDER FACE",
        data_terms=_WIDER_TERMS,
        domain="faces",
        size=16_923_827,
        sha256="5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
        size_and_hash_from=_BY_HASH,
        note=_BUFFALO_NOTE.format("det_10g.onnx"),
    ),
    ListedModel(
        name="arcface-r50",
        purpose="tells faces apart, aligned ones; ArcFace, ResNet-50",
        kind="face net",
        file="w600k_r50.onnx",
        sources=(HuggingFace(_BUFFALO, "recognition/model.onnx", _BUFFALO_COMMIT),),
        licence=_INSIGHTFACE,
        trained_on="WebFace600K",
        data_terms="not read for WebFace600K; take it as research only, non-commercial",
        domain="faces",
        size=174_383_860,
        sha256="4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
        size_and_hash_from=_BY_HASH,
        published={
            "LFW: accuracy": 99.83,
            "CFP-FP: accuracy": 99.33,
            "AgeDB-30: accuracy": 98.23,
            "IJB-C(E4)": 97.25,
        },
        published_in="python-package/README.md of github.com/deepinsight/insightface, of the "
        "package buffalo_l",
        note=_BUFFALO_NOTE.format("w600k_r50.onnx"),
    ),
)
