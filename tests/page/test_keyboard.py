"""The page without a mouse: from signing in to signing out, one always sees where one is, and comes back to there."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from tests import made
from tests.page.chromium import Visitors
from tests.running import Client, Running
from tests.support import wait_until

FAR = 80  # presses of Tab, after which something cannot be reached
SEEN = """() => {
  const here = document.activeElement
  if (here === null || here === document.body) return 'nowhere'
  const style = getComputedStyle(here), box = here.getBoundingClientRect()
  if (style.outlineStyle === 'none' && here.id !== 'main') return `no outline around ${here.outerHTML.slice(0, 200)}`
  if (box.right <= 0 || box.bottom <= 0 || box.left >= innerWidth || box.top >= innerHeight)
    return `out of sight: ${here.outerHTML.slice(0, 200)}`
  return ''
}"""


def focused(element: Locator) -> bool:
    return element.count() > 0 and bool(element.first.evaluate("(one) => one === document.activeElement"))


def reach(page: Page, element: Locator, key: str = "Tab") -> None:
    """Press Tab until something has the focus; wherever that is meanwhile, it can be seen."""
    element.first.wait_for()
    for _ in range(FAR):
        if focused(element):
            return
        page.keyboard.press(key)
        where = page.evaluate(SEEN)
        # after the last element the focus is the browser's own, before it comes to the first
        assert where in {"", "nowhere"}, where
    raise AssertionError(f"no way to {element} by {key}")


def press(page: Page, name: str, *, role: str = "button", key: str = "Tab") -> None:
    """Reach something, and press Enter."""
    reach(page, page.get_by_role(role, name=name), key)  # type: ignore[arg-type]
    page.keyboard.press("Enter")


def named(page: Page, text: str) -> None:
    reach(page, page.get_by_role("dialog").get_by_role("textbox", name="Name", exact=True))
    page.keyboard.type(text)


def choose(page: Page, label: str, text: str) -> None:
    """Choose by typing a part of a name."""
    reach(page, page.get_by_role("dialog").get_by_role("combobox", name=label, exact=True))
    page.keyboard.type(text)
    expect(page.get_by_role("option", name=text).first).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")


def go(page: Page, title: str) -> None:
    """Go to a page by the palette."""
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox", name="Find a page")).to_be_focused()
    page.keyboard.type(title)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=title, level=1)).to_be_visible()
    expect(page.locator("#main")).to_be_focused()


def test_all_that_is_done_each_day_is_done_by_keyboard_alone(visitors: Visitors, api: Client, running: Running) -> None:
    api.create("/repositories", name="keys-store", type="simulated", location="/x", config={"seconds": 600})
    page = visitors(token=None).open("/")
    expect(page.get_by_label("Token")).to_be_focused()
    page.keyboard.type(running.token)
    page.keyboard.press("Enter")
    expect(page.get_by_role("navigation", name="Pages")).to_be_visible()

    go(page, "VMs")
    press(page, "New VM", role="link")
    named(page, "keys-vm")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("link", name="keys-vm").first).to_be_visible()

    go(page, "Flows")
    press(page, "New flow")
    named(page, "keys-flow")
    reach(page, page.get_by_label("A protection group"))
    page.keyboard.press("ArrowDown")
    choose(page, "VM", "keys-vm")
    choose(page, "Repository", "keys-store")
    expect(page.get_by_role("dialog").get_by_text("would back up 1 VM")).to_be_visible()
    press(page, "Make the flow")
    expect(page.get_by_role("dialog")).to_have_count(0)

    go(page, "Flows")
    press(page, "Run keys-flow now")
    press(page, "running", role="link")
    expect(page.get_by_role("heading", name="keys-flow", level=1)).to_be_visible()
    reach(page, page.get_by_role("button", name="Cancel", exact=True))
    page.keyboard.press("Enter")
    press(page, "Stop it")
    expect(page.get_by_role("button", name="Retry 1 VM")).to_be_visible()

    press(page, "Account of", key="Shift+Tab")
    expect(page.get_by_role("menuitem", name="Sign out")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Token")).to_be_focused()


def test_the_focus_comes_back_to_where_it_was(page: Page, api: Client) -> None:
    """When a dialog is closed, whichever way."""
    made.flow(api, "back")
    page.goto("/flows")
    opener = page.get_by_role("button", name="New flow")
    reach(page, opener)
    for close in ("Escape", "Close"):
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog").get_by_label("Name")).to_be_focused()
        if close == "Close":
            reach(page, page.get_by_role("dialog").get_by_role("button", name=close), "Shift+Tab")
        page.keyboard.press("Escape" if close == "Escape" else "Enter")
        expect(page.get_by_role("dialog")).to_have_count(0)
        wait_until(lambda: focused(opener))
