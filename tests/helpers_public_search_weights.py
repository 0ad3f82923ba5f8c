"""Names and shapes of public SeqNet and NAE checkpoints, with made-up weights, and what NAE does.

The forward pass uses nothing of this project: torchvision's own detector parts, on the raw state
dict, in the order in which the public code applies them.
"""

from unittest import mock

import torch
import torch.nn.functional as F
from helpers_public_weights import MadeUpWeights, batch_norm, resnet_state
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.models.resnet import resnet50
from torchvision.ops import MultiScaleRoIAlign, batched_nms, clip_boxes_to_image, remove_small_boxes

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def nae_state(people=5532, queue=5000, seed=0):
    """Weights of NAE; its classifier is made and not used."""
    made = MadeUpWeights(seed)
    resnet = resnet_state("backbone.", seed=seed).state
    for name, value in resnet.items():
        stage = name.removeprefix("backbone.")
        made.state[f"roi_heads.box_head.{stage}" if stage.startswith("layer4.") else name] = value
    made.conv("rpn.head.conv.0.0", 1024, 1024, 3, bias=True)
    made.conv("rpn.head.cls_logits", 15, 1024, bias=True)
    made.conv("rpn.head.bbox_pred", 60, 1024, bias=True)
    head = "roi_heads.embedding_head."
    for name, channels in (("feat_res4", 1024), ("feat_res5", 2048)):
        made.linear(f"{head}projectors.{name}.0", 128, channels)
        made.norm(f"{head}projectors.{name}.1", 128)
    made.norm(f"{head}rescaler", 1)
    made.linear("roi_heads.box_predictor.bbox_pred.0", 8, 2048)
    made.norm("roi_heads.box_predictor.bbox_pred.1", 8)
    made.linear("roi_heads.box_predictor.cls_score", 2, 2048)
    made.state["roi_heads.reid_loss.lut"] = F.normalize(made.draw(people, 256))
    made.state["roi_heads.reid_loss.cq"] = F.normalize(made.draw(queue, 256))
    return made.state


def seqnet_state(people=5532, queue=5000):
    """SeqNet's: NAE's with a first head, which has its own res5 and a classifier."""
    state = nae_state(people, queue)
    state |= {
        name.replace("box_head", "reid_head"): value
        for name, value in state.items()
        if ".box_head." in name
    }
    made = MadeUpWeights(1)
    made.linear("roi_heads.faster_rcnn_predictor.cls_score", 2, 2048)
    made.linear("roi_heads.faster_rcnn_predictor.bbox_pred", 8, 2048)
    return {k: v for k, v in state.items() if ".box_predictor.cls_score." not in k} | made.state


def names_and_shapes(make_state):
    """The same with one value a tensor, which a file holds once: 0.2 instead of 200 MB."""
    with mock.patch.object(
        MadeUpWeights, "draw", lambda _, *shape: torch.empty(shape, device="meta")
    ):
        state = make_state()
    return {
        name: torch.zeros((), dtype=value.dtype).expand(value.shape)
        for name, value in state.items()
    }


def save(tmp_path, state, name="public.pth", **others):
    """Write weights as these projects' trainings do."""
    path = tmp_path / name
    torch.save({"model": state, "optimizer": {}, "lr_scheduler": {}, "epoch": 19, **others}, path)
    return path


class PlainNAE:
    """NAE's network at test, as its released code computes it."""

    def __init__(self, state, min_size, max_size, proposals):
        self.state = state
        self.transform = GeneralizedRCNNTransform(min_size, max_size, MEAN, STD)
        net = resnet50()
        own = {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone")}
        box_head = "roi_heads.box_head."
        own |= {k.removeprefix(box_head): v for k, v in state.items() if k.startswith(box_head)}
        net.load_state_dict(own | {k: v for k, v in net.state_dict().items() if "fc." in k})
        stages = [net.conv1, net.bn1, net.relu, net.maxpool, net.layer1, net.layer2, net.layer3]
        self.trunk = torch.nn.Sequential(*stages).eval()
        self.layer4 = net.layer4.eval()
        head = RPNHead(1024, 15)
        head.load_state_dict({k[9:]: v for k, v in state.items() if k.startswith("rpn.head.")})
        anchors = AnchorGenerator(((32, 64, 128, 256, 512),), ((0.5, 1.0, 2.0),))
        top = {"training": 1, "testing": proposals}
        first = {"training": 1, "testing": 6000}
        self.rpn = RegionProposalNetwork(anchors, head, 0.7, 0.3, 256, 0.5, first, top, 0.7).eval()
        self.pool = MultiScaleRoIAlign(["feat_res4"], 14, 2)
        # For its box coder alone.
        self.coder = RoIHeads(None, None, None, 0.5, 0.1, 1, 0.5, None, 0, 0.4, 300).box_coder
        self.transform.eval()

    def layer(self, name, x):
        """A linear layer with bias and the BatchNorm behind it."""
        x = F.linear(x, self.state[f"{name}.0.weight"], self.state[f"{name}.0.bias"])
        return batch_norm(self.state, f"{name}.1", x)

    def describe(self, features, boxes, size):
        """Unit embeddings, the norms before their BatchNorm, and res5's maxima."""
        pooled = self.pool(features, [boxes], [size])
        vectors = [F.adaptive_max_pool2d(x, 1).flatten(1) for x in (pooled, self.layer4(pooled))]
        names = [f"roi_heads.embedding_head.projectors.feat_res{n}" for n in (4, 5)]
        rows = torch.cat([self.layer(*pair) for pair in zip(names, vectors, strict=True)], 1)
        return F.normalize(rows), rows.norm(dim=1, keepdim=True), vectors[1]

    def maps(self, image):
        """The transformed image, RGB uint8 (H, W, 3), and its feature maps."""
        pixels = torch.from_numpy(image.transpose(2, 0, 1).copy()).float() / 255
        images, _ = self.transform([pixels])
        return images, {"feat_res4": self.trunk(images.tensors)}

    def embed(self, image, boxes):
        """Embeddings of boxes in pixels of the image."""
        images, features = self.maps(image)
        (h, w), (height, width) = images.image_sizes[0], image.shape[:2]
        scale = torch.tensor([w / width, h / height] * 2)
        return self.describe(features, torch.as_tensor(boxes) * scale, (h, w))[0]

    def find(self, image):
        """Boxes in pixels of the image, scores, embeddings."""
        images, features = self.maps(image)
        (size,) = images.image_sizes
        ((proposals,), _) = self.rpn(images, features)
        rows, norms, vectors = self.describe(features, proposals, size)
        scores = batch_norm(self.state, "roi_heads.embedding_head.rescaler", norms)
        scores = scores.flatten().sigmoid()
        deltas = self.layer("roi_heads.box_predictor.bbox_pred", vectors)
        boxes = clip_boxes_to_image(self.coder.decode(deltas, [proposals])[:, 1], size)
        large = remove_small_boxes(boxes, 1e-2)
        kept = large[batched_nms(boxes[large], scores[large], large * 0, 0.4)[:300]]
        height, width = image.shape[:2]
        scale = torch.tensor([width / size[1], height / size[0]] * 2)
        return boxes[kept] * scale, scores[kept], rows[kept]
