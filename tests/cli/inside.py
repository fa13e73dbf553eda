"""Commands, run in this process: as people do, and without the time that starting another one takes."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple
from unittest.mock import patch

from cli import failures
from cli.main import cli


class Done(NamedTuple):
    """What a command has ended with, and printed."""

    code: int
    out: str
    err: str


def called(*arguments: str, text: str = "") -> Done:
    """Run a command to its end, with `text` on its standard input."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with (
        redirect_stdout(out),
        redirect_stderr(err),
        patch.object(sys, "stdin", io.StringIO(text)),
        patch.object(sys, "argv", ["flows", *arguments]),
    ):
        try:
            code = failures.run(cli)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else failures.FAILED
    return Done(code, *(stream.buffer.getvalue().decode() for stream in (out, err)))
