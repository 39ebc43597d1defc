"""Addresses at which no cluster can be: refused in one line, before Ray is asked."""

import re

import pytest

from study.cluster.connect import start_ray


@pytest.mark.parametrize("address", ["host:x", "host:65536", "host:-1", "host:6.5", "[::1]:x", "127.0.0.1:"])
def test_port_that_is_no_number_is_refused_by_name(address: str) -> None:
    port = address.rpartition(":")[2]
    with pytest.raises(ValueError, match=re.escape(f"the port must be a number below 65536, got {port!r}")) as refusal:
        start_ray(address, verbose=False)
    message = str(refusal.value)
    assert message.startswith(f"--address must be that of a running Ray cluster that can be reached, got {address!r}: ")
    assert message.endswith("; see `ray status` on its head, or start one there with: ray start --head")
    assert "\n" not in message
