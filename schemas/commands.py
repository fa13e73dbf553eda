"""Commands: what is requested, in the imperative. The tag is the subject: `command.<entity>.<verb>`."""

from __future__ import annotations

from typing import Annotated, cast

from msgspec import UNSET, Meta, UnsetType

from schemas.base import MOST, Id, Instant, Integer, Message, Positive, Priority, Prose, tag_of
from schemas.definitions import (
    Digest,
    Entity,
    FlowPatch,
    FlowSpec,
    GroupPatch,
    GroupSpec,
    Kind,
    Member,
    PolicyPatch,
    PolicySpec,
    RepositoryPatch,
    RepositorySpec,
    SchedulePatch,
    ScheduleSpec,
    SettingsPatch,
    TokenSpec,
    VmPatch,
    VmSpec,
)
from schemas.notifications import NotificationPatch, NotificationSpec
from schemas.workers import WorkerSpec


class Command(Message, frozen=True, kw_only=True):
    """A request about one thing. `id` is the thing's."""

    id: Id


class Create(Command, frozen=True, kw_only=True):
    """Create a definition; the sender chooses its id."""


class Change(Command, frozen=True, kw_only=True):
    """Change what is there. `if_version`: only if that is still its version."""

    if_version: Integer | None = None


class Update(Change, frozen=True, kw_only=True):
    """Change the fields that the patch names."""


class Delete(Change, frozen=True, kw_only=True):
    """Remove it. `detach`: flows that refer to this schedule or policy lose the reference; else it is rejected."""

    detach: bool = False


class Enable(Change, frozen=True, kw_only=True):
    """Enable it."""


class Disable(Change, frozen=True, kw_only=True):
    """Disable it."""


class CreateVm(Create, frozen=True, kw_only=True, tag="command.vm.create"):
    spec: VmSpec


class UpdateVm(Update, frozen=True, kw_only=True, tag="command.vm.update"):
    patch: VmPatch


class DeleteVm(Delete, frozen=True, kw_only=True, tag="command.vm.delete"): ...


class EnableVm(Enable, frozen=True, kw_only=True, tag="command.vm.enable"): ...


class DisableVm(Disable, frozen=True, kw_only=True, tag="command.vm.disable"): ...


class CreateGroup(Create, frozen=True, kw_only=True, tag="command.group.create"):
    spec: GroupSpec


class UpdateGroup(Update, frozen=True, kw_only=True, tag="command.group.update"):
    patch: GroupPatch


class DeleteGroup(Delete, frozen=True, kw_only=True, tag="command.group.delete"): ...


class EnableGroup(Enable, frozen=True, kw_only=True, tag="command.group.enable"): ...


class DisableGroup(Disable, frozen=True, kw_only=True, tag="command.group.disable"): ...


class AddMember(Change, frozen=True, kw_only=True, tag="command.group.add_member"):
    """Put a VM into a group."""

    member: Member


class AddMembers(Change, frozen=True, kw_only=True, tag="command.group.add_members"):
    """Put several VMs into a group: all of them, or none."""

    members: Annotated[list[Member], Meta(min_length=1, max_length=MOST)]


class UpdateMember(Change, frozen=True, kw_only=True, tag="command.group.update_member"):
    """Change a VM's place in a group."""

    context_id: Id
    enabled: bool | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET


class RemoveMember(Change, frozen=True, kw_only=True, tag="command.group.remove_member"):
    """Take a VM out of a group."""

    context_id: Id


class CreateSchedule(Create, frozen=True, kw_only=True, tag="command.schedule.create"):
    spec: ScheduleSpec


class UpdateSchedule(Update, frozen=True, kw_only=True, tag="command.schedule.update"):
    patch: SchedulePatch


class DeleteSchedule(Delete, frozen=True, kw_only=True, tag="command.schedule.delete"): ...


class EnableSchedule(Enable, frozen=True, kw_only=True, tag="command.schedule.enable"): ...


class DisableSchedule(Disable, frozen=True, kw_only=True, tag="command.schedule.disable"): ...


class CreateRepository(Create, frozen=True, kw_only=True, tag="command.repository.create"):
    spec: RepositorySpec


class UpdateRepository(Update, frozen=True, kw_only=True, tag="command.repository.update"):
    patch: RepositoryPatch


class DeleteRepository(Delete, frozen=True, kw_only=True, tag="command.repository.delete"): ...


class EnableRepository(Enable, frozen=True, kw_only=True, tag="command.repository.enable"): ...


class DisableRepository(Disable, frozen=True, kw_only=True, tag="command.repository.disable"): ...


class CreatePolicy(Create, frozen=True, kw_only=True, tag="command.policy.create"):
    spec: PolicySpec


class UpdatePolicy(Update, frozen=True, kw_only=True, tag="command.policy.update"):
    patch: PolicyPatch


class DeletePolicy(Delete, frozen=True, kw_only=True, tag="command.policy.delete"): ...


class EnablePolicy(Enable, frozen=True, kw_only=True, tag="command.policy.enable"): ...


class DisablePolicy(Disable, frozen=True, kw_only=True, tag="command.policy.disable"): ...


class CreateFlow(Create, frozen=True, kw_only=True, tag="command.flow.create"):
    spec: FlowSpec


class UpdateFlow(Update, frozen=True, kw_only=True, tag="command.flow.update"):
    patch: FlowPatch


