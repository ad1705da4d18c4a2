"""Says what a board is, without measuring anything on it: runs there as `worker.py` does."""

import sys

from tinsmith_bench.machine import Monitor
from tinsmith_bench.remote.agent import say, words

if __name__ == "__main__":
    say("machine", int(sys.argv[1]), hardware=words(Monitor().describe({}).hardware))
