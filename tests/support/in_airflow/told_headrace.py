"""Stands for headrace: answers as a test says, and notes what it was asked. told_headrace.py VERSION words …

ANSWERS: a file, JSON: first words of a command to exit code and document. ASKED: a file that gets a line for each call.
"""

import json
import os
import sys
from pathlib import Path

version, words = sys.argv[1], sys.argv[2:]
own = words[words.index("json") + 1 :] if "--log-format" in words else words
with Path(os.environ["ASKED"]).open("a") as file:
    file.write(" ".join([version, *own]) + "\n")
answers = json.loads(Path(os.environ["ANSWERS"]).read_text())
key = next((key for key in sorted(answers, key=len, reverse=True) if " ".join(own).startswith(key)), None)
code, document = answers[key] if key else (0, {})
if own[0] == "ingest":
    print('{"level": "INFO", "run_id": "r2", "message": "begins"}', file=sys.stderr, flush=True)
print(json.dumps(document))
if code:
    print("headrace: why it did not work", file=sys.stderr)
sys.exit(code)
