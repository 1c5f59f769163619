"""`python -m admm_verify` is the command `admm-verify`."""

import sys

from admm_verify.start import main

if __name__ == "__main__":
    sys.exit(main())
