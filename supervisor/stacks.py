"""Where does a trio task hang? Its stack, and those of the tasks below it, as text."""

from __future__ import annotations

import traceback

import trio


def stack_of(task: trio.lowlevel.Task, *, depth: int = 0) -> str:
    """The await chain of `task`, innermost last, then its child tasks, indented. Uses trio's public API only."""
    indent = "  " * depth
    frames = traceback.StackSummary.extract((frame, lineno) for frame, lineno in task.iter_await_frames())
    lines = [f"{indent}task {task.name}"]
    lines += [indent + line for entry in frames.format() for line in entry.rstrip().splitlines()]
    for nursery in task.child_nurseries:
        lines += [stack_of(child, depth=depth + 1) for child in nursery.child_tasks]
    return "\n".join(lines)
