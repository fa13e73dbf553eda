"""Messages to email and chat: through a process that may not connect to where no message may go."""

from __future__ import annotations

import pytest

from services.notifier import relaying
from services.notifier.targets import NOTHING
from tests.services.notifier.receiver import Receiver
from tests.services.notifier.stage import LOCAL

pytestmark = pytest.mark.server
PASSWORD = "pass-of-a-chat-5e1d"


async def test_a_message_goes_to_an_apprise_url(receiver: Receiver) -> None:
    url = f"json://user:{PASSWORD}@localhost:{receiver.port}/room"
    said = await relaying.relay(url, "Flow 'nightly' failed", "3 of 40 VMs", "error", LOCAL)
    assert PASSWORD not in said
    (call,) = receiver.calls
    assert (call.said["title"], call.said["message"], call.said["type"]) == (
        "Flow 'nightly' failed",
        "3 of 40 VMs",
        "failure",
    )


async def test_a_message_does_not_go_where_none_may(receiver: Receiver) -> None:
    url = f"json://user:{PASSWORD}@localhost:{receiver.port}/room"
    with pytest.raises(relaying.Failed, match=r"127\.0\.0\.1 must not be reached|::1 must not be reached") as failed:
        await relaying.relay(url, "title", "body", "error", NOTHING)
    assert PASSWORD not in str(failed.value)
    assert receiver.calls == []


async def test_a_secret_that_is_no_url_is_said_to_be_none() -> None:
    with pytest.raises(relaying.Failed, match="no URL that apprise understands") as failed:
        await relaying.relay(f"nonsense-{PASSWORD}", "title", "body", "error", NOTHING)
    assert PASSWORD not in str(failed.value)
