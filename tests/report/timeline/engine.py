"""An engine with continuous batching, step by step, as one plain function.

It reads and writes sequences by index only, so it runs on lists (for a few runs) and,
compiled by numba, on arrays (for thousands of runs).

Prompts are prefilled in chunks under a token budget; each running request makes one
token a step. The KV cache grows by a token for each running request. If it is full, the
newest request loses its cache and computes it again later, as in vLLM.
"""

from typing import Any, NamedTuple

TOKENS = 128
SLICE_S = 0.1
"""Width of the entries of the tables of what goes wrong."""


class Engine(NamedTuple):
    """What a replica is."""

    base: float
    per_prompt_token: float
    per_sequence: float
    budget: int
    kv_tokens: float
    max_seqs: int
    asynchronous: bool
    """Whether the host's time between steps is part of a step's recorded duration."""


def advance(
    engine: Engine,
    times: Any,
    lengths: Any,
    noise: Any,
    factor: Any,
    gap: Any,
    room: Any,
    ring: Any,
    ending: Any,
    need: Any,
    left_after: Any,
    end_step: Any,
    running_now: Any,
    redo: Any,
    stack: Any,
    first: Any,
    completed: Any,
    out: Any,
) -> int:
    """Serve all requests; return the number of steps.

    Args:
        engine: the replica.
        times, lengths: arrival in s and prompt tokens of each request, in order.
        noise: factors on steps, repeated.
        factor, gap, room: by time in units of `SLICE_S`: factor on the time of a step,
            seconds of idle GPU after it, share of the KV cache that is there.
        ring: TOKENS rows of room for `max_seqs` requests that end at a step.
        ending: requests in each row of `ring`.
        need, left_after, end_step, running_now: one entry for each request: tokens to
            prefill, tokens after that, last step, whether it runs.
        redo, stack: room for requests that were preempted, and that were started.
        first, completed: written: seconds of first token and completion.
        out: nine columns, written: start, time on the GPU, recorded duration, prefill
            tokens, decode sequences, running, waiting, KV tokens in use, preempted.
    """
    now, step, running, came, head, kv = 0.0, 0, 0, 0, 0, 0.0
    again, started, current, left, last = 0, 0, -1, 0, len(times)
    slices, chosen = len(factor), 0
    while came < last or running or head < came or again:
        while came < last and times[came] <= now:
            came += 1
        if not running and head >= came and not again:
            now = times[came]
            continue
        place = min(int(now / SLICE_S), slices - 1)
        capacity = room[place] * engine.kv_tokens
        preempted = 0
        while kv + running > capacity and running > 1:
            started -= 1
            one = stack[started]
            if not running_now[one]:
                continue
            row = end_step[one] % TOKENS
            for i in range(ending[row]):
                if ring[row][i] == one:
                    ring[row][i] = ring[row][ending[row] - 1]
            ending[row] -= 1
            remaining = end_step[one] - step + 1
            kv -= lengths[one] + TOKENS - remaining
            need[one] = lengths[one] + TOKENS - remaining
            left_after[one] = remaining - 1
            running_now[one] = 0
            running -= 1
            redo[again] = one
            again += 1
            preempted += 1
        decode, prefill, begun = running, 0, started
        while prefill < engine.budget - decode:
            if current < 0:
                if running + started - begun >= engine.max_seqs:
                    break
                if again:
                    chosen = redo[again - 1]
                elif head < came:
                    chosen = head
                else:
                    break
                if kv + need[chosen] + running > capacity and running > 0:
                    break
                if again:
                    again -= 1
                else:
                    head += 1
                current, left = chosen, need[chosen]
                kv += left
            part = min(left, engine.budget - decode - prefill)
            prefill, left = prefill + part, left - part
            if left:
                break
            stack[started] = current
            started += 1
            current = -1
        took = factor[place] * noise[step % len(noise)]
        took *= (
            engine.base
            + engine.per_prompt_token * prefill
            + engine.per_sequence * running
        )
        row = out[step]
        row[0], row[1], row[2] = now, took, took
        if engine.asynchronous:
            row[2] = took + gap[place]
        row[3], row[4] = prefill, decode
        row[5] = running + started - begun + (1 if current >= 0 else 0)
        row[6] = came - head + again
        row[7], row[8] = kv, preempted
        now += took
        kv += running
        slot = step % TOKENS
        for i in range(ending[slot]):
            one = ring[slot][i]
            completed[one] = now
            kv -= lengths[one] + TOKENS - 1
            running_now[one] = 0
        running -= ending[slot]
        ending[slot] = 0
        for i in range(begun, started):
            one = stack[i]
            if need[one] == lengths[one]:
                first[one] = now
            if left_after[one] <= 0:
                completed[one] = now
                kv -= lengths[one] + TOKENS - 1
                continue
            end_step[one] = step + left_after[one]
            slot = end_step[one] % TOKENS
            ring[slot][ending[slot]] = one
            ending[slot] += 1
            running_now[one] = 1
            running += 1
        # Forget what has ended, so that the stack stays short.
        while started and not running_now[stack[started - 1]]:
            started -= 1
        now += gap[place]
        step += 1
    return step