class DeleteFlow(Delete, frozen=True, kw_only=True, tag="command.flow.delete"): ...


class EnableFlow(Enable, frozen=True, kw_only=True, tag="command.flow.enable"):
    """`run_missed`: what passed while it was disabled counts as missed, and is caught up as its schedule says."""

    run_missed: bool = False


class DisableFlow(Disable, frozen=True, kw_only=True, tag="command.flow.disable"): ...


class CreateNotification(Create, frozen=True, kw_only=True, tag="command.notification.create"):
    spec: NotificationSpec


class UpdateNotification(Update, frozen=True, kw_only=True, tag="command.notification.update"):
    patch: NotificationPatch


class DeleteNotification(Delete, frozen=True, kw_only=True, tag="command.notification.delete"): ...


class EnableNotification(Enable, frozen=True, kw_only=True, tag="command.notification.enable"): ...


class DisableNotification(Disable, frozen=True, kw_only=True, tag="command.notification.disable"): ...


class SetFreeze(Command, frozen=True, kw_only=True, tag="command.freeze.set"):
    """No scheduled start anywhere until then."""

    until: Instant
    reason: Prose


class LiftFreeze(Command, frozen=True, kw_only=True, tag="command.freeze.lift"):
    """End the freeze now."""


class UpdateSettings(Update, frozen=True, kw_only=True, tag="command.settings.update"):
    patch: SettingsPatch


class CreateToken(Create, frozen=True, kw_only=True, tag="command.token.create"):
    spec: TokenSpec


class RevokeToken(Command, frozen=True, kw_only=True, tag="command.token.revoke"):
    """Let a token open nothing any more."""


class CreateWorker(Create, frozen=True, kw_only=True, tag="command.worker.create"):
    spec: WorkerSpec


class EnrolWorker(Command, frozen=True, kw_only=True, tag="command.worker.enrol"):
    """Give a worker an identity of its own, by the one-time token with this digest.

    `digest`: the SHA-256 of the secret that the worker has made.
    """

    token_digest: Digest
    digest: Digest


class RevokeWorker(Command, frozen=True, kw_only=True, tag="command.worker.revoke"):
    """Let a worker's identity, or the token that it has not used yet, count for nothing any more."""


class PruneHistory(Command, frozen=True, kw_only=True, tag="command.history.prune"):
    """Delete the history of executions that ended before an instant from the tables."""

    before: Instant


# The executor decides these, not the registry.


class ExecuteFlow(Command, frozen=True, kw_only=True, tag="command.flow.execute"):
    """Run a flow now."""


class CancelExecution(Command, frozen=True, kw_only=True, tag="command.execution.cancel"):
    """Stop an execution, or one VM of it."""

    context_id: Id | None = None


class RetryExecution(Command, frozen=True, kw_only=True, tag="command.execution.retry"):
    """Run the flow of an execution again, over the VMs that failed in it or never started."""

    flow_id: Id
    context_ids: Annotated[list[Id], Meta(max_length=MOST)]


class BackupVm(Command, frozen=True, kw_only=True, tag="command.backup.create"):
    """Back up one VM now, outside any flow. `id` is the execution's."""

    context_id: Id
    repository_id: Id
    policy_id: Id | None = None


class CreateBackfill(Command, frozen=True, kw_only=True, tag="command.backfill.create"):
    """Execute past occurrences of a flow now. `id` is the backfill's."""

    flow_id: Id
    occurrences: Annotated[list[Instant], Meta(max_length=MOST)]
    max_concurrent: Positive = 1


class CancelBackfill(Command, frozen=True, kw_only=True, tag="command.backfill.cancel"):
    """Stop a backfill: all of its executions, those that run and those that wait."""

    flow_id: Id


DEFINITION_COMMANDS: tuple[type[Command], ...] = (
    *(CreateVm, UpdateVm, DeleteVm, EnableVm, DisableVm),
    *(CreateGroup, UpdateGroup, DeleteGroup, EnableGroup, DisableGroup, AddMember, AddMembers),
    *(UpdateMember, RemoveMember),
    *(CreateSchedule, UpdateSchedule, DeleteSchedule, EnableSchedule, DisableSchedule),
    *(CreateRepository, UpdateRepository, DeleteRepository, EnableRepository, DisableRepository),
    *(CreatePolicy, UpdatePolicy, DeletePolicy, EnablePolicy, DisablePolicy),
    *(CreateFlow, UpdateFlow, DeleteFlow, EnableFlow, DisableFlow),
    *(CreateNotification, UpdateNotification, DeleteNotification, EnableNotification, DisableNotification),
    *(SetFreeze, LiftFreeze, UpdateSettings),
    *(CreateToken, RevokeToken),
    *(CreateWorker, EnrolWorker, RevokeWorker),
)
COMMANDS: tuple[type[Command], ...] = (
    *DEFINITION_COMMANDS,
    *(ExecuteFlow, CancelExecution, RetryExecution, BackupVm, CreateBackfill, CancelBackfill, PruneHistory),
)


def definition_kind(command: Command) -> Kind:
    """Return the kind of definition that a command is about."""
    return cast("Kind", entity_of(command))


def entity_of(command: Command) -> Entity:
    """Return what a command is about: a kind of definition, an execution or a backup."""
    return cast("Entity", tag_of(command).split(".")[1])


def verb_of(command: Command) -> str:
    """Return the verb of a command, e.g. `create`."""
    return tag_of(command).split(".")[2]
