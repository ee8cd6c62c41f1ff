"""The audit: FOCIL with the shortcuts of its released code (commit 89a7415), each a switch, and what each is
worth.

`Released` with no shortcut is `focil.method.Focil` number for number, and with all of them it is the release.
Nothing here is copied from the release; what it does was found by reading and measuring it.
"""
