"""A person search model as a function of tensors, in the form that can be traced.

Letters: h, w height and width in resized pixels, N people found, M given boxes, D embedding size.
"""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from detectron2.structures import Boxes, ImageList
from torch import Tensor, nn

from person_search.resizing import ResizeRule, resize
from reid_heads.detectron2_parts import traced_len

Found = tuple[Tensor, Tensor, Tensor]

# No side is a multiple of the padding, so that nothing but the real size can be recorded as one.
_EXAMPLE_SIZE = (150, 203)


class SearchGraph(nn.Module):
    """``PersonSearchRCNN`` on one image, without dictionaries and ``Instances`` at its border.

    Boxes are in resized pixels. Detections are those above the model's own score threshold, best
    first, not clipped; none is a valid result, and so are no given boxes.
    """

    def __init__(self, model: nn.Module):
        """Wrap a model and put it into evaluation mode, without gradients.

        Args:
            model: a ``PersonSearchRCNN`` in float32 on the CPU.

        Raises:
            ValueError: if it is on another device or in another precision, which a trace records.
        """
        super().__init__()
        for name, parameter in model.named_parameters():
            if parameter.device.type != "cpu" or parameter.dtype != torch.float32:
                raise ValueError(
                    f"{name} is {parameter.dtype} on {parameter.device}; export a model in float32 "
                    "on the CPU (device='cpu', half=False)"
                )
        self.model = model
        # Of the wrapper too: torch.onnx restores the mode of the outermost module on all below it.
        self.eval()
        self.requires_grad_(False)

    def forward(self, image: Tensor, given_boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Find people and embed given boxes from one pass of the backbone.

        Args:
            image: (3, h, w), resized and typed as the config's ``INPUT.RESIZE`` says, channels in
                the order of its ``INPUT.FORMAT``.
            given_boxes: (M, 4), with an area inside the image.

        Returns:
            Boxes (N, 4), scores (N,), embeddings (N, D) and the given boxes' embeddings (M, D).
        """
        images, features = self._features(image)
        return *self._detect(images, features), self._embed(features, given_boxes)

    def find(self, image: Tensor) -> Found:
        """Return boxes (N, 4), scores (N,) and embeddings (N, D) of an image (3, h, w)."""
        return self._detect(*self._features(image))

    def embed(self, image: Tensor, given_boxes: Tensor) -> Tensor:
        """Return the embeddings (M, D) of given boxes (M, 4) in an image (3, h, w)."""
        return self._embed(self._features(image)[1], given_boxes)

    def _features(self, image: Tensor) -> tuple[ImageList, dict[str, Tensor]]:
        images = self.model.preprocess_image([{"image": image}])
        return images, self.model.backbone(images.tensor)

    def _detect(self, images: ImageList, features: dict[str, Tensor]) -> Found:
        proposals, _ = self.model.proposal_generator(images, features, None)
        (people,), _ = self.model.roi_heads(images, features, proposals, None)
        return people.pred_boxes.tensor, people.scores, people.embeddings

    def _embed(self, features: dict[str, Tensor], boxes: Tensor) -> Tensor:
        (embeddings,) = self.model.roi_heads.embed(features, [Boxes(boxes)])
        return embeddings


def example_inputs(rule: ResizeRule) -> tuple[Tensor, Tensor]:
    """Return an image (3, h, w) of noise and two given boxes (2, 4), to trace with.

    Args:
        rule: by which pictures are resized; the image is of the type that it gives.
    """
    generator = torch.Generator().manual_seed(0)
    h, w = _EXAMPLE_SIZE
    noise = torch.randint(256, (h, w, 3), dtype=torch.uint8, generator=generator)
    image = torch.from_numpy(resize(noise.numpy(), (h, w), rule)).permute(2, 0, 1).contiguous()
    return image, torch.tensor([[8.5, 4.0, 60.0, 140.0], [90.0, 10.0, 150.0, 120.0]])


@contextmanager
def ready_to_trace(graph: SearchGraph) -> Iterator[None]:
    """Let numbers of boxes stay variable while a trace is made.

    Python's ``len`` turns a recorded size into a number, which would hold for the example image
    only; detectron2's own patch takes care of that, here in the modules of the ROI heads too.
    """
    modules = {cls.__module__ for cls in type(graph.model.roi_heads).__mro__}
    ours = sorted(m for m in modules if m.partition(".")[0] not in ("torch", "builtins"))
    with ExitStack() as stack:
        # detectron2 checks its tensors by Python conditions that are constant in evaluation mode;
        # each gives a warning.
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(torch.no_grad())
        stack.enter_context(traced_len(ours))
        yield
