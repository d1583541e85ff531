"""The file that the launcher of a Flex Template starts (FLEX_TEMPLATE_PYTHON_PY_FILE)."""

import sys

from cli.launch import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
