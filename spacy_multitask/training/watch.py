"""What a rank learns of the end of the others, whatever it is doing at the time.

A rank that waits for others would wait for ever if one of them is gone, or, with NCCL, for many
minutes. So each has an open connection to rank 0, on which it waits in a thread: for news, or for
the connection to break, which is what happens when a process is killed.

       rank 1 ---.
       rank 2 ---+--- rank 0      a rank that fails says so; rank 0 passes it on
       rank 3 ---'
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

import torch
import torch.distributed as dist

# What the main thread has to end in an orderly way, once it is known that a rank has failed.
GRACE_SECONDS = 10.0
# The longest that news and the error of a connection may be apart.
NEWS_SECONDS = 3.0
MESSAGE_BYTES = 2000
ALL_IS_WELL = ""


class RankFailed(RuntimeError):
    """Another rank has failed, so that this one can't go on."""


class Watch:
    """Waits for news of other ranks, and ends this process if one of them has failed.

    group (ProcessGroup): All ranks, with gloo; used for nothing else.
    """

    def __init__(self, rank: int, size: int, group: Any):
        self.rank, self.group = rank, group
        self.peers = [0] if rank else list(range(1, size))
        self.news: str | None = None
        self._has_news = threading.Event()
        self._lock = threading.Lock()
        self._threads = [self._start(self._listen, peer) for peer in self.peers]

    def news_of(self, error: Exception) -> str:
        """RETURNS (str): Why an exchange with other ranks went wrong."""
        self._has_news.wait(NEWS_SECONDS)
        return self.news or f"The ranks can't exchange what they have: {error}"

    def tell(self, text: str) -> None:
        """Tell the others how this rank has ended: ALL_IS_WELL, or why not."""
        self._send(text, self.peers)
        if text == ALL_IS_WELL:
            for thread in self._threads:
                thread.join()

    def _listen(self, peer: int) -> None:
        buffer = torch.zeros(MESSAGE_BYTES, dtype=torch.uint8)
        try:
            dist.recv(buffer, peer, self.group)
            text = bytes(buffer.tolist()).rstrip(b"\0").decode("utf8", "replace")
        except RuntimeError:
            text = f"Rank {peer} is gone: it was killed, or its machine or the network is down."
        if text != ALL_IS_WELL:
            self._end(text, peer)

    def _end(self, text: str, source: int) -> None:
        with self._lock:
            if self.news is not None:
                return
            self.news = text
        self._has_news.set()
        self._send(text, [peer for peer in self.peers if peer != source])
        time.sleep(GRACE_SECONDS)
        # Still here: the main thread waits for something, or is at work that takes long.
        sys.stderr.write(f"Error: {text}\n")
        sys.stderr.flush()
        os._exit(1)

    def _send(self, text: str, peers: list[int]) -> None:
        data = text.encode("utf8")[:MESSAGE_BYTES]
        message = torch.tensor([*data, *bytes(MESSAGE_BYTES - len(data))], dtype=torch.uint8)
        # In threads, since one that listens no longer would be waited for.
        threads = [self._start(self._send_one, message, peer) for peer in peers]
        for thread in threads:
            thread.join(None if text == ALL_IS_WELL else NEWS_SECONDS)

    def _send_one(self, message: torch.Tensor, peer: int) -> None:
        try:
            dist.send(message, peer, self.group)
        except RuntimeError:
            pass  # it is gone

    def _start(self, function: Any, *args: Any) -> threading.Thread:
        thread = threading.Thread(target=function, args=args, daemon=True)
        thread.start()
        return thread
