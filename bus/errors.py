"""What can go wrong with the log. Each error's docstring is its policy."""

from __future__ import annotations


class LogError(Exception):
    """Something about the log went wrong; the message says what and what to do."""


class Conflict(LogError):
    """The log has moved on since the decision was taken: read what is there, decide again."""


class Duplicate(LogError):
    """A message with this id is on the log already, or will be: nothing more to do."""


class Unknown(LogError):
    """No reply in time: the messages may be on the log or not. Read what is there; retry with the same guard or id."""


class Unavailable(LogError):
    """The log cannot be reached. Nothing was appended; try again later."""


class TooLarge(LogError):
    """A message is larger than the server takes. Nothing was appended; retrying does not help."""


class ForeignStream(LogError):
    """The stream is not the one a position belongs to. Stop: projecting on would be nonsense."""


class NewerLog(LogError):
    """A newer version has set up the log in a way that this one does not understand. Stop: start the newer version."""


class ServerError(LogError):
    """The embedded server did not start; the message holds the last line of its log."""


class FolderInUse(LogError):
    """Another server already works on this data folder."""
