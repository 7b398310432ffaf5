#!/usr/bin/env python3
"""dump_host.py < HOSTS.jsonl - what the kernel makes of host models.

For each line, a HOST.json, prints one line: {"routes": ..., "rules": ...} as
`ip -j route show table all` and `ip -j rule show` have them, or {"error": ...}
if the kernel or iproute2 refuses the model.
"""

import json
import os
import sys

import kernel_oracle as oracle


def dump(host):
    oracle.enter_new_namespace()
    oracle.build_host(host)
    ip = oracle.find_program("ip")
    return {"routes": json.loads(oracle.run_program(
                [ip, "-4", "-j", "-N", "route", "show", "table", "all"])),
            "rules": json.loads(oracle.run_program(
                [ip, "-4", "-j", "-N", "rule", "show"]))}


def main():
    for line in sys.stdin:
        host = json.loads(line)
        # A namespace ends with its process.
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read_end)
            try:
                answer = dump(host)
            except (oracle.OracleError, OSError, KeyError) as problem:
                answer = {"error": str(problem)}
            with os.fdopen(write_end, "w") as handle:
                json.dump(answer, handle)
            os._exit(0)
        os.close(write_end)
        with os.fdopen(read_end) as handle:
            print(handle.read())
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
