"""Builds the program that times oneDNN, where its headers and library are found."""

import os
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "onednn.cpp"


def build(root, folder):
    """The program, or why there is none. `root` holds include/ and lib/."""
    roots = [Path(root)] if root else [Path(sys.prefix), Path("/usr/local"), Path("/usr")]
    for place in roots:
        if not (place / "include" / "dnnl.hpp").is_file():
            continue
        libraries = [place / name for name in ("lib", "lib64") if list((place / name).glob("libdnnl.so*"))]
        program = folder / "onednn"
        folder.mkdir(parents=True, exist_ok=True)
        searched = [word for library in libraries for word in (f"-L{library}", f"-Wl,-rpath,{library.resolve()}")]
        command = [
            *(os.environ.get("CXX", "g++"), "-std=c++17", "-O2", f"-I{place / 'include'}", str(SOURCE)),
            *("-o", str(program), *searched, "-ldnnl"),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except OSError as problem:
            return None, f"no C++ compiler: {problem}"
        if done.returncode != 0:
            return None, next((line for line in done.stderr.splitlines() if "error" in line), "does not compile")
        return program, None
    return None, "not installed"
