"""Where disks may be read and repositories written: under the roots that are set, and never where a machine lives.

Pure: paths are compared as they are written. Who opens a file compares its real path, with the real paths of the roots.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

DEVICES = "/dev"
# The kernel's own, what runs now (its sockets and tokens), the machine's configuration with its passwords, and what it
# starts from: no disk image is there, and a backup there would spoil the machine.
NEVER = ("/proc", "/sys", DEVICES, "/run", "/var/run", "/etc", "/boot")
EXCEPT = ("/run/media",)  # where desktops mount removable disks
KEYS = ".ssh"  # a folder of this name, anywhere
DEMO = "demo"  # in the engine's own data folder: the demo's disks and repository


def normal(path: str) -> str:
    """Return an absolute path without `.`, `..` and doubled slashes."""
    return "/" + posixpath.normpath(path).lstrip("/")


def inside(path: str, folder: str) -> bool:
    """Tell whether a normal path is a folder or lies in it."""
    return folder in {"/", path} or path.startswith(f"{folder}/")


def is_device(path: str) -> bool:
    """Tell whether a path is where block devices are."""
    return inside(normal(path), DEVICES) and not inside(normal(path), f"{DEVICES}/shm")


def refusal(
    path: str, setting: str, roots: Sequence[str] | None, own: Sequence[str] = (), *, block_devices: bool = False
) -> str | None:
    """Return why nothing is read or written at an absolute path, None when it may be.

    `roots`: the value of the setting `setting`; None: anywhere. `own`: the folders and files of the engine itself.
    `block_devices`: what is in /dev may be read, whatever the roots are.
    """
    path = normal(path)
    if block_devices and is_device(path):
        return None
    if folder := _never(path, own):
        hint = ": the setting block_devices allows block devices" if setting == "disk_roots" and is_device(path) else ""
        return f"{path} lies in {folder}, where no disk is read and no backup written{hint}"
    if roots is not None and not any(inside(path, normal(root)) for root in roots):
        return f"{path} lies in none of the {setting} ({', '.join(roots)})"
    return None


def invalid(roots: Sequence[str]) -> str | None:
    """Return what is wrong with the value of a setting of roots, None when nothing is."""
    for root in roots:
        if not root.startswith("/"):
            return f"the folder {root!r} is not an absolute path"
        if folder := _never(normal(root), ()):
            return f"{root} lies in {folder}, where no disk is read and no backup written"
    return None


def _never(path: str, own: Sequence[str]) -> str | None:
    for folder in NEVER:
        if inside(path, folder) and not any(inside(path, free) for free in EXCEPT):
            return folder
    for folder in map(normal, own):
        if inside(path, folder) and not inside(path, f"{folder}/{DEMO}"):
            return folder
    parts = path.split("/")
    return "/".join(parts[: parts.index(KEYS) + 1]) if KEYS in parts else None
