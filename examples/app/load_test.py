"""Ask a running service as many clients would, and say how long answers take.

Each client asks, waits for the answer, and asks again. Memory is that of the service's process.

Example: python load_test.py http://127.0.0.1:8000 --clients 1 --clients 8 --json load.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import time
from pathlib import Path
from typing import Any

import httpx

WORDS = "the profit of IBM rose while rain fell in Oslo and Anna Brown won against New York".split()


def text(rng: random.Random) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(8, 30)))


async def memory(client: httpx.AsyncClient) -> float:
    """RETURNS (float): MiB that the service holds."""
    found = re.search(
        r"^process_resident_memory_bytes (\S+)", (await client.get("/metrics")).text, re.MULTILINE
    )
    return round(float(found[1]) / 2**20, 1) if found else 0.0


async def measure(url: str, n_clients: int, seconds: float) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): Requests per second, milliseconds, failures, memory in MiB."""
    taken: list[float] = []
    failed = 0
    limits = httpx.Limits(max_connections=n_clients + 1)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        before = await memory(client)
        end = time.perf_counter() + seconds

        async def ask(seed: int) -> None:
            nonlocal failed
            rng = random.Random(seed)
            while time.perf_counter() < end:
                started = time.perf_counter()
                answer = await client.post("/annotate", json={"texts": [text(rng)]})
                taken.append(time.perf_counter() - started)
                failed += answer.status_code != 200

        started = time.perf_counter()
        await asyncio.gather(*(ask(seed) for seed in range(n_clients)))
        passed = time.perf_counter() - started
        after = await memory(client)
    taken.sort()
    return {
        "clients": n_clients,
        "requests": len(taken),
        "failed": failed,
        "requests_per_second": round(len(taken) / passed, 1),
        "p50_ms": round(1000 * taken[len(taken) // 2], 1),
        "p95_ms": round(1000 * taken[int(0.95 * (len(taken) - 1))], 1),
        "mib_before": before,
        "mib_after": after,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("url")
    parser.add_argument("--clients", type=int, action="append")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    results = []
    for n_clients in given.clients or [1, 8, 64]:
        results.append(asyncio.run(measure(given.url, n_clients, given.seconds)))
        print(results[-1])
    if given.json:
        given.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
