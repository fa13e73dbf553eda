"""What came from elsewhere, made fit for a terminal: names, reasons, errors, messages of the log. Pure."""

from __future__ import annotations

import re

# What moves the cursor, changes the terminal, ends the line, turns the direction of writing or is not seen: control
# characters (C0, DEL, C1), separators of lines and paragraphs, marks of direction, tags; and what cannot be encoded.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)
_BETWEEN = "\t\n\r"  # in JSON these stand between its parts, and in no string


def printable(text: str) -> str:
    r"""Return a text as one line that a terminal only shows: what it might act on is written out, as in `\x1b`."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def is_printable(text: str) -> bool:
    """Tell whether a terminal only shows a text, which may have several lines."""
    return all(_UNSAFE.search(line) is None for line in text.split("\n"))


def json_line(body: bytes) -> str:
    r"""Return a JSON text, or what should be one, as one line that means the same: with `\u001b` for what is unsafe."""
    return _UNSAFE.sub(_as_json, body.decode(errors="backslashreplace"))


def _as_json(found: re.Match[str]) -> str:
    if found[0] in _BETWEEN:
        return " "
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
