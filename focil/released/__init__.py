"""FOCIL with the shortcuts of its released code (commit 89a7415), each a switch: for the audit only.

`Released` with no shortcut is `methods.focil.Focil` number for number, and with all of them it is the release. Nothing here is
copied from the release; what it does was found by reading and measuring it.
"""

from focil.released.method import OPTIONS, Released

__all__ = ["OPTIONS", "Released"]
