"""A process that times one framework on one number of threads: a request a line in, an answer a line out.

A process of its own for each of them: threads, allocator settings and crashes stay apart.
"""

import argparse
import importlib
import json
import os
import resource
import statistics
import sys
from time import perf_counter

from contest.problem import Problem
from contest.rows import Row

WARM_UP = 0.25
MOST_FAULTY = 5


def main(words):
    parser = argparse.ArgumentParser()
    parser.add_argument("module")
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args(words)
    # Whatever a framework prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        framework = importlib.import_module(f"contest.peers.{options.module}").Framework(options.threads)
        hello = {"version": framework.version()}
    except Exception as problem:
        missing = isinstance(problem, ModuleNotFoundError)
        hello = {"error": "not installed" if missing else first_line(problem)}
    answers.write(json.dumps(hello) + "\n")
    if "error" in hello:
        return
    bench = Bench(framework)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(bench, request.pop("do"))(**request)
        except Exception as problem:
            answer = {"error": first_line(problem)}
        answers.write(json.dumps(answer) + "\n")


class Bench:
    def __init__(self, framework):
        self.framework = framework
        self.place, self.problem, self.calls = None, None, {}

    def prepare(self, peer, row):
        """Makes a row's operation ready (compiled, outputs allocated) and sees that it is right."""
        row = Row(**row)
        place = (row.dims, row.layout)
        if self.place != place:
            # The old one's memory first.
            self.problem, self.calls = None, {}
            self.place, self.problem = place, Problem(*place)
        self.calls.pop((peer, row), None)
        call = self.framework.prepare(peer, self.problem, row)
        self.problem.check(row.op, call.answer(), row.dtype)
        self.calls[peer, row] = call
        return {"variant": call.variant}

    def time(self, peer, row, seconds):
        times, faults = repeat(self.calls[peer, Row(**row)].run, seconds)
        answer = {"median_us": statistics.median(times), "min_us": min(times), "calls": len(times)}
        return answer | ({"page_faults_per_call": round(faults, 1)} if faults else {})


class Call:
    """A row's operation, ready to be called; `answer` gives y or dx as an array ordered like x."""

    def __init__(self, run, answer, variant=None):
        self.run, self.answer, self.variant = run, answer, variant


def fastest(calls, seconds=0.1):
    """Of several ways to call the same operation; they take turns."""
    if len(calls) == 1:
        return calls[0]
    times = {call: [] for call in calls}
    for _ in range(3):
        for call in calls:
            times[call].append(statistics.median(repeat(call.run, seconds / 3)[0]))
    return min(calls, key=lambda call: statistics.median(times[call]))


def repeat(call, seconds):
    """Microseconds of each call until the time is up, at least of one, and the page faults of a call among them.

    The first calls never count, and neither do those in which new memory came from the system, unless all are so.
    """
    start = perf_counter()
    call()
    while perf_counter() - start < WARM_UP * seconds:
        call()
    times, faulty, faults = [], [], 0
    while True:
        faults_before = page_faults()
        before = perf_counter()
        call()
        after = perf_counter()
        new = page_faults() - faults_before
        (faulty if new else times).append(1e6 * (after - before))
        faults += new
        if after - start >= seconds and (times or len(faulty) >= MOST_FAULTY):
            return (times, 0) if times else (faulty, faults / len(faulty))


def page_faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def first_line(problem):
    lines = str(problem).strip().splitlines() or [type(problem).__name__]
    return lines[0][:200]
