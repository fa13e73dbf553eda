"""What is sent is read strictly, on every route: the app's own are walked, so a new one is held to it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, get_args

import msgspec
import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from litestar.testing import TestClient

from api.accepted import IGNORED
from api.decoding import decode
from api.problems import ApiError
from api.requests import (
    BackfillRequest,
    BulkRequest,
    FlowRequest,
    FreezeRequest,
    RepositoryRequest,
    ScheduleRequest,
    VmRequest,
)
from api.routes.parameters import moment
from api.validation import FieldError, allowed_values
from tests.api.bare import APP

AUTHORIZED = {"Authorization": "Bearer t"}


def routes() -> Iterator[tuple[str, HTTPRouteHandler]]:
    for route in APP.routes:
        if isinstance(route, HTTPRoute) and route.path.startswith("/api/v1"):
            for handler in route.route_handlers:
                for method in sorted(handler.http_methods - {"OPTIONS"}):
                    yield f"{method} {route.path_format}", handler


ROUTES = dict(sorted(routes(), key=lambda route: route[0]))  # the same order in every process


def shape_of(handler: HTTPRouteHandler) -> Any:
    field = handler.parsed_data_field
    if field is None:
        return None
    return next((one for one in (field.annotation, *get_args(field.annotation)) if isinstance(one, type)), None)


BODIES = {name: shape_of(handler) for name, handler in ROUTES.items() if shape_of(handler)}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient[Litestar]]:
    with TestClient(APP, raise_server_exceptions=False) as client:
        yield client


def refused(client: TestClient[Litestar], name: str, status: int, **request: Any) -> list[str]:
    method, path = name.split(" ")
    for parameter in ("id", "flow_id", "group_id", "context_id", "execution_id", "backfill_id"):
        path = path.replace(f"{{{parameter}}}", "x")
    found = client.request(method, path, headers=AUTHORIZED, **request)
    assert found.status_code == status, found.text
    assert found.headers["content-type"] == "application/problem+json"
    errors: list[dict[str, str]] = found.json()["errors"]
    assert all(error["message"] for error in errors)
    return [error["field"] for error in errors]


def accepts(type_: Any, value: Any, *, strict: bool) -> bool:
    try:
        msgspec.convert(value, type_, strict=strict)
    except msgspec.ValidationError:
        return False
    return True


def wrong_values(shape: Any) -> dict[str, Any]:
    """For each field a value that a lax decoder takes and a strict one refuses ("1" for an int, 0 for a bool)."""
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(shape)}
    lax: dict[str, Any] = {}
    for name, type_ in fields.items():
        for value in ("1", 0):
            if accepts(type_, value, strict=False) and not accepts(type_, value, strict=True):
                lax[name] = value
    return lax


def test_there_are_routes_to_walk() -> None:
    assert len(BODIES) >= 18
    assert "POST /api/v1/protection-flows/bulk-enable" in BODIES
    assert "POST /api/v1/protection-flows/{flow_id}/clone" in BODIES
    assert "POST /api/v1/executions/{execution_id}/cancel" in BODIES
    assert wrong_values(BackfillRequest) == {"from": 0, "to": 0, "dry_run": 0, "max_concurrent": "1"}
    assert sum(len(wrong_values(shape)) for shape in BODIES.values()) > 30


@pytest.mark.parametrize("name", BODIES)
def test_every_body_is_read_strictly_and_all_that_is_wrong_is_named(client: TestClient[Litestar], name: str) -> None:
    lax = wrong_values(BODIES[name])
    body = {**lax, "nonsense": 1, "more nonsense": None}
    missing = {field.encode_name for field in msgspec.structs.fields(BODIES[name]) if field.required} - set(body)
    found = refused(client, name, 422, json=body)
    assert sorted(found) == sorted({*body, *missing})


@pytest.mark.parametrize("name", BODIES)
def test_what_is_ignored_in_one_body_is_refused_in_every_other(client: TestClient[Litestar], name: str) -> None:
    everything = {field for fields in IGNORED.values() for field in fields}
    found = refused(client, name, 422, json=dict.fromkeys([*everything, "nonsense"]))
    assert everything - set(found) == set(IGNORED.get(BODIES[name], ()))


def test_each_ignored_field_has_its_reason() -> None:
    assert [shape.__name__ for shape in IGNORED] == ["FlowPatchRequest", "GroupRequest", "GroupPatchRequest"]
    assert all(len(reason) > 20 for fields in IGNORED.values() for reason in fields.values())


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("body", ["[]", '"x"', "1"])
def test_a_body_that_is_no_object_is_refused(client: TestClient[Litestar], name: str, body: str) -> None:
    assert refused(client, name, 422, content=body) == ["body"]


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b'{"name": "\\ud800"}'])
def test_what_is_no_json_is_400(client: TestClient[Litestar], name: str, body: bytes) -> None:
    assert refused(client, name, 400, content=body) == []


# its address is made by an identity provider, which says more in it than the engine asked for
FOREIGN = "GET /api/v1/session/oidc/callback"


@pytest.mark.parametrize("name", [name for name in ROUTES if name != FOREIGN])
def test_unknown_query_parameters_are_named_with_the_known_ones(client: TestClient[Litestar], name: str) -> None:
    assert refused(client, name, 400, params={"limt": 5, "since": "x"}) == ["limt", "since"]


@pytest.mark.parametrize(
    "path",
    [
        *("/health/live", "/health/ready", "/metrics", "/schema", "/schema/openapi.json", "/schema/asyncapi.json"),
        *("/schema/page.js", "/schema/assets/swagger-ui.css", "/schema/nothing"),
    ],
)
def test_so_they_are_where_no_token_is_needed(client: TestClient[Litestar], path: str) -> None:
    found = client.get(path, params={"nonsense": "1"})
    assert found.status_code == 400, found.text
    assert found.json()["errors"] == [
        {"field": "nonsense", "message": "this query parameter is unknown; this route knows none"}
    ]


def test_the_known_parameters_are_named_as_in_a_request(client: TestClient[Litestar]) -> None:
    found = client.get("/api/v1/calendar", params={"since": "x"}, headers=AUTHORIZED).json()
    assert found["errors"][0]["message"] == "this query parameter is unknown; known are from, to"
    found = client.get("/api/v1/commands/x", params={"x": 1}, headers=AUTHORIZED).json()
    assert found["errors"][0]["message"] == "this query parameter is unknown; this route knows none"


@pytest.mark.parametrize(
    ("path", "query", "field", "message"),
    [
        ("/calendar", {"from": "x"}, "from", "Expected `str` matching regex"),
        ("/executions", {"to": "x"}, "to", "Expected `str` matching regex"),
        ("/executions", {"status": "x"}, "status", "it must be one of pending, running, success, warning"),
        ("/policies", {"sort": "colour"}, "sort", "it must be one of name, -name, created_at"),
        ("/policies", {"limit": "0"}, "limit", "Expected `int` >= 1"),
    ],
)
def test_a_wrong_parameter_is_called_by_its_name(
    client: TestClient[Litestar], path: str, query: dict[str, str], field: str, message: str
) -> None:
    found = client.get(f"/api/v1{path}", params=query, headers=AUTHORIZED)
    assert found.status_code == 400
    (error,) = found.json()["errors"]
    assert error["field"] == field
    assert error["message"].startswith(message)


def test_several_wrong_parameters_are_all_named(client: TestClient[Litestar]) -> None:
    query = {"limit": "x", "offset": "-1", "status": "x", "from": "y"}
    assert sorted(refused(client, "GET /api/v1/executions", 400, params=query)) == ["from", "limit", "offset", "status"]


def test_without_a_token_nothing_is_said_of_parameters(client: TestClient[Litestar]) -> None:
    assert client.get("/api/v1/policies", params={"x": 1}).status_code == 401


def errors(shape: Any, body: Any) -> dict[str, str]:
    with pytest.raises(ApiError) as caught:
        decode(msgspec.json.encode(body), shape)
    found: list[FieldError] = caught.value.errors
    return {one.field: one.message for one in found}


def test_nested_fields_are_named_by_index_and_key() -> None:
    disks = [{"disk_id": "d", "path": "/x"}, {"disk_id": "d.", "path": "", "sise": 1}, "x", {"disk_id": "e"}]
    assert set(errors(VmRequest, {"vm_name": "", "tags": ["x", 1], "disks": disks, "labels": {"a": 1, "": "x"}})) == {
        *("vm_name", "tags[1]", "labels.a", "labels."),
        *("disks[1].disk_id", "disks[1].path", "disks[1].sise", "disks[2]", "disks[3].path"),
    }
    exclusions = [{"name": "x", "weekdays": ["mon", "x"]}]
    found = errors(ScheduleRequest, {"name": "s", "cron_expression": "@daily", "exclusions": exclusions})
    assert found == {"exclusions[0].weekdays[1]": "it must be one of sun, mon, tue, wed, thu, fri, sat"}


def test_what_is_too_long_is_named_once() -> None:
    assert set(errors(VmRequest, {"vm_name": "x", "tags": [1] * 65})) == {"tags"}
    unbounded = [{"x": 1}] * 200
    assert len(errors(VmRequest, {"vm_name": 1, "disks": unbounded[:200]})) <= 100


def test_enumerations_name_what_is_allowed() -> None:
    found = errors(FlowRequest, {"name": "f", "flow_type": "x", "target_type": 1, "target_id": "t"})
    assert found == {
        "flow_type": "it must be one of backup, replication",
        "target_type": "it must be one of vm, group",
    }
    assert allowed_values(int) == []


@pytest.mark.parametrize("depth", [10, 300, 700])
def test_what_is_nested_deeply_is_no_error_of_the_engine(depth: int) -> None:
    body = f'{{"name": {"[" * depth}1{"]" * depth}}}'.encode()
    with pytest.raises(ApiError) as caught:
        decode(body, FlowRequest)
    assert caught.value.status in {400, 422}


def test_every_secret_is_named() -> None:
    body = {"name": "r", "type": "directory", "location": "/x", "config": {"password": "p", "token": "t", "a": "b"}}
    found = errors(RepositoryRequest, body)
    assert set(found) == {"config.password", "config.token"}
    assert "password_env" in found["config.password"]


NUL, BROKEN = "%00", "%ff"  # in an address


@pytest.mark.parametrize("name", ROUTES)
def test_text_that_can_be_nobodys_is_refused_by_its_name(client: TestClient[Litestar], name: str) -> None:
    """A NUL makes PostgreSQL fail, what is no UTF-8 would be searched for as something else."""
    method, path = name.split(" ")
    parts = [part.strip("{}") for part in path.split("/") if part.startswith("{")]
    plain = path.replace("{", "").replace("}", "")
    for query, field in ((f"q={NUL}", "q"), (f"q={BROKEN}", "q"), (f"{BROKEN}=q", "query"), ("q=1&q=2", "q")):
        assert field in _refused_as(client, method, f"{plain}?{query}")
    for part in parts:
        for text, field in ((NUL, part), (f"a{NUL}b", part), (BROKEN, "path"), ("x" * 300, part)):
            assert _refused_as(client, method, path.replace(f"{{{part}}}", text).translate(_BRACES)) == [field]


_BRACES = str.maketrans("", "", "{}")


def _refused_as(client: TestClient[Litestar], method: str, address: str) -> list[str]:
    found = client.request(method, address, headers=AUTHORIZED)
    assert found.status_code == 400, found.text
    return [error["field"] for error in found.json()["errors"]]


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        ("q=%ed%a0%80", "q", "it is not UTF-8"),  # a surrogate
        ("q=a%00b", "q", "a text must not contain a NUL character"),
        ("limit=1&limit=2&limit=3", "limit", "this query parameter is given 3 times; once is enough"),
        (f"q={'x' * 1_025}", "q", "it is longer than 1024 characters"),
        (f"q={'x' * 9_000}", "query", "it is longer than 8192 bytes"),
        (f"{'&x=1' * 3_000}", "query", "it is longer than 8192 bytes"),
    ],
)
def test_what_is_wrong_with_a_text_is_said(client: TestClient[Litestar], query: str, field: str, message: str) -> None:
    found = client.get(f"/api/v1/policies?{query}", headers=AUTHORIZED)
    assert found.status_code == 400
    assert {"field": field, "message": message} in found.json()["errors"]


@pytest.mark.parametrize("host", ["x:99999999", "x:y", "[::1"])
def test_an_impossible_host_is_no_error_of_the_engine(client: TestClient[Litestar], host: str) -> None:
    for path in ("/api/v1/policies", "/nowhere", "/health/live"):
        assert client.get(path, headers={**AUTHORIZED, "Host": host}).status_code in {400, 404}


@pytest.mark.parametrize("path", ["/schema/assets/%00", "/schema/assets/" + "x" * 300, "/schema/assets/%ff"])
def test_what_is_no_name_of_a_file_is_not_looked_for(client: TestClient[Litestar], path: str) -> None:
    found = client.get(path)
    assert (found.status_code, found.json()["errors"][0]["field"]) == (400, "path")


YEARS = "the year must lie between 1970 and 2199"
EXTREME = [
    *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59Z", "2200-01-01T00:00:00Z"),
    *("9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59.999999Z"),
]


@pytest.mark.parametrize("at", EXTREME)
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/protection-flows/x/occurrences", "from"),
        ("/protection-flows/x/occurrences", "to"),
        ("/protection-flows/x/explain", "at"),
        ("/protection-flows/statistics", "from"),
        ("/calendar", "from"),
        ("/calendar", "to"),
    ],
)
def test_an_instant_out_of_reach_is_refused_by_its_name(
    client: TestClient[Litestar], path: str, name: str, at: str
) -> None:
    found = client.get(f"/api/v1{path}", params={name: at}, headers=AUTHORIZED)
    assert found.status_code == 422
    (error,) = found.json()["errors"]
    assert error["field"] == name
    assert YEARS in error["message"] or "is no date and time" in error["message"]


@pytest.mark.parametrize("at", EXTREME)
def test_so_is_one_in_a_body(at: str) -> None:
    day, local = at.partition("T")[0], at[:19]
    body = {"name": "s", "cron_expression": "@daily", "start_date": day, "end_date": day, "inclusions": [local]}
    exclusion = {"name": "x", "first_date": day, "last_date": day}
    for shape, wrong, fields in (
        (FreezeRequest, {"until": at, "reason": "x"}, {"until"}),
        (BackfillRequest, {"from": at, "to": at}, {"from", "to"}),
        (ScheduleRequest, body, {"start_date", "end_date", "inclusions[0]"}),
        (
            ScheduleRequest,
            {"name": "s", "cron_expression": "@daily", "exclusions": [exclusion]},
            {"exclusions[0].first_date", "exclusions[0].last_date"},
        ),
    ):
        found = errors(shape, wrong)
        assert set(found) == fields
        assert all(YEARS in message for message in found.values())


@pytest.mark.parametrize("at", ["1970-01-01T00:00:00Z", "2199-12-31T23:59:59Z", "2026-01-01T00:00:00+14:00"])
def test_one_within_reach_is_not(at: str) -> None:
    decode(msgspec.json.encode({"until": at, "reason": "x"}), FreezeRequest)
    assert moment("at", at) == datetime.fromisoformat(at)


def test_a_text_that_the_tables_could_not_take() -> None:
    message = "a text must not contain a NUL character"
    assert errors(ScheduleRequest, {"name": "s", "cron_expression": "\0"}) == {"cron_expression": message}
    assert errors(BulkRequest, {"flow_ids": ["x", "\0"]}) == {"flow_ids[1]": message}


@pytest.mark.parametrize("digits", [str(2**63), str(-(2**63) - 1), "9" * 400, "9" * 5_000, "1e400", "-1e999"])
def test_a_number_that_nobody_can_hold_is_no_error_of_the_engine(digits: str) -> None:
    for shape, body in (
        (RepositoryRequest, '{"name": "r", "type": "simulated", "location": "/x", "config": {"a": %s}}'),
        (VmRequest, '{"vm_name": "v", "disks": [{"disk_id": "d", "path": "/x", "size_gb": %s}], "cpu_count": %s}'),
    ):
        with pytest.raises(ApiError) as caught:
            decode(body.replace("%s", digits).encode(), shape)
        assert caught.value.status in {400, 422}


def test_what_somebody_else_chose_is_repeated_in_short() -> None:
    with pytest.raises(ApiError) as caught:
        decode(msgspec.json.encode({"k" * 100_000: 1}), FlowRequest)
    assert len(caught.value.detail) < 2_000
