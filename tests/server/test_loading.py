"""INFO tells that a shard is being made while its worker is not there yet."""

import os
import signal
from pathlib import Path

from tests.node import HOST, Node
from tests.wire import OK, Wire, eventually, info


def test_a_shard_whose_worker_is_replaced_is_loading(tmp_path: Path) -> None:
    with Node(2, directory=tmp_path, ack="fast") as node:
        pids = node.all_pids()
        with Wire(HOST, node.worker_ports[0]) as c:
            assert c("MSET", *[part for number in range(20) for part in (f"k{number}", "v")]) == OK
            assert info(c, "persistence")["loading"] == "0"
            # The spare takes over, but not yet.
            os.kill(pids["spare"], signal.SIGSTOP)
            os.kill(pids["shard-1"], signal.SIGKILL)
            eventually(lambda: info(c, "persistence")["loading"] == "1")
            found = info(c, "persistence")
            assert {"loading_start_time", "loading_total_bytes", "loading_loaded_bytes"} <= found.keys()
            assert {"loading_loaded_perc", "loading_eta_seconds"} <= found.keys()
            os.kill(pids["spare"], signal.SIGCONT)
            eventually(lambda: info(c, "persistence")["loading"] == "0")
        with Wire(HOST, node.port) as c:
            assert c("DBSIZE") == 20
