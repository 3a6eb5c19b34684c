"""Processes for what may crash or hang: a request a line in, an answer a line out. One that died or was late is started
again."""

import json
import os
import selectors
import signal
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import onnx

from folding import judge, peers

PROGRAM = Path(__file__).resolve().parents[1] / "fold.py"


class Worker:
    """The other side's process. `role` is a peer's name, or `judge`."""

    def __init__(self, role, timeout, command=()):
        self.role, self.timeout, self.command = role, timeout, list(command)
        self.process = None

    def ask(self, **request):
        """The answer; `crash` says how the process ended instead."""
        if self.process is None:
            words = [sys.executable, str(PROGRAM), "--worker", self.role, *self.command]
            self.process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
            )
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        # An answer is one line, written at once.
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            in_time = selector.select(self.timeout)
        line = self.process.stdout.readline() if in_time else b""
        if line:
            return json.loads(line)
        self.stop()
        if not in_time:
            return {"crash": f"no answer in {self.timeout} s"}
        code = self.code
        return {"crash": f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"}

    def stop(self):
        if self.process is None:
            return
        self.process.stdin.close()
        try:
            self.code = self.process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            # The process and what it started, which have a session of their own.
            os.killpg(self.process.pid, signal.SIGKILL)
            self.code = self.process.wait()
        self.process.stdout.close()
        self.process = None


def main(words):
    role, *command = words
    # Whatever a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    if role == "judge":
        do = compare
    else:
        tool = peers.ours(command) if role == peers.OURS else peers.TOOLS[role][0]
        do = lambda path, out: fold(tool, path, out)
    for line in sys.stdin:
        answers.write(json.dumps(do(**json.loads(line))) + "\n")


def fold(tool, path, out):
    started = perf_counter()
    try:
        tool(path, out)
    except peers.NotTaken as problem:
        return {"not_taken": judge.short(problem)}
    except Exception as problem:
        # The innermost says what was wrong; those around it only where.
        while problem.__cause__:
            problem = problem.__cause__
        return {"error": f"{type(problem).__name__}: {judge.short(problem)}"}
    return {"seconds": perf_counter() - started}


def compare(before, after, oracle):
    try:
        return {"worst": judge.compare(onnx.load(before), onnx.load(after), oracle)}
    except judge.Wrong as problem:
        return {"wrong": str(problem)}
