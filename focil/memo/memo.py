"""MEMO (Zhou, Wang, Ye, Zhan, ICLR 2023).

Shallow blocks are shared, each task gets deep blocks of its own.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focil.base import seeds
from focil.memo import split
from focil.memo.method import Offline
from focil.memo.networks import widened

AUXILIARY = 1.0  # weight of the auxiliary loss


class Memo(Offline):
    """Generalized blocks once, specialised blocks per task, one head over all their features (section 4.2).

    A later task adds a copy of the newest specialised blocks and an auxiliary head that tells its classes
    from all old ones (one more class); old specialised blocks are frozen. After the task the head is aligned
    as in WA. No distillation.
    """

    title = "MEMO"
    growth = "memo"

    def _network(self, parts: split.Split) -> nn.Module:
        return GrowingNet(parts)

    def _grow(self, task: int) -> None:
        with seeds.as_torchs_own(self.seed, "head", task):
            self.net.widen(self.sizes[task], freeze_shared=self.options.shared_blocks == "frozen")
        self.net.to(self.device)

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        features = self.net.features(images)
        loss = F.cross_entropy(self.net.head(features).float(), labels)
        if self.net.auxiliary is None:
            return loss
        old = self.net.head.out_features - self.sizes[self.done]
        new_or_old = (labels - old + 1).clamp(min=0)  # 0: any old class; 1, 2, ...: the task's own
        return loss + AUXILIARY * F.cross_entropy(
            self.net.auxiliary(features[:, -self.net.size :]).float(), new_or_old
        )

    def _after(self, images: Tensor, labels: Tensor) -> None:
        self._settle()
        self._align()

    def _settle(self) -> None:
        self.net.auxiliary = None


class GrowingNet(nn.Module):
    """Shared blocks, a list of specialised ones, and a head over the features of all.

    (B, C, H, W) -> (B, T F) -> (B, classes).
    """

    def __init__(self, parts: split.Split):
        super().__init__()
        self.generalized, self.size = parts.generalized, parts.feature_size
        self.specialised = nn.ModuleList()
        self._first = [
            parts.specialised
        ]  # in a list, so that it is no part of the network before the first task
        self.head: nn.Linear | None = None
        self.auxiliary: nn.Linear | None = None
        self.to(memory_format=torch.channels_last)

    def widen(self, classes: int, freeze_shared: bool) -> None:
        """Add specialised blocks, copied from the newest, and room for new classes.

        Freeze what older tasks trained.
        """
        if self.specialised:
            newest = copy.deepcopy(self.specialised[-1]).requires_grad_(True)
            self.specialised.requires_grad_(False)
            self.generalized.requires_grad_(not freeze_shared)
        else:
            newest = self._first.pop()
        self.specialised.append(newest)
        total = classes + (self.head.out_features if self.head else 0)
        self.auxiliary = nn.Linear(self.size, classes + 1) if len(self.specialised) > 1 else None
        self.head = widened(self.head, self.size * len(self.specialised), total)
        self.to(memory_format=torch.channels_last)

    def features(self, images: Tensor) -> Tensor:
        """Features of all specialised blocks side by side, the newest last: (B, T F)."""
        shared = self.generalized(images)
        return torch.cat([blocks(shared) for blocks in self.specialised], dim=1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))

    def training_mode(self) -> None:
        """Training behaviour of what is trained; frozen blocks keep their statistics."""
        self.train()
        for blocks in (self.generalized, *self.specialised):
            if not any(p.requires_grad for p in blocks.parameters()):
                blocks.eval()

    def blocks(self) -> list[nn.Module]:
        """All that the published account counts."""
        return [self.generalized, *self.specialised]

    def newest_blocks(self) -> dict[str, nn.Module]:
        """Name -> block on the path that learns the newest task, shallow to deep."""
        return dict([*self.generalized.named_children(), *self.specialised[-1].named_children()])
