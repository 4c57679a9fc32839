"""tmp"""

import sys
from hookd.store.config import config_path, load


def main():
    if sys.argv[1] == "serve":
        from hookd.serve import serve

        serve(load(config_path()))
