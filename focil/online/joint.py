"""Joint training in one pass: all tasks shuffled into one stream. A bound, not a method."""

from focil.data.stream import Task
from focil.online.finetune import Finetune


class JointOnePass(Finetune):
    """Finetuning on the same images in the same number of batches, in an order that knows no tasks: what the
    order of the stream costs a method is the distance from here."""

    title = "joint, one pass"

    def learn(self, task: Task) -> None:
        """With the first task learn all images of all tasks; later ones bring nothing new."""
        self._throw_dice(task.index)
        if task.index == 0:
            for images, labels in self.stream.mixed_batches():
                self._learn_batch(images, labels)
        else:
            task.draws = task.size  # then; this stream may be opened again since
        self._finish(task, self.passed)
