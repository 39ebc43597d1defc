"""The search for the latest checksum of study.yaml, from the end of a ledger in blocks."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.ledger import completeness
from study.ledger.completeness import config_digests

DIGESTS = [character * 64 for character in "abc"]
LINES = st.one_of(
    st.sampled_from(DIGESTS).map(lambda digest: f'{{"study_yaml": "{digest}"}}\n'),
    st.text("xyz", max_size=200).map(lambda text: f"{text}\n"),
)


@given(st.lists(LINES, max_size=8), st.integers(0, 90), st.integers(1, 300))
def test_digests_are_those_of_the_last_complete_line_that_has_any(lines: list[str], torn: int, block: int) -> None:
    content = "".join(lines)
    content = content[: len(content) - torn]
    whole = content[: content.rfind("\n") + 1].splitlines()
    expected = next((line for line in reversed(whole) if "study_yaml" in line), "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(completeness, "_BLOCK", block)
        digests = config_digests(io.BytesIO(content.encode()))
    assert digests == {digest for digest in DIGESTS if digest in expected}
