"""The page in a real Chromium, with much to show: how soon it is there, and how it goes on while one works with it.

`python -m benchmarks page`; it needs Chromium, and a page that was built.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page

from api.app import create_app
from api.auth import Tokens
from api.page import files
from benchmarks.listing import served
from bus.clock import now
from bus.server import Server
from bus.setup import declare_at
from schemas.events import BackupCompleted, BackupFailed, FlowCompleted
from services import database
from tests.page.chromium import Visitor, chromium, settle
from tests.page.seed import Told, World, into_tables, messages

ROUNDS = 5
FLOWS, VMS, LIVE, DAYS = 1_000, 1_000, 500, 90
PER_FRAME = 50  # updates
SECONDS = 5  # for which frames are looked at
ENDS = (BackupCompleted, BackupFailed, FlowCompleted)
KEYS = "vm 01"

# how long it takes from pressing a key until what comes of it is painted
KEYED = """() => {
  window.keyed = []
  addEventListener('keydown', () => {
    const began = performance.now()
    requestAnimationFrame(() => setTimeout(() => window.keyed.push(performance.now() - began)))
  }, true)
}"""
PAINTED = """(selector) => new Promise((resolve) => {
  const look = () => document.querySelector(selector) === null
    ? requestAnimationFrame(look)
    : requestAnimationFrame(() => setTimeout(() => resolve(performance.now())))
  look()
})"""
FRAMES = """(seconds) => new Promise((resolve) => {
  const frames = [], began = performance.now()
  let before = began
  const next = (at) => {
    frames.push(at - before)
    before = at
    if (at - began < seconds * 1000) requestAnimationFrame(next)
    else resolve(frames.slice(1))
  }
  requestAnimationFrame(next)
})"""
# the tab that hears for all others tells them this
TELLS = """({ jobs, perFrame }) => {
  const channel = new BroadcastChannel('flows-live')
  let sequence = 1e9, at = 0
  setInterval(() => {
    for (let n = 0; n < perFrame; n += 1, at += 1) {
      const job = jobs[at % jobs.length]
      const percent = Math.min(99, 1 + Math.floor(at / jobs.length))
      channel.postMessage({ kind: 'event', event: {
        sequence: (sequence += 1), type: 'backup.progressed', subject: job.flow_id, time: new Date().toISOString(),
        correlationid: job.execution_id,
        data: { ...job, attempt: 1, percent, bytes_total: 1e8, bytes_read: at * 1e4, bytes_transferred: at * 1e4 },
      } })
    }
  }, 1000 / 60)
}"""


@dataclass
class Figures:
    """Milliseconds of a measure, in each round, with what they must be below, if anything."""

    below: float | None
    figures: list[float]


@contextmanager
def engine(folder: Path, told: Iterable[Told]) -> Iterator[str]:
    """Give the address of an API with so much in its tables."""
    folder.mkdir()
    url = database.sqlite_url(folder / "flows.db")
    asyncio.run(into_tables(told, url))
    server = Server(folder / "data")
    server.start()
    try:
        asyncio.run(declare_at(server.url))
        app = create_app(nats_url=server.url, database_url=url, tokens=Tokens("bench"), page=files.load())
        with served(app) as address:
            yield address
    finally:
        server.stop()


def p95(figures: list[float]) -> float:
    return sorted(figures)[int(len(figures) * 0.95)]


def typed(page: Page, label: str) -> list[float]:
    """Return how long each key took that was pressed in a field."""
    page.evaluate(KEYED)
    page.get_by_label(label).click()
    for key in KEYS:
        page.keyboard.press("Space" if key == " " else key)
        page.wait_for_timeout(100)
    found: list[float] = page.evaluate("window.keyed")
    return found


def painted(visitor: Visitor, path: str, selector: str) -> tuple[Page, float]:
    """Open an address; return its tab and when it had painted what is looked for."""
    page = visitor.open(path)
    return page, float(page.evaluate(PAINTED, selector))


def flows(browser: Browser, address: str) -> dict[str, Figures]:
    """A table of many flows, and typing to find some of them."""
    first, keys = Figures(None, []), Figures(100, [])
    for _ in range(ROUNDS):
        visitor = Visitor(browser, address, "bench")
        page, at = painted(visitor, "/flows", "tbody tr[aria-rowindex]")
        first.figures.append(at)
        settle(page)
        keys.figures.append(max(typed(page, "Find a flow")))
        visitor.close()
    return {f"{FLOWS:,} flows: first rows painted": first, f"{FLOWS:,} flows: slowest key while finding": keys}


def matrix(browser: Browser, address: str) -> dict[str, Figures]:
    """All VMs by days."""
    first, keys = Figures(1_000, []), Figures(100, [])
    for _ in range(ROUNDS):
        visitor = Visitor(browser, address, "bench")
        page, at = painted(visitor, "/", "[role=grid] svg")
        first.figures.append(at)
        settle(page)
        page.get_by_role("grid").focus()
        page.evaluate(KEYED)
        for key in ("ArrowDown", "ArrowRight", "PageDown", "PageDown", "End"):
            page.keyboard.press(key)
            page.wait_for_timeout(100)
        keys.figures.append(max(page.evaluate("window.keyed")))
        visitor.close()
    what = f"{VMS:,} VMs by {DAYS} days"
    return {f"{what}: painted": first, f"{what}: slowest key": keys}


def live(browser: Browser, address: str) -> dict[str, Figures]:
    """An execution of many VMs that all move at once."""
    frames, keys = Figures(33, []), Figures(100, [])
    for _ in range(ROUNDS):
        visitor = Visitor(browser, address, "bench")
        tells = visitor.open("/workers")
        settle(tells)
        get = visitor.context.request.get
        (found, *_) = get("/api/v1/executions").json()["executions"]
        jobs = [
            {"execution_id": found["id"], "flow_id": found["flow_id"], "backup_id": one["id"]}
            for one in get(f"/api/v1/executions/{found['id']}/jobs?limit={LIVE}").json()["jobs"]
        ]
        page = visitor.open(f"/executions/{found['id']}")
        settle(page)
        tells.evaluate(TELLS, {"jobs": jobs, "perFrame": PER_FRAME})
        frames.figures.append(p95(page.evaluate(FRAMES, SECONDS)))
        assert page.get_by_text(re.compile(r"^[1-9]\d* %$")).count() > 0, "it moves"
        keys.figures.append(max(typed(page, "Find a VM")))
        visitor.close()
    what = f"{LIVE} VMs, {PER_FRAME} updates a frame"
    return {f"{what}: frame, p95": frames, f"{what}: slowest key": keys}


def page(folder: Path) -> dict[str, Figures]:
    """Return the figures of all that is measured."""
    until = now()
    unfinished = (
        one for one in messages(World(vms=LIVE, flows=1, days=2, until=until)) if not isinstance(one[1], ENDS)
    )
    worlds = {
        flows: messages(World(vms=FLOWS, flows=FLOWS, days=2, until=until)),
        live: unfinished,
        matrix: messages(World(vms=VMS, flows=20, days=DAYS, until=until)),
    }
    found: dict[str, Figures] = {}
    for measure, told in worlds.items():
        # the browser comes second: where it is, an event loop runs
        with engine(folder / measure.__name__, told) as address, chromium() as browser:
            found |= measure(browser, address)
    return found
