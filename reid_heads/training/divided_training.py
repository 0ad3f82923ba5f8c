"""Training of classes that are divided over processes (``MODEL.REID_HEAD.PARTIAL_FC.SHARDED``).

What detectron2's trainer does with all parameters alike and must not do with these: averaging their
gradients over processes, and saving those of the main process for all. Here each process saves its
own classes, with their optimizer state, in a file of its own beside each checkpoint, so that
training resumes exactly on as many processes. The checkpoints themselves hold the network without
the classes, which no test needs; ``PartialFCLoss`` leaves them out. A checkpoint of undivided
classes can be started from: each process takes its own.
"""

from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.engine import HookBase
from detectron2.utils import comm
from torch import nn

from reid_heads.atomic_file import atomic_file
from reid_heads.losses.partial_fc import PartialFCLoss
from reid_heads.torch_file import load_torch_file
from reid_heads.torch_parts import leave_to_each_process


def divided_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters, by name, of which each process has its own; none in one process."""
    return {
        f"{prefix}.{name}" if prefix else name: parameter
        for prefix, module in model.named_modules()
        if isinstance(module, PartialFCLoss) and module.is_divided
        for name, parameter in module.named_parameters()
    }


def undivided_parameters_only(model: nn.Module) -> None:
    """Take divided parameters, before the model is wrapped, from what processes share."""
    names = list(divided_parameters(model))
    if names:
        leave_to_each_process(model, names)


def check_divided_training(cfg: CfgNode) -> None:
    """Find out whether a config's training can have divided classes, where it asks for them.

    Raises:
        ValueError: with clipping of the whole gradient, whose norm would differ between processes,
            and so the weights that they share.
    """
    if not cfg.MODEL.REID_HEAD.PARTIAL_FC.SHARDED:
        return
    clip = cfg.SOLVER.CLIP_GRADIENTS
    if clip.ENABLED and clip.CLIP_TYPE == "full_model":
        raise ValueError(
            "SOLVER.CLIP_GRADIENTS.CLIP_TYPE is 'full_model', but with "
            "MODEL.REID_HEAD.PARTIAL_FC.SHARDED no process has the whole gradient; set it to "
            "'value' or 'norm', or SHARDED to False"
        )


class SaveDividedParameters(HookBase):
    """Save each process's own parameters and their optimizer state beside each checkpoint."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        folder: str | Path,
        period: int,
    ):
        """Prepare.

        Args:
            model: not wrapped.
            optimizer: of the model.
            folder: that of the checkpoints.
            period: iterations between checkpoints; the end has one too.
        """
        self.parameters = divided_parameters(model)
        self.optimizer = optimizer
        self.folder = Path(folder)
        self.period = period

    def path(self, iteration: int) -> Path:
        """Return this process's file of the checkpoint after an iteration."""
        share = f"{comm.get_rank()}_of_{comm.get_world_size()}"
        return self.folder / f"divided_{iteration:07d}_{share}.pth"

    def after_step(self) -> None:
        """Save where a checkpoint follows; go on when every process has."""
        done = self.trainer.iter + 1
        if done % self.period == 0 or done >= self.trainer.max_iter:
            self.save(self.trainer.iter)
            comm.synchronize()

    def save(self, iteration: int) -> None:
        """Write the file of an iteration."""
        content = {
            name: (parameter.detach(), self.optimizer.state.get(parameter, {}))
            for name, parameter in self.parameters.items()
        }
        with atomic_file(self.path(iteration), is_durable=True) as file:
            torch.save(content, file)

    def load(self, iteration: int) -> None:
        """Take up the file of an iteration, after the checkpoint was loaded.

        Raises:
            FileNotFoundError: if there is none, as after a training on another number of processes.
            DamagedFileError: if a checksum in it does not fit.
        """
        path = self.path(iteration)
        if not path.is_file():
            raise FileNotFoundError(
                f"there is no {path}, which holds the classes of this process "
                "(MODEL.REID_HEAD.PARTIAL_FC.SHARDED); resume with the checkpoints' folder at hand "
                "and on as many processes as the training had"
            )
        content = load_torch_file(path)
        for name, parameter in self.parameters.items():
            values, state = content[name]
            with torch.no_grad():
                parameter.copy_(values)
            # What was loaded for it is the first process's.
            self.optimizer.state[parameter] = {
                key: value.to(parameter.device)
                if isinstance(value, torch.Tensor) and value.shape == parameter.shape
                else value
                for key, value in state.items()
            }
