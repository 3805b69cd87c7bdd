"""`python -m benchmarks`: the speed table of this machine; with `--gpu`, the script that a lent GPU runs."""

import sys

if __name__ == "__main__":
    if "--gpu" in sys.argv:  # which needs torch, numpy and the package only
        from benchmarks.gpu import main
    else:
        from benchmarks.lines import main
    sys.exit(main())
