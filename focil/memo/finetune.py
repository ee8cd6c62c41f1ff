"""Finetuning: each task is learned with nothing kept of the old ones. The lower bound."""

from focil.memo.method import Offline


class Finetune(Offline):
    """One network, no exemplars, no other precaution."""

    title = "finetune"
    keeps_exemplars = False
