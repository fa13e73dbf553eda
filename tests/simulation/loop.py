"""An event loop in virtual time. Every callback belongs to a process that can be paused and crashed at any await.

Time stands still while anything is ready and jumps to the next timer when nothing is. There are no threads, no sockets
and no clock: what happens is a function of the program alone.
"""

from __future__ import annotations

import asyncio
import heapq
import sys
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

T = TypeVar("T")

CLOSINGS = 50  # awaits in the `finally` blocks of one coroutine that is thrown away
TURNS = 200_000  # callbacks in one run, of which some thousands are usual
FEW = 64  # tasks of a process that are kept without looking which of them are done


class Process:
    """What an operating system calls one: it can be stopped for a while, and it can be killed."""

    def __init__(self, loop: SimulatedLoop, name: str) -> None:
        self.name = name
        self.dead = False
        self.paused_since: float | None = None
        self.held: list[Handle] = []  # what should have run while it was paused
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self._loop = loop
        self._enough = FEW
        self._context = copy_context()
        self._context.run(_process.set, self)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task in this process; what it starts is in this process too."""
        return self._loop.create_task(work, context=self._context.copy())

    def pause(self) -> None:
        """Hold all of its callbacks, as SIGSTOP does."""
        if self.paused_since is None:
            self.paused_since = self._loop.time()

    def resume(self, *, timers_first: bool = False) -> None:
        """Let what was held run. `timers_first`: time-outs that have passed are seen before what has arrived."""
        self.paused_since = None
        held, self.held = self.held, []
        if timers_first:
            held.sort(key=lambda handle: not handle.timer)  # stable
        self._loop.ready.extendleft(reversed(held))

    def crash(self) -> None:
        """Drop all that it would do. No `finally` has any effect outside: nobody listens to the dead."""
        self.dead = True
        self.held.clear()
        tasks, self.tasks = list(self.tasks), {}
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            self._context.copy().run(_close, task)

    def keep(self, task: asyncio.Task[Any]) -> None:
        self.tasks[task] = None
        if len(self.tasks) > self._enough:
            self.tasks = {one: None for one in self.tasks if not one.done()}
            self._enough = FEW + 2 * len(self.tasks)


_process: ContextVar[Process | None] = ContextVar("process", default=None)


def current() -> Process | None:
    """Return the process that runs now, None for the world outside of all of them."""
    return _process.get()


class Dead(BaseException):
    """Its process is dead: whoever waits or starts something ends here, whatever it does about being cancelled."""


def _close(task: asyncio.Task[Any]) -> None:
    """End a coroutine that will never run again, so that the garbage collector has nothing to complain about."""
    work: Any = task.get_coro()
    for _ in range(CLOSINGS):
        try:
            work.close()
        except BaseException:  # noqa: BLE001  whatever a dead process raises
            continue
        return


class Handle:
    """A callback that waits for its turn."""

    __slots__ = ("args", "callback", "context", "process", "timer", "when_")

    def __init__(
        self, callback: Callable[..., Any], args: tuple[Any, ...], context: Context | None, when: float | None = None
    ) -> None:
        self.callback: Callable[..., Any] | None = callback
        self.args = args
        self.context = context if context is not None else copy_context()
        self.process: Process | None = self.context.get(_process)
        self.timer = when is not None
        self.when_ = when

    def cancel(self) -> None:
        self.callback, self.args = None, ()

    def cancelled(self) -> bool:
        return self.callback is None

    def when(self) -> float:
        assert self.when_ is not None
        return self.when_


class _Task(asyncio.Task[T]):
    """A task whose hash is its number: the order of a set of tasks is the same in every run."""

    def __init__(self, number: int, work: Coroutine[Any, Any, T], **options: Any) -> None:
        self.number = number
        super().__init__(work, **options)

    def __hash__(self) -> int:
        return self.number


class Stalled(Exception):
    """Nothing is ready and no timer is set: what is waited for will never come."""


class Livelock(Exception):
    """Something goes round and round, and time hardly passes."""


class SimulatedLoop(asyncio.AbstractEventLoop):
    """What asyncio needs of a loop, and no more."""

    def __init__(self) -> None:
        self.ready: deque[Handle] = deque()
        self.turns = 0  # callbacks that have run
        self._timers: list[tuple[float, int, Handle]] = []
        self._now = 0.0
        self._number = 0
        self._closed = False

    def time(self) -> float:
        return self._now

    def run_until_complete(self, future: Generator[Any, None, T] | Coroutine[Any, Any, T]) -> T:  # type: ignore[override]
        """Run until a coroutine of the world outside has ended. Raises `Stalled`, what the coroutine raises,
        and `Livelock`.
        """
        events._set_running_loop(self)
        hooks = sys.get_asyncgen_hooks()
        # a dead process closes no generator: the collector would, and they wait for what nobody gives
        sys.set_asyncgen_hooks(finalizer=lambda _: None)
        try:
            main = self.create_task(future)
            while not main.done():
                if not self.ready:
                    self._advance()
                self._turn(self.ready.popleft())
                if self.turns > TURNS:
                    raise Livelock(f"{TURNS:,} callbacks have run, and it is {self._now:.1f} s")
            return main.result()
        finally:
            sys.set_asyncgen_hooks(*hooks)
            events._set_running_loop(None)

    def _advance(self) -> None:
        """Jump to the next timer."""
        timers = self._timers
        while timers:
            when, _, handle = heapq.heappop(timers)
            if handle.callback is not None:
                self._now = when
                self.ready.append(handle)
                return
        raise Stalled("nothing is ready, and no timer is set")

    def _turn(self, handle: Handle) -> None:
        callback, process = handle.callback, handle.process
        if callback is None:
            return
        if process is not None:
            if process.dead:
                return
            if process.paused_since is not None:
                process.held.append(handle)
                return
        self.turns += 1
        handle.context.run(callback, *handle.args)

    # --- what asyncio calls -------------------------------------------------------------------------------------------

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Handle:  # type: ignore[override]
        handle = Handle(callback, args, context)
        self.ready.append(handle)
        return handle

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Handle:  # type: ignore[override]
        handle = Handle(callback, args, context, when)
        self._number += 1
        heapq.heappush(self._timers, (max(when, self._now), self._number, handle))
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Handle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        process = _process.get()
        if process is not None and process.dead:
            raise Dead  # a `finally` that waits for something gets no further
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: object = None, context: Context | None = None) -> asyncio.Task[Any]:
        process = context.get(_process) if context is not None else _process.get()
        if process is not None and process.dead:
            coro.close()  # what somebody starts who is dead never begins
            raise Dead
        self._number += 1
        task = _Task(self._number, coro, loop=self, name=str(name or "task"), context=context)
        if process is not None:
            process.keep(task)
        return task

    def set_default_executor(self, executor: Any) -> None:
        """Take no notice: nothing is done in threads."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Take no notice: what a task raised is its owner's to ask for."""

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True
        self.ready.clear()
        self._timers.clear()
