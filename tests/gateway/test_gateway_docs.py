"""docs/gateway.md keeps up with the code."""

import re
from pathlib import Path

from gateway.closing import ClosingReason

PAGE = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text()


def test_every_reason_that_ends_a_session_is_explained_with_its_log_in_reject() -> None:
    explained = re.findall(r"^\| `(\w+)` \| (?:`(\w)`)? ?\|", PAGE, re.MULTILINE)
    assert explained == [
        (reason.value, reason.login_reject.value if reason.login_reject else "")
        for reason in ClosingReason
    ]
