"""A peer's script with one torch thread (they set two themselves): `cd PEERS && python REPO/tools/peers/one_thread.py SCRIPT.py ARGUMENTS`"""
import os
import runpy
import sys

sys.path.insert(0, os.getcwd())
import common_bench  # noqa: E402, F401
import torch  # noqa: E402

torch.set_num_threads(1)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
