"""Routes of protection flows."""

from __future__ import annotations

from api.routes.crud import router
from api.routes.flows.bulk import bulk_delete, bulk_disable, bulk_enable
from api.routes.flows.definition import FLOW, clone, delete_flow, enable_flow
from api.routes.flows.runs import backfill, cancel_backfill, execute_flow
from api.routes.flows.trials import dry_run, dry_run_unsaved
from api.routes.flows.views import (
    explain_flow,
    flow_executions,
    flow_occurrences,
    flow_status,
    list_flows,
    statistics_of_all,
    summary,
)

ROUTER = router(
    FLOW,
    [
        *(list_flows, summary, statistics_of_all, flow_executions, flow_status, flow_occurrences, explain_flow),
        *(execute_flow, dry_run, dry_run_unsaved, backfill, cancel_backfill),
        *(bulk_enable, bulk_disable, bulk_delete, clone),
    ],
    enable=enable_flow,
    delete=delete_flow,
)
