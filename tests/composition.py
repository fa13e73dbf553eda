"""compose.yaml as it is read by Docker: variables of .env filled in, anchors and merges resolved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.running import ROOT

FILE = ROOT / "compose.yaml"
IMAGE = "protection-flows-engine"  # the name of our own
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<text>[^}]*))?\}")


def variables(file: Path) -> dict[str, str]:
    """Return what a file such as .env says."""
    lines = (line.partition("=") for line in file.read_text().splitlines() if line and not line.startswith("#"))
    return {name: value for name, _, value in lines}


def composition(values: Mapping[str, str], file: Path = FILE) -> dict[str, Any]:
    """Return compose.yaml with variables filled in. Raises `KeyError` for one that must be set."""

    def filled(found: re.Match[str]) -> str:
        value = values.get(found["name"], "")
        if not value and found["kind"] == "?":
            raise KeyError(found["name"])
        return value or (found["text"] if found["kind"] == "-" else "")

    found: dict[str, Any] = yaml.safe_load(_VARIABLE.sub(filled, file.read_text()))
    return found


def is_ours(service: Mapping[str, Any]) -> bool:
    """Tell whether a service runs our own image."""
    return str(service["image"]).partition(":")[0] == IMAGE


def replicas(service: Mapping[str, Any]) -> int:
    """Return how many containers a service has."""
    return int(service.get("deploy", {}).get("replicas", 1))


def seconds(text: str) -> float:
    """Return a duration such as `30s`."""
    return float(text.removesuffix("s"))
