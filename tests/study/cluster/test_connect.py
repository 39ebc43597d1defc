"""Addresses at which no cluster can be: refused in one line, before Ray is asked."""

import re
import socket

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


@pytest.mark.e2e
def test_process_that_is_connected_keeps_to_its_ray() -> None:
    import ray

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        connected = ray.get_runtime_context().gcs_address
        start_ray(None, verbose=False)
        start_ray(connected, verbose=False)
        assert ray.get_runtime_context().gcs_address == connected
        with pytest.raises(ValueError, match="the port must be a number below 65536, got 'x'"):
            start_ray("host:x", verbose=False)
        with socket.create_server(("0.0.0.0", 0)) as other:
            address = f"127.0.0.1:{other.getsockname()[1]}"
            message = (
                f"--address must be that of the Ray which this process is connected to ({connected}), got {address!r}"
            )
            with pytest.raises(ValueError, match=re.escape(message)):
                start_ray(address, verbose=False)
        assert ray.get_runtime_context().gcs_address == connected
    finally:
        ray.shutdown()
