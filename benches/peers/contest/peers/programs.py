"""Programs that print a JSON line for each operation: ours, the peers in Rust, and oneDNN's."""

import json
import os
import subprocess

from contest.peers import OURS, ROOF
from contest.peers.workers import TUNED_ALLOCATOR

PATIENCE = 600
NAMES = {"batchnorm": OURS}


class Program:
    """A peer for which a program is run once a round and row; it warms up by itself."""

    def __init__(self, name, command, tuned, checks, verb=()):
        self.name, self.command, self.tuned, self.checks = name, [*command, *verb], tuned, checks

    def prepare(self, row):
        return {}

    def time(self, row, seconds, first):
        """The answers by peer: ours measures the roof in the same process."""
        command = [
            *self.command,
            *("--shape", row.shape, "--op", row.op, "--dtype", row.dtype),
            *("--layout", row.layout.replace("_", "-"), "--threads", str(row.threads)),
            *("--seconds", str(seconds), "--no-reference", "--json"),
            # Wrong answers show in the first round.
            *(["--check"] if self.checks and first else []),
        ]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, env=self.environment(row.threads), timeout=PATIENCE
            )
        except (OSError, subprocess.TimeoutExpired) as problem:
            return {self.name: {"error": str(problem)}}
        answers = {}
        for line in done.stdout.splitlines():
            if line.startswith("{"):
                answer = json.loads(line)
                if answer.get("op", row.op) == row.op:
                    answers[NAMES.get(answer["peer"], answer["peer"])] = kept(answer)
        if done.returncode != 0 or self.name not in answers:
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}, and no figure"]
            answers[self.name] = {"error": said[0][:200]}
        return {name: answer for name, answer in answers.items() if name in (self.name, ROOF)}

    def environment(self, threads):
        count = {"OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)}
        return os.environ | count | ({"GLIBC_TUNABLES": TUNED_ALLOCATOR} if self.tuned else {})


def kept(answer):
    """Without what the row says already."""
    named = ("peer", "op", "dtype", "layout", "shape", "threads")
    return {key: value for key, value in answer.items() if key not in named}


def version(command):
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=PATIENCE)
    except OSError as problem:
        return {"error": str(problem)}
    said = done.stdout.strip()
    return {"version": said.split(" ", 1)[-1]} if done.returncode == 0 and said else {"error": "no --version"}
