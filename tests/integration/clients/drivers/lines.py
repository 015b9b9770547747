"""How a driver is asked: a line of JSON in, a line of JSON out, one after the other."""

import json
import sys


def serve(functions):
    """Answer until there is no more to read."""
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = {"value": functions[asked["do"]](*asked["with"])}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
