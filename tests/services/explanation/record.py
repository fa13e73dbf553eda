"""Write the expected texts of situations anew: `python -m tests.services.explanation.record [NAME …]`."""

from __future__ import annotations

import sys

from tests.services.explanation.all_situations import SITUATIONS
from tests.services.explanation.played import FOLDER, text
from tests.services.explanation.stage import Stage

if __name__ == "__main__":
    for name in sys.argv[1:] or SITUATIONS:
        (FOLDER / f"{name}.txt").write_text(text(SITUATIONS[name](Stage()).sentences))
