"""Frameworks in Python: a worker process for each framework and number of threads, asked line by line."""

import json
import os
import selectors
import subprocess
from dataclasses import asdict

from contest.peers import WORKERS

# One heap that never shrinks, on huge pages, so that a large output does not cost a page fault for each of its pages in
# every call.
TUNED_ALLOCATOR = ":".join(
    f"glibc.malloc.{name}"
    for name in ("hugetlb=1", "mmap_max=0", "arena_max=1", "trim_threshold=68719476736", "top_pad=67108864")
)
PATIENCE = 600


class Workers:
    """The processes for one number of threads."""

    def __init__(self, peers, threads, pythons, script, cache, log):
        self.processes, self.versions = {}, {}
        for peer in peers:
            module = WORKERS[peer]
            if module not in self.processes:
                command = [pythons.get(peer, pythons[None]), script, "--worker", module, "--threads", str(threads)]
                self.processes[module] = Process(command, environment(threads, cache), log)
        for peer in peers:
            self.versions[peer] = self.processes[WORKERS[peer]].hello

    def of(self, peer):
        return Peer(peer, self.processes[WORKERS[peer]])

    def stop(self):
        for process in self.processes.values():
            process.stop()


def environment(threads, cache):
    return os.environ | {
        "GLIBC_TUNABLES": TUNED_ALLOCATOR,
        "OMP_NUM_THREADS": str(threads),
        # What is compiled for one number of threads is not for another.
        "TORCHINDUCTOR_CACHE_DIR": str(cache / f"inductor-{threads}"),
        # No helpers that stand by.
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
    }


class Peer:
    def __init__(self, name, process):
        self.name, self.process = name, process

    def prepare(self, row):
        return self.process.ask(do="prepare", peer=self.name, row=asdict(row))

    def time(self, row, seconds, first):
        return {self.name: self.process.ask(do="time", peer=self.name, row=asdict(row), seconds=seconds)}


class Process:
    def __init__(self, command, environment, log):
        self.running = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )
        self.hello = self.answer()

    def ask(self, **request):
        if "error" in self.hello:
            return {"error": self.hello["error"]}
        try:
            self.running.stdin.write(json.dumps(request) + "\n")
            self.running.stdin.flush()
        except OSError:
            return self.ended()
        return self.answer()

    def answer(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self.running.stdout, selectors.EVENT_READ)
            if not selector.select(PATIENCE):
                self.running.kill()
                return self.ended(f"no answer in {PATIENCE} s")
        line = self.running.stdout.readline()
        return json.loads(line) if line else self.ended()

    def ended(self, why=None):
        why = why or f"its process ended with code {self.running.wait()}"
        self.hello = {"error": why}
        return self.hello

    def stop(self):
        self.running.stdin.close()
        try:
            self.running.wait(10)
        except subprocess.TimeoutExpired:
            self.running.kill()
            self.running.wait()
        self.running.stdout.close()
