"""What an explanation needs of a log, for who reads it in two steps: first all but backups, then those that matter."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from bus.subjects import CATALOG
from services.explanation.explanation import about
from services.explanation.sentences import Question
from services.explanation.survey import Run, Survey

FIRST = (CATALOG, "command.flow.execute", "command.execution.*", "command.backup.create", "flow.*.*")
BACKUPS = tuple(
    f"backup.{event}.>"
    for event in ("requested", "abandoned", "skipped", "started", "retrying", "completed", "failed", "cancelled")
)


def question_about(survey: Survey, what: str, at: datetime | None) -> Question:
    """Return the question about a flow, by its id or its newest name, or else about an execution."""
    flow_id = survey.definitions.flow_named(what)
    return Question(flow_id=flow_id, at=at) if flow_id is not None else Question(execution_id=what)


def beginning(survey: Survey, question: Question) -> int | None:
    """Return the sequence from which on messages about backups matter; None when none does.

    Whatever ran meanwhile held slots: so they matter from where the oldest of these executions began.
    """
    runs = [run for run in _asked(survey, question) if run is not None and run.started is not None]
    if not runs:
        return None
    first = min(run.first.sequence for run in runs)
    ends = [run.completed.sequence if run.completed else survey.last + 1 for run in runs]
    beside = (one for one in survey.runs.values() if one.open_between(first, max(ends)))
    return min(first, *(one.started.sequence for one in beside if one.started is not None))


def _asked(survey: Survey, question: Question) -> Iterable[Run | None]:
    if question.execution_id is not None:
        return [survey.runs.get(question.execution_id)]
    if question.flow_id is None:
        return []
    subjects = about(survey, question.flow_id, question.at)
    return [subject if isinstance(subject, Run) else None for subject in subjects]
