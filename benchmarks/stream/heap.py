"""The largest heap of the cluster's TaskManagers while a job runs, as Flink's REST interface tells it."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from runners.flink.rest import FlinkRest

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_USED, _MOST = "Status.JVM.Memory.Heap.Used", "Status.JVM.Memory.Heap.Max"


class HeapMeter:
    """Looks at the heaps of all TaskManagers. Values hold garbage too, so the largest lies near the limit on any busy JVM.

    used_mib: the largest that was seen. left_mib: the largest that was seen just after a collection, so an upper bound of what is
    held. max_mib: the limit of one heap.
    """

    def __init__(self, rest: FlinkRest) -> None:
        self._url = rest.url
        self.used_mib = self.max_mib = self.left_mib = 0
        self._before: dict[str, int] = {}

    def look(self) -> None:
        """Ask once; a cluster that is too busy to answer is asked the next time."""
        try:
            for entry in self._get("/taskmanagers")["taskmanagers"]:
                values = {m["id"]: int(m["value"]) for m in self._get(f"/taskmanagers/{entry['id']}/metrics?get={_USED},{_MOST}")}
                self._note(entry["id"], values[_USED] >> 20, values[_MOST] >> 20)
        except (OSError, KeyError):
            return

    def _note(self, taskmanager: str, used_mib: int, max_mib: int) -> None:
        before = self._before.get(taskmanager)
        if before is not None and used_mib < before:  # a collection lies between the two looks
            self.left_mib = max(self.left_mib, used_mib)
        self._before[taskmanager] = used_mib
        self.used_mib, self.max_mib = max(self.used_mib, used_mib), max(self.max_mib, max_mib)

    def _get(self, path: str) -> Any:
        with _OPENER.open(self._url + path, timeout=5) as answer:
            return json.load(answer)
