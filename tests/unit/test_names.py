"""Test modules are found by their bare names, so each needs one of its own."""

from collections import Counter

from tests.unit import docs


def test_no_two_test_modules_have_the_same_name() -> None:
    """pytest refuses to collect them together, which running one directory does not show."""
    names = Counter(
        path.name for path in (docs.ROOT / "tests").rglob("*.py") if path.name not in ("conftest.py", "__init__.py")
    )
    assert [name for name, count in names.items() if count > 1] == []
