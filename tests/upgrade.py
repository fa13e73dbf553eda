"""Old code beside new: a whole set-up is upgraded under load, with each part of either version beside the others.

`python -m tests.upgrade OLD` (`--seconds 30` for each stage). OLD: a checkout of an older version with its virtual
environment (`git worktree add OLD REVISION && make -C OLD .venv/ready`). Both versions must know the log's format.

It prints what it did and found, and exits with 1 when a request failed, or something was lost or doubled.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from tests.composed import Composed
from tests.databases import postgresql_process
from tests.e2e.load import Clients
from tests.e2e.once import once_each
from tests.made import scheduled
from tests.running import ROOT
from tests.support import wait_until

READERS = ("executor", "recorder", "notifier")
WRITERS = ("scheduler", "registry", "worker")
TWO_OF_EACH = dict.fromkeys((*READERS, *WRITERS, "api"), 2)


class Upgrade:
    """One set-up whose parts change their version. `which`: by service, the version of each of its replicas."""

    def __init__(self, composed: Composed, old: Path, load: Clients) -> None:
        self._composed, self._old, self._load = composed, old, load
        self._now = dict.fromkeys(composed.parts, (old, old))

    def to(self, code: Path, *names: str, numbers: tuple[int, ...] = (0, 1)) -> None:
        """Restart replicas of services, one after the other, as another version."""
        self._composed.use(code)
        for name in names:
            for number in numbers[: len(self._composed.parts[name])]:
                if self._now[name][number] == code:
                    continue
                before = self._composed.parts[name][number]
                before.terminate()
                before.wait()  # a recorder that the tables are too new for has ended by itself
                made = self._composed.remake(name, number)
                made.start()
                self._composed.until_healthy(made)
                pair = list(self._now[name])
                pair[number] = code
                self._now[name] = (pair[0], pair[1])

    def restart_server(self) -> None:
        """Give the one server its new configuration, which it takes when it starts, and not from a signal.

        Meanwhile the API says 503, and to come again: that is no fault, anything else is.
        """
        before = len(self._load.failed)
        self.to(ROOT, "nats")
        enough = len(self._load.accepted) + 2
        wait_until(lambda: len(self._load.accepted) >= enough, within=60)
        during = self._load.failed[before:]
        self._load.failed[before:] = [one for one in during if "temporarily-unavailable" not in one]
        print(f"the server was restarted: {len(during)} requests were told to come again")

    def migrate(self) -> None:
        """Bring the tables up to date, as `docker compose run --rm migrate` does."""
        self._composed.use(ROOT)
        part = self._composed.remake("migrate")
        part.start()
        assert part.wait() == 0, part.said()

    def stay(self, what: str, seconds: float) -> None:
        """Let the load go on for a while, and say how that went."""
        before, failed, began = len(self._load.accepted), len(self._load.failed), time.monotonic()
        while time.monotonic() < began + seconds:
            self._composed.mind()
            time.sleep(0.5)  # not a wait: the time that a stage takes
        said = ", ".join(f"{name} {self._versions(name)}" for name in sorted(TWO_OF_EACH))
        news = len(self._load.accepted) - before
        print(f"{what}: {said}: {news} executions, {len(self._load.failed) - failed} failed requests", flush=True)

    def _versions(self, name: str) -> str:
        return "+".join("old" if code == self._old else "new" for code in self._now[name])


def upgraded(composed: Composed, old: Path, load: Clients, seconds: float) -> None:
    """Go from the old version to the new one and most ways between."""
    one = Upgrade(composed, old, load)
    one.stay("before", seconds)
    one.restart_server()
    one.stay("the server has its new configuration", seconds)
    one.to(ROOT, *WRITERS)
    one.stay("writers before readers", seconds)
    one.migrate()
    one.to(ROOT, "setup", *READERS)
    one.to(old, *WRITERS)
    one.stay("readers before writers", seconds)
    one.to(ROOT, *WRITERS, "api", numbers=(0,))
    one.to(old, "executor", "notifier", numbers=(1,))
    one.stay("one of each", seconds)
    one.to(ROOT, *READERS, *WRITERS, "api")
    one.stay("after", seconds)


def checked(composed: Composed, load: Clients, minutely: list[str]) -> int:
    """Print what there is to say of the log and the tables, and return the number of faults."""
    faults = len(load.failed)
    with closing(composed.client()) as api:
        ends = [api.ended(execution_id, 60) for execution_id in load.accepted]
    if lost := [one["id"] for one in ends if (one["status"], one["jobs_completed"]) != ("success", 1)]:
        faults += len(lost)
        print(f"not successful: {lost}")
    counts = asyncio.run(once_each(composed.nats_url, load.accepted, minutely))
    print(f"on the log, each once: {counts['flow.started']} started, {counts['backup.completed']} backups completed")
    rebuilt = str(composed.folder / "rebuilt.db")
    database = str(composed.database.own_url)
    for command in (["doctor"], ["replay"], ["rebuild", "--into", rebuilt], ["diff", database, rebuilt]):
        done = composed.flows(*command)
        faults += done.returncode != 0
        lines = [*done.stdout.strip().splitlines(), *(done.stderr.strip().splitlines() if done.returncode else [])]
        print(f"flows {command[0]}: exit code {done.returncode}\n  " + "\n  ".join(lines[-12:]))
    return faults


def run(folder: Path, old: Path, seconds: float) -> int:
    """Upgrade a set-up in a folder under load, and return the number of faults."""
    with postgresql_process() as postgresql, Composed(folder, postgresql, code=old, **TWO_OF_EACH) as composed:
        with closing(composed.client()) as api:
            api.until_ready()
            minutely = [scheduled(api, f"each minute {number}", "* * * * *")["id"] for number in range(3)]
        load = Clients(composed.urls, composed.token)
        load.start()
        began = time.monotonic()
        upgraded(composed, old, load, seconds)
        load.stop()
        print(
            f"{load.requests} requests in {time.monotonic() - began:.0f} s, the slowest took {load.slowest:.1f} s; "
            f"{len(load.failed)} failed; {len(load.accepted)} executions"
        )
        print("\n".join(load.failed[:10]))
        return checked(composed, load, minutely)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.upgrade", description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("--seconds", type=float, default=30.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        faults = run(Path(folder), given.old.resolve(), given.seconds)
    print("all is well" if not faults else f"{faults} faults")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
