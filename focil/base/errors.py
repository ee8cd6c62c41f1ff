"""The base of every error that tells a user what to do."""


class FocilError(Exception):
    """Bad input or a broken promise; the message says what was given, what was expected, and what to do."""
