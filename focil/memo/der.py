"""DER (Yan et al. 2021) as MEMO's paper has it: a whole network per task.

Otherwise MEMO's loss, growth and aligning.
"""

from focil.memo.memo import Memo


class Der(Memo):
    """MEMO that shares no block."""

    title = "DER"
    growth = "der"
    shares = False
