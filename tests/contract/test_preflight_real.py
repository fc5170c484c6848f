"""What this kernel offers by name, asked of the kernel itself."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from namespaces import Namespace
from routers import INTENT

from hagw.errors import UnsupportedEnvironment
from hagw.kernel import preflight

pytestmark = pytest.mark.netns


def test_a_scheduler_or_congestion_control_the_kernel_lacks_is_refused(namespace: Callable[[str], Namespace]) -> None:
    wanted = replace(INTENT, mptcp_scheduler="nosuch", congestion_control="nosuch")
    with namespace("cpe").entered():
        preflight.check(replace(wanted, mptcp_scheduler="default", congestion_control="cubic"))
        with pytest.raises(UnsupportedEnvironment, match="scheduler 'nosuch'; it offers default") as refused:
            preflight.check(wanted)
    assert "congestion control 'nosuch'; it offers" in str(refused.value)
