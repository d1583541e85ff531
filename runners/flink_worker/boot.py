"""The boot script of Python workers, at the place that launchers of development versions name."""

import sys

from runners.flink.worker.boot import main

if __name__ == "__main__":
    main(sys.argv[1:])
