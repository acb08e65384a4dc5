"""Ours, answering: one actor. The request is acknowledged when the broker has confirmed the answer."""

import time

from bench.contract import ANSWERED, ASK_FILTER, Answer, Question, answer_topic
from tars.actors import Actor, Context, subscribe


class Answers(Actor):
    """Says when it was asked."""

    @subscribe(ASK_FILTER)
    async def answer(self, event: Question, ctx: Context) -> None:
        """The author's code."""
        answer = Answer(event.seq, time.monotonic_ns())
        await ctx.publish(ANSWERED, answer, topic=answer_topic(event.client), correlation_id=ctx.correlation_id)
