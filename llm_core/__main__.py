"""`python -m llm_core`: train, sample and look at models from the command line."""

import sys

from llm_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
