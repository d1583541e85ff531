"""Stands for headrace: ends as its words say. exit CODE; sleep FILE (pids go there), with ``deaf`` nobody hears SIGTERM; argv.
quality status says what is in HELD.
"""

import json
import os
import signal
import subprocess
import sys
import time

words = sys.argv[1:] if "--log-format" not in sys.argv else sys.argv[sys.argv.index("json") + 1 :]
if words[0] == "exit":
    code = int(words[1])
    print('{"level": "INFO", "run_id": "run-1", "message": "landed"}', file=sys.stderr)
    reasons = ["too many were rejected"] if code == 1 else []
    print(json.dumps({"run_id": "run-1", "verdict": {"exit_code": code, "reasons": reasons}, "ledger": {"web": {"records_in": 3}}}))
    if code not in (0, 1):
        print("headrace: why it did not work", file=sys.stderr)
    sys.exit(code) if code >= 0 else os.kill(os.getpid(), -code)
if words[0] == "sleep":
    if "deaf" in words:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print('{"level": "INFO", "run_id": "run-1", "message": "landed"}', file=sys.stderr, flush=True)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    with open(words[1], "w") as file:
        file.write(f"{os.getpid()} {child.pid}\n")
    time.sleep(300)
if words[:3] == ["quality", "status", "unknown"]:
    print("headrace: unknown: has no gate in this lake", file=sys.stderr)
    sys.exit(2)
if words[:2] == ["quality", "status"]:
    print("a banner" if words[2] == "mute" else os.environ["HELD"])
if words[:2] == ["replay", "gate"]:
    held = [{"from": "a", "to": "b", "rules": ["r"], "severity": "quarantine", "rows": 3}] if words[2] == "partly" else []
    verdict = {"name": words[2], "held": held, "needs": ["the gate would hold 1 partition (r)"] if held else []}
    print("a banner" if words[2] == "mute" else json.dumps(verdict))
    sys.exit(2 if words[2] == "wrong" else bool(held))
if words[0] == "argv":
    print(json.dumps({"name": " ".join(words)}))
if words[:2] == ["job", "cancel"]:
    with open(os.environ["CANCELLED"], "a") as file:
        file.write(" ".join(words) + "\n")
