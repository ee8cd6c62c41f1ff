"""Finetuning: each batch is learned as it comes, and nothing is kept. The lower bound."""

from focil.online.method import Online


class Finetune(Online):
    """Plain SGD on the cross-entropy of the batch, over all classes."""

    title = "finetune"
