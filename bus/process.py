"""Child processes that do not outlive their parent, even one that was killed."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def spawn(
    command: Sequence[str],
    *,
    output: IO[bytes] | int | None = None,
    env: Mapping[str, str] | None = None,
    inherit: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program with its output (both streams) in `output`, and with the file descriptors `inherit` kept open.

    On Linux the kernel kills it when the thread that started it ends: start children from the main thread. Terminal
    signals do not reach it; its parent stops it.
    """
    parent = os.getpid()

    def bind_to_parent() -> None:
        os.setpgid(0, 0)
        if _libc is not None:  # pyright: ignore[reportUnnecessaryComparison]
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it died before the call above
                os._exit(1)

    return subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output is not None else None,
        env=None if env is None else dict(env),
        pass_fds=inherit,
        preexec_fn=bind_to_parent,  # noqa: PLW1509  it makes a few system calls and takes no lock
    )


def umask() -> int:
    """Return the umask of this process. While it is asked, threads write in private: ask when starting."""
    current = os.umask(0o077)
    os.umask(current)
    return current


def stop(process: subprocess.Popen[bytes], *, patience: float) -> None:
    """Ask a process to end, and kill it when it has not within `patience` seconds."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
