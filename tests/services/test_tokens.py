"""Tokens are nothing to those who run backups: what they decide is the same with and without them."""

from __future__ import annotations

from schemas.events import FlowDue
from services.executor import domain as executor
from services.executor import state as executor_state
from services.explanation.definitions import Definitions
from services.scheduler import domain as scheduler
from tests.support import T0, due, flow, group, history, policy, repository, schedule, vm
from tests.tokens import token

HOUSE = (vm("vm-1"), group(members=["vm-1"]), repository(), policy(), schedule(), flow(schedule_id="schedule-1"))
REVOKED = token(version=2, revoked_at=T0, revoked_by="admin")
TOKENS = history(token(), REVOKED, start=100)


def test_the_executor_decides_the_same() -> None:
    states = [executor_state.State(), executor_state.State()]
    for state, between in zip(states, (TOKENS, []), strict=True):
        for entry in (*history(*HOUSE), *between, *history(due(), start=200)):
            executor_state.evolve(state, entry)
    decided = [[[one.event for one in batch] for batch in executor.decide(state)] for state in states]
    assert decided[0]
    assert decided[0] == decided[1]
    assert states[0].catalogue.flows == states[1].catalogue.flows


def test_the_scheduler_decides_the_same() -> None:
    state, plain = scheduler.State(), scheduler.State()
    for entry in history(*HOUSE):
        scheduler.evolve(state, entry)
        scheduler.evolve(plain, entry)
    for entry in TOKENS:
        scheduler.evolve(state, entry)
    later = T0.replace(year=T0.year + 1)
    decided = list(scheduler.decide(state, later))
    assert any(isinstance(event, FlowDue) for events in decided for event in events)
    assert decided == list(scheduler.decide(plain, later))
    assert state.wake_at == plain.wake_at


def test_explanations_know_nothing_of_them() -> None:
    found = Definitions()
    for entry, event in zip(TOKENS, (token(), REVOKED), strict=True):
        found.take(entry, event)
    assert found.of("flow", "token-1") == []
    assert not found._of
