"""The errors that users see. Each says what was found, what was expected and what to do about it."""

from __future__ import annotations


class XattnError(Exception):
    """Base of every error caused by input rather than by a defect of ours; commands print it as one line and exit 2."""


class InputError(XattnError):
    """A value, shape, dtype or option that cannot be used."""


class FileFormatError(XattnError):
    """A file that is truncated, foreign or of the wrong kind."""
