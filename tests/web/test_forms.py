"""The forms of the page: the server's message is at its field, a second click does nothing, nothing typed is lost."""

import re
from pathlib import Path

from playwright.sync_api import Page, Request, expect

from tests.pretended import Pretended
from tests.web.conftest import Visit
from tests.web.test_change import add_rule, apply
from tests.web.windows import Visitor

SUBMIT_TWICE = "form => { form.requestSubmit(); form.requestSubmit(); }"


def refused_at(page: Page, label: str) -> None:
    """Expect the server's message at a field, tied to it for those who do not see it."""
    field = page.get_by_role("dialog").get_by_label(label, exact=True)
    expect(field).to_have_attribute("aria-invalid", "true")
    says = page.locator(f"[id='{field.get_attribute('aria-describedby', timeout=5_000).split()[0]}']")
    expect(says).to_have_text(re.compile(r"\w{3}"))


def posts(page: Page, resource: str) -> list[str]:
    """Return what is sent to a resource from now on."""
    sent: list[str] = []

    def told(request: Request) -> bool:
        return request.method == "POST" and request.url.endswith(f"/{resource}")

    page.on("request", lambda request: sent.append(request.url) if told(request) else None)
    return sent


def test_a_user_is_added_once_with_a_password_shown_once_and_removed(visit: Visit) -> None:
    visitor = visit()
    page = visitor.go("settings?part=users")
    page.get_by_role("button", name="Add a user").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("No Such Name!")
    dialog.get_by_role("button", name="Add", exact=True).click()
    refused_at(page, "Name")
    visitor.picture("user-refused")
    assert visitor.axe() == []
    dialog.get_by_label("Name").fill("paula")
    sent = posts(page, "users")
    dialog.locator("form").evaluate(SUBMIT_TWICE)
    shown = page.get_by_role("dialog", name="Password of paula")
    expect(shown).to_be_visible()
    assert visitor.axe() == []
    assert len(shown.locator(".secret").inner_text()) >= 10
    shown.get_by_role("button", name="I have noted it").click()
    row = page.get_by_role("row").filter(has_text="paula")
    expect(row).to_contain_text("has to choose a password")
    assert len(sent) == 1
    row.get_by_role("button", name="Remove paula").click()
    page.get_by_role("dialog", name="Remove paula?").get_by_role("button", name="Remove").click()
    expect(row).to_have_count(0)


def test_a_token_is_shown_once_works_and_is_revoked(visit: Visit) -> None:
    visitor = visit()
    page = visitor.go("settings?part=tokens")
    page.get_by_role("button", name="Add a token").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("grafana")
    dialog.get_by_label("Days until it ends").fill("-5")
    dialog.get_by_role("button", name="Add", exact=True).click()
    refused_at(page, "Days until it ends")
    dialog.get_by_label("Days until it ends").fill("5")
    sent = posts(page, "tokens")
    dialog.locator("form").evaluate(SUBMIT_TWICE)
    secret = page.get_by_role("dialog", name="The new token").locator(".secret").inner_text()
    ask = "token => fetch('/api/v1/status', {headers: {Authorization: `Bearer ${token}`}, credentials: 'omit'})"
    assert page.evaluate(f"token => ({ask})(token).then(answer => answer.status)", secret) == 200
    page.get_by_role("button", name="I have noted it").click()
    row = page.get_by_role("row").filter(has_text="grafana")
    expect(row).to_have_count(1)
    assert len(sent) == 1
    assert secret not in page.content()
    row.get_by_role("button", name="Revoke grafana").click()
    page.get_by_role("dialog", name="Revoke grafana?").get_by_role("button", name="Revoke").click()
    expect(row).to_have_count(0)
    assert page.evaluate(f"token => ({ask})(token).then(answer => answer.status)", secret) == 401


def test_what_a_cap_counted_is_corrected(visit: Visit, daemon: Pretended) -> None:
    visitor = visit()
    page = visitor.go("usage")
    page.get_by_role("button", name="Correct the count of lte-plan").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Used").fill("many")
    expect(dialog.get_by_label("Used")).to_have_attribute("aria-invalid", "true")
    expect(dialog.get_by_role("button", name="Correct")).to_be_disabled()
    assert visitor.axe() == []
    dialog.get_by_label("Used").fill("12.5 GB")
    dialog.get_by_role("button", name="Correct").click()
    expect(dialog).to_have_count(0)
    expect(page.get_by_label("Cap lte-plan").get_by_text(re.compile("^12[.][5-9] of 20"))).to_be_visible()
    assert daemon.get("/usage")["data_caps"][0]["used_bytes"] >= 12_500_000_000
    visitor.picture("usage-corrected")


def test_a_backup_comes_back_as_edits_that_are_applied_only_on_changes(visit: Visit, tmp_path: Path) -> None:
    visitor = visit()
    page = visitor.go("settings?part=backup")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the configuration").click()
    text = Path(download.value.path()).read_text()
    changed = tmp_path / "changed.yaml"
    changed.write_text(text.replace("shell-direct", "shell-restored"))
    page.get_by_label("File").set_input_files(changed)
    expect(page.get_by_text("changed.yaml is read.")).to_be_visible()
    page.get_by_role("main").get_by_role("link", name="Review and apply").click()
    expect(page.get_by_role("region", name="Your edits line by line")).to_contain_text("shell-restored")
    page.get_by_role("button", name="Discard all").click()
    expect(page.get_by_text("No edits to apply.")).to_be_visible()


def rename(visitor: Visitor, name: str, to: str) -> Page:
    page = visitor.go("policy")
    page.get_by_role("button", name=f"Edit {name}").click()
    page.get_by_role("dialog").get_by_label("Name", exact=True).fill(to)
    page.get_by_role("dialog").get_by_role("button", name="Keep the change").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    return page


def test_where_two_people_change_the_same_line_one_of_them_decides(visit: Visit, daemon: Pretended) -> None:
    first, second = visit(), visit()
    page = rename(first, "shell-direct", "shell-of-the-first")
    rename(second, "shell-direct", "shell-of-the-second")
    apply(second, "")
    expect(second.page.get_by_text(re.compile(r"Generation \d+ is in force"))).to_be_visible()
    first.go("changes")
    page.get_by_role("button", name="Put my edits on top of theirs").click()
    expect(page.get_by_role("alert").filter(has_text="the same lines")).to_be_visible()
    page.get_by_role("button", name="What did they change?").click()
    expect(page.get_by_role("dialog")).to_contain_text("shell-of-the-second")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Mine instead of theirs").click()
    expect(page.get_by_role("button", name="Apply")).to_be_enabled()
    apply(first, "")
    expect(page.get_by_text(re.compile(r"Generation \d+ is in force"))).to_be_visible()
    assert "shell-of-the-first" in [rule["name"] for rule in daemon.get("/rules")["rules"]]


def test_edits_outlive_a_lost_login(visit: Visit, daemon: Pretended) -> None:
    visitor = visit()
    page = add_rule(visitor, "kept-over-login", "*.kept.example")
    own = [each["id"] for each in daemon.get("/sessions")["sessions"]]
    for each in own:
        daemon.delete(f"/sessions/{each}")
    visitor.go("events")
    expect(page.get_by_text("what you had edited is kept")).to_be_visible()
    page.reload()
    visitor.log_in_here()
    visitor.go("changes")
    expect(page.get_by_role("region", name="Your edits line by line")).to_contain_text("kept-over-login")
    page.get_by_role("button", name="Discard all").click()
    expect(page.get_by_text("No edits to apply.")).to_be_visible()
