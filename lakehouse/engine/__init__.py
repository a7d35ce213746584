"""The engine: one JVM with a Thrift and a Spark Connect server, and what it needs.

process  starts, finds and stops it
java     the runtime, found or installed
jars     the locked jars, fetched and checked
cluster  what differs where the engine works on a cluster
lease    one driver at a time on a cluster's tables
local    the engine up and the declared tables there: sessions, and the right to build
"""

from __future__ import annotations

from lakehouse.engine.process import HOST, Engine, down, running_engine, up

__all__ = ["HOST", "Engine", "down", "running_engine", "up"]
