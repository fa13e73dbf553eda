"""A world: the server, the processes, the people and the faults of one scenario, run until all is quiet again."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from datetime import datetime, timedelta
from typing import Any

from bus.envelope import Entry, encode, envelope
from bus.subjects import subject_of
from schemas.base import Message
from tests.simulation import processes
from tests.simulation.log import NO_LOSS, Link, Loss, SimulatedLog
from tests.simulation.loop import Livelock, Process, SimulatedLoop, Stalled
from tests.simulation.requests import command_of
from tests.simulation.scenario import Fault, Request, Scenario
from tests.simulation.server import Server, foreign
from tests.simulation.store import Database

RESTART = 1.0  # seconds until a supervisor has started a process again
ASKED_AGAIN = 20.0  # seconds without a word from the API after which people ask again
QUIET_STEP = 5.0  # seconds between two looks whether all is quiet
SETTLE = 1500.0  # seconds that a world has to become quiet after the faults have ended
AGE = 30.0  # seconds that everything stays on the log
HOPELESS = 5  # failures in it after which no more is waited for
CALM = 60.0  # seconds at the end in which no process may fail any more


class Note:
    """Something that happened beside the log: a fault, a start, a failure."""

    def __init__(self, at: float, text: str) -> None:
        self.at = at
        self.text = text


class Place:
    """Where one replica of a service runs, incarnation after incarnation."""

    def __init__(self, kind: str, name: str, link: Link) -> None:
        self.kind = kind
        self.name = name
        self.link = link
        self.skew = 0.0
        self.process: Process | None = None
        self.service: Any = None
        self.restarts: list[tuple[float, str]] = []

    def stands_still(self, now: float) -> bool:
        """Tell whether it cannot read what is on the log."""
        paused = self.process is None or self.process.dead or self.process.paused_since is not None
        return paused or self.link.cut or self.link.blind_until > now


class World:
    """One run of one scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.runs: list[processes.Run] = []
        self.notes: list[Note] = []
        self.databases: dict[str, Database] = {}
        self.quiet = False
        self.places: dict[str, Place] = {}
        self.healed_at = 0.0
        self._loop = SimulatedLoop()
        self._people = random.Random(f"people/{scenario.seed}/{scenario.schedule}")
        self._by_publish: dict[tuple[str, int], list[Fault]] = {}
        self._by_message: dict[int, list[Fault]] = {}

    # --- a run --------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run the scenario to its end."""
        logging.disable(logging.CRITICAL)
        collecting = gc.isenabled()
        gc.disable()  # nothing may depend on when garbage is found
        try:
            with processes.virtual_time():
                self._loop.run_until_complete(self._life())
        except (Stalled, Livelock) as error:
            self._note(str(error))
        finally:
            self._loop.close()
            logging.disable(logging.NOTSET)
            if collecting:
                gc.enable()

    @property
    def entries(self) -> list[Entry]:
        return self.server.seen

    @property
    def turns(self) -> int:
        return self._loop.turns

    async def _life(self) -> None:
        try:
            await self._live()
        finally:
            for place in self.places.values():
                if place.process is not None:
                    place.process.crash()

    async def _live(self) -> None:
        scenario = self.scenario
        self.server = Server()
        self.server.on_stored = self._stored
        self._engine = processes.Engine(str(scenario.seed), self.runs)
        for definition in scenario.definitions:
            self._define(definition)
        for kind, count in scenario.replicas.items():
            for number in range(count):
                name = f"{kind}-{number}"
                rng = random.Random(f"{name}/{scenario.seed}/{scenario.schedule}")
                place = self.places[name] = Place(kind, name, Link(self.server, rng, slowness=scenario.slowness))
                place.skew = scenario.skews.get(name, 0.0)
                if kind == "recorder":
                    self.databases[name] = Database()
                self._loop.call_later(rng.random() * 0.5, self._start, place)
        for fault in scenario.faults:
            if fault.message is not None:
                self._by_message.setdefault(fault.message, []).append(fault)
            elif fault.at is not None:
                self._loop.call_later(fault.at, self._happen, fault)
            else:
                self._by_publish.setdefault((fault.target, fault.op or 0), []).append(fault)
        asking = [asyncio.create_task(self._ask_for(request)) for request in scenario.requests]
        await asyncio.sleep(scenario.seconds)
        self._heal()
        deadline = self._loop.time() + SETTLE
        if asking:
            await asyncio.wait(asking, timeout=SETTLE / 3)
        await self._end_of_schedules()
        while self._loop.time() < deadline:
            await asyncio.sleep(QUIET_STEP)
            self.quiet = self._is_quiet()
            if self.quiet or self._is_hopeless():
                return

    def _define(self, message: Message) -> None:
        """Put a definition on the log that was there before anything else."""
        sent = envelope(message, id=f"before:{message.id}:1", source="registry", time=self.server.now())  # type: ignore[attr-defined]
        self.server.store([(subject_of(message), encode(sent), {})])

    def _note(self, text: str) -> None:
        self.notes.append(Note(self._loop.time(), text))

    # --- processes --------------------------------------------------------------------------------------------------

    def _start(self, place: Place) -> None:
        process: Any = Process(self._loop, place.name)
        process.clock = lambda: self.server.now() + timedelta(seconds=place.skew)
        place.process = process
        process.spawn(self._host(place, process))

    async def _host(self, place: Place, process: Process) -> None:
        try:
            log = SimulatedLog(place.link, meddle=self._meddle(place), process=process)
            place.service = processes.service(
                place.kind,
                name=f"{place.name}.{len(place.restarts)}",  # a process that is started again has another name
                clock=process.clock,  # type: ignore[attr-defined]
                engine=self._engine,
                database=self.databases.get("recorder-0" if place.kind == "api" else place.name),
            )
            await processes.host(place.service, log)
            reason = "it ended by itself"
        except Exception as error:  # noqa: BLE001  crash-only: whatever it is, the supervisor starts it again
            reason = f"{type(error).__name__}: {error}"
        self.server.later(0.0, self._end, place, process, reason)

    def _end(self, place: Place, process: Process, reason: str) -> None:
        """Kill a process; its supervisor starts it again."""
        if process.dead or place.process is not process:
            return
        process.crash()
        self._note(f"{place.name} ends: {reason}")
        place.restarts.append((self._loop.time(), reason))
        self._loop.call_later(RESTART, self._start, place)

    # --- people -------------------------------------------------------------------------------------------------------

    async def _ask_for(self, request: Request) -> None:
        await asyncio.sleep(max(0.0, request.at - self._loop.time()))
        command = command_of(request, self.entries, self.server.now())
        if command is None:
            return
        self._note(f"somebody asks: {request.verb} {request.target} {request.argument} (id {request.id})")
        await self._ask(command, request, times=100)
        for pause in request.again:
            await asyncio.sleep(pause)
            await self._ask(command, request, times=2)

    async def _ask(self, command: Any, request: Request, *, times: int) -> None:
        """Ask until there is an outcome, always with the same id."""
        for _ in range(times):
            place = self.places[f"api-{int(self._people.random() * self.scenario.replicas['api'])}"]
            process, service = place.process, place.service
            if process is not None and not process.dead and service is not None:
                heard: asyncio.Future[Any] = self._loop.create_future()
                process.spawn(_hear(service, command, request, heard))
                done, _ = await asyncio.wait([heard], timeout=ASKED_AGAIN)
                if done and heard.result() is not None:
                    return
            if self._loop.time() > self.scenario.seconds + SETTLE / 3:
                return
            await asyncio.sleep(2.0)

    async def _end_of_schedules(self) -> None:
        """Disable all schedules, so that the world can become quiet."""
        ids = sorted({entry.subject.split(".")[2] for entry in self.entries if entry.subject.startswith("catalog.sch")})
        requests = [Request(id=f"end-{id_}", at=self._loop.time(), verb="disable_schedule", target=id_) for id_ in ids]
        await asyncio.gather(*(self._ask_for(request) for request in requests))

    def _is_quiet(self) -> bool:
        """Tell whether nothing is left to do, and has been for a little while."""
        from tests.simulation.checker import unfinished

        now = self._loop.time()
        last = self.entries[-1].stored_at if self.entries else self.server.now()
        if (self.server.now() - last).total_seconds() < 2 * QUIET_STEP or now < self.healed_at + CALM:
            return False
        if any(database.position < self.server.last for database in self.databases.values()):
            return False
        return not unfinished(self)

    def _is_hopeless(self) -> bool:
        """Tell whether a service fails again and again, though nothing goes wrong any more."""
        return any(
            sum(at > self.healed_at + CALM for at, _ in place.restarts) > HOPELESS for place in self.places.values()
        )

    # --- faults -------------------------------------------------------------------------------------------------------

    def _stored(self, entry: Entry) -> None:
        for fault in self._by_message.pop(entry.sequence, ()):
            self.server.later(fault.at or 0.0, self._happen, fault)

    def _meddle(self, place: Place) -> Any:
        async def meddle(log: SimulatedLog, subject: str) -> Loss:
            faults = self._by_publish.pop((place.name, log.link.published), None)
            if not faults or self.healed_at:
                return NO_LOSS
            loss = NO_LOSS
            for fault in faults:
                self._note(f"fault: {fault.kind} {place.name} at its publish {fault.op} ({subject}) {_how_long(fault)}")
                loss = self._at_publish(place, fault)
            # a pause begins here; what follows happens after it
            await asyncio.sleep(0)
            return loss

        return meddle

    def _at_publish(self, place: Place, fault: Fault) -> Loss:
        process = place.process
        assert process is not None
        match fault.kind:
            case "pause_before":
                self._pause(place, fault.seconds)
            case "pause_after":
                self.server.later(0.0, self._pause, place, fault.seconds)
                return Loss()
            case "crash_before":
                self.server.later(0.0, self._end, place, process, "killed before it published")
                return Loss(sent=False, answered=False)
            case "crash_after":
                self.server.later(0.0001, self._end, place, process, "killed after it published")
            case "unanswered":
                return Loss(answered=False)
            case "unsent":
                return Loss(sent=False, answered=False)
            case "late":
                return Loss(late=fault.seconds, answered=False)
            case "refused":
                return Loss(refused=True)
            case _:
                raise ValueError(f"{fault.kind} does not happen at a publish")
        return NO_LOSS

    def _happen(self, fault: Fault) -> None:
        if self.healed_at:
            return
        self._note(f"fault: {fault.kind} {fault.target} {_how_long(fault)}{fault.argument}")
        place = self.places.get(fault.target)
        later = self._loop.call_later
        match fault.kind:
            case "server_pause":
                self.server.pause()
                later(fault.seconds, self._server_goes_on)
            case "server_restart":
                self.server.pause()
                later(fault.seconds, self._server_restarts, 10.0 * fault.seconds)
            case "delete_consumer":
                self.server.delete_consumer(fault.target)
            case "unreadable":
                self.server.store([(fault.argument, foreign(fault.argument), {})])
            case "expire":
                self._expire()
            case _ if place is None:
                return  # shrunk away
            case "crash":
                if place.process is not None:
                    self._end(place, place.process, "killed")
            case "pause":
                self._pause(place, fault.seconds)
            case "cut":
                place.link.cut = True
                later(min(fault.seconds, 20.0), setattr, place.link, "noticed", True)
                later(fault.seconds, self._mend, place)
            case "blind":
                place.link.blind_until = self.server.time() + fault.seconds
            case "loss":
                place.link.loss = float(fault.argument)
                later(fault.seconds, setattr, place.link, "loss", 0.0)
            case "skew":
                place.skew = fault.seconds
            case "database":
                self.databases[fault.target].broken = True
                later(fault.seconds, setattr, self.databases[fault.target], "broken", False)
            case _:
                raise ValueError(f"{fault.kind} does not happen at a time")

    def _pause(self, place: Place, seconds: float) -> None:
        process = place.process
        if process is not None and process.paused_since is None and not self.healed_at:
            process.pause()
            self._loop.call_later(seconds, self._resume, place, process)

    def _resume(self, place: Place, process: Process) -> None:
        if process.paused_since is not None:
            self._note(f"{place.name} goes on")
            process.resume(timers_first=place.link.rng.random() < 0.5)

    def _server_goes_on(self) -> None:
        if self.server.down:
            self._note("the server goes on")
            self.server.resume()

    def _server_restarts(self, forgets: float) -> None:
        if self.server.down:
            self._note("the server has restarted")
            self.server.restart(forgets)

    def _mend(self, place: Place) -> None:
        if place.link.cut:
            self._note(f"{place.name} is connected again")
            place.link.cut = place.link.noticed = False

    def _expire(self) -> None:
        """Let the oldest messages vanish, definitions apart: those of executions that are over, as age does.

        What would not be older than the scheduler's horizon in the real world stays: the last word on each flow's
        occurrences.
        """
        from tests.simulation.checker import settled_up_to

        if any(place.stands_still(self.server.time()) for place in self.places.values()):
            return  # nobody is that far behind: what expires is older than a year
        old = sum(entry.stored_at < self.server.now() - timedelta(seconds=AGE) for entry in self.entries)
        last = min([old, *(database.position for database in self.databases.values())])
        for sequence in range(1, min(last, settled_up_to(self.entries)) + 1):
            if not self.entries[sequence - 1].subject.startswith("catalog."):
                self.server.expire(sequence)

    def _heal(self) -> None:
        """End all faults."""
        self._note("everything is healed")
        self.healed_at = self._loop.time()
        if self.server.down:
            self.server.resume()
        for place in self.places.values():
            self._mend(place)
            place.link.loss, place.link.blind_until, place.skew = 0.0, 0.0, 0.0
            if place.process is not None:
                self._resume(place, place.process)
        for database in self.databases.values():
            database.broken = False

    def at(self, when: float) -> datetime:
        return self.server.now() + timedelta(seconds=when - self._loop.time())


async def _hear(service: Any, command: Any, request: Request, heard: asyncio.Future[Any]) -> None:
    outcome = await service.ask(command, request.id, careless=request.careless)
    if not heard.done():
        heard.set_result(outcome)


def _how_long(fault: Fault) -> str:
    return f"for {fault.seconds} s " if fault.seconds else ""
