"""Record this version's messages: `python -m tests.released.record` writes tests/released/VERSION/TYPE.json.

To be done when a type of message, or a field of one, is new. `test_released.py` decodes those of all versions for ever.
"""

from __future__ import annotations

import sys

import msgspec

from bus.subjects import TABLE
from tests.released.files import FOLDER, VERSION, file_of, is_released, sampled


def main() -> None:
    changelog = FOLDER.parent.parent / "CHANGELOG.md"
    if is_released(changelog.read_text()):
        sys.exit(f"{VERSION} has been released: its messages stay as they are. First raise `version` in pyproject.toml")
    for tag, row in TABLE.items():
        file = file_of(tag)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(msgspec.json.format(msgspec.json.encode(sampled(row.message)), indent=2) + b"\n")
    print(f"{len(TABLE)} types of messages are in {file.parent.relative_to(FOLDER.parent.parent)}")


if __name__ == "__main__":
    main()
