"""The run: on each row the peers take turns, round by round, and each row is written down when it is done."""

import json
import statistics
import sys
import time
from dataclasses import asdict, fields

from contest.peers import PROGRAMS, ROOF, SLOW
from contest.peers.workers import Workers
from contest.rows import Row

# For threads that still spin after their last work.
PAUSE = 0.01


class Run:
    def __init__(self, options, programs, results):
        self.options, self.programs, self.results = options, programs, results
        self.workers, self.threads = None, None
        self.versions = {}

    def rows(self, rows):
        started = time.monotonic()
        try:
            for number, row in enumerate(rows):
                if row.threads != self.threads:
                    self.change_threads(row.threads)
                minutes = (time.monotonic() - started) / 60
                tell(f"[{number + 1}/{len(rows)}, {minutes:.1f} min] {row}")
                for answer in self.row(row):
                    self.results.write(json.dumps(answer) + "\n")
                self.results.flush()
        finally:
            self.stop()

    def change_threads(self, threads):
        self.stop()
        options = self.options
        names = [peer for peer in options.peers if peer not in PROGRAMS]
        self.workers = Workers(names, threads, options.pythons, options.script, options.cache, options.log)
        self.threads = threads
        self.versions |= self.workers.versions

    def stop(self):
        if self.workers:
            self.workers.stop()
        self.workers = None

    def row(self, row):
        """A line of results for each peer, and for the roof."""
        errors, details, medians, lowest = {}, {}, {}, {}
        ready = []
        for name in self.options.peers:
            peer = self.programs.get(name) or self.workers.of(name)
            if isinstance(peer, str):
                errors[name] = peer
                continue
            answer = peer.prepare(row)
            if "error" in answer:
                errors[name] = answer["error"]
            else:
                ready.append(peer)
                details[name] = {key: value for key, value in answer.items() if value is not None}
        for turn in range(self.options.rounds):
            shift = turn % max(1, len(ready))
            for peer in ready[shift:] + ready[:shift]:
                if peer.name in errors or (peer.name in SLOW and turn >= self.options.slow_rounds):
                    continue
                time.sleep(PAUSE)
                for name, answer in peer.time(row, self.options.seconds, turn == 0).items():
                    if "error" in answer:
                        errors[name] = answer["error"]
                        continue
                    medians.setdefault(name, []).append(answer.pop("median_us"))
                    lowest.setdefault(name, []).append(answer.pop("min_us", None))
                    details.setdefault(name, {}).update(answer)
        for name in dict.fromkeys([*self.options.peers, ROOF]):
            line = asdict(row) | {"peer": name}
            if name in errors:
                yield line | {"error": errors[name]}
            elif name in medians:
                found = {"median_us": statistics.median(medians[name]), "min_us": least(medians[name], lowest[name])}
                yield line | found | {"rounds_us": medians[name]} | details[name]


def least(medians, lowest):
    return min(value for value in [*medians, *lowest] if value is not None)


def tell(text):
    print(text, file=sys.stderr, flush=True)


def done(path):
    """The rows that an earlier run has finished."""
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    return {tuple(line[field.name] for field in fields(Row)) for line in lines}
