"""The page of a HAG: its customers instead of lines."""

from playwright.sync_api import Browser, expect

from tests.web.windows import Visitor, served


def test_a_customer_is_added_limited_and_revoked(browser: Browser) -> None:
    with served(role="hag") as (site, daemon):
        visitor = Visitor(browser, site)
        visitor.enter()
        page = visitor.page
        rail = page.get_by_role("navigation", name="Pages")
        expect(rail.get_by_role("link", name="Customers")).to_be_visible()
        expect(rail.get_by_role("link", name="Uplinks")).to_have_count(0)
        visitor.picture("hag-overview")
        assert visitor.axe() == []
        visitor.go("customers")
        page.get_by_role("button", name="Add a customer").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Name").fill("not a name")
        dialog.get_by_role("button", name="Add").click()
        expect(dialog.get_by_label("Name")).to_have_attribute("aria-invalid", "true")
        dialog.get_by_label("Name").fill("miller")
        dialog.get_by_label("Rate towards it, bit/s").fill("50000000")
        dialog.get_by_role("button", name="Add").click()
        expect(page.get_by_role("dialog", name="Code of miller")).to_be_visible()
        visitor.picture("hag-code")
        assert visitor.axe() == []
        page.get_by_role("button", name="I have noted it").click()
        row = page.get_by_role("row").filter(has_text="miller")
        expect(row).to_contain_text("invited")
        expect(row).to_contain_text("50.0")
        visitor.picture("hag-customers")
        assert visitor.axe() == []
        row.get_by_role("button", name="Revoke miller").click()
        page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        expect(row).to_contain_text("revoked")
        assert [each["state"] for each in daemon.get("/customers")["customers"] if each["name"] == "miller"] == [
            "revoked"
        ]
        visitor.leave()
        assert visitor.complaints == []
