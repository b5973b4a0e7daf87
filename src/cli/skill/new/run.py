#!/usr/bin/env python3
"""The input is one JSON object on standard input, the answer one on standard output."""

import json
import sys

given = json.load(sys.stdin)
print(json.dumps({"words": len(given["text"].split())}))
