"""What it says of a head that its error goes along with what builds chose to run in int8."""

from collections.abc import Sequence
from dataclasses import replace

from trt_matrix.core.answer import Answer
from trt_matrix.core.answers.network import network_answer
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.layers.choices import Choice
from trt_matrix.core.verdicts.verdict import TESTED, Kind
from trt_matrix.core.words import count, listed, span

MOST_CHANCE = 0.05
"""That some innocent layer goes along with the error as well: from here on it is told, and not blamed."""
MOST_LAYERS = 3
"""More that were chosen together name no culprit."""
LEAST_HELD = 2
"""Builds in which the matrix held the layers, from which on the choice is tested."""


def with_choices(judgement: Judgement, choices: Sequence[Choice]) -> Judgement:
    """Returns the judgement with what the builds' choices say of each head.

    They are blamed where a gate does not hold, and either they were tested or no test has named a cause of
    cells that fail; else they are told.
    """
    custom = frozenset(layer.node for layer in judgement.custom)
    answers = {answer.head: answer for answer in judgement.answers}
    sentences = dict(judgement.sentences)
    for choice in choices:
        head, seen = choice.head, sentence(choice)
        if blamed(answers[head], choice):
            answers[head] = _answer(answers[head], choice, custom)
            told = (seen, sentences.get(head, ""))
        else:
            answers[head] = replace(answers[head], text=f"{answers[head].text} {seen}")
            told = (sentences.get(head, ""), seen)
        sentences[head] = " ".join(filter(None, told))
    told_of_all = tuple(answers.values())
    return replace(
        judgement,
        choices=tuple(choices),
        answers=told_of_all,
        sentences=sentences,
        network=network_answer(judgement.cells, told_of_all, judgement.network_sentence)
        if judgement.network
        else None,
    )


def blamed(answer: Answer, choice: Choice) -> bool:
    """Whether a choice that a head's error goes along with is what it is blamed on."""
    named = any(finding.kind in TESTED and finding.fails for finding in answer.findings)
    return (
        answer.passed is False
        and (tested(choice) or (not named and choice.chance <= MOST_CHANCE))
        and len(choice.layers) <= MOST_LAYERS
    )


def tested(choice: Choice) -> bool:
    """Whether the matrix made the choice itself often enough, in place of the builder."""
    return len(choice.held_db) >= LEAST_HELD


def sentence(choice: Choice) -> str:
    """Returns what was seen."""
    layers = listed(choice.layers, MOST_LAYERS)
    worse, better = len(choice.worse_db), len(choice.better_db)
    where = "one table" if choice.tables == 1 else f"one table, each of {choice.tables},"
    it = "it" if len(choice.layers) == 1 else "them"
    held = len(choice.held_db)
    told = f"; in {held} of them the matrix held {it} there" if held else ""
    return (
        f"Builds with {where} differ by what they chose to run in int8: with {layers} in int8 "
        f"({count(worse, 'build')}) {choice.head} keeps {span(choice.worse_db)} dB, with {it} in floating "
        f"point ({count(better, 'build')}) {span(choice.better_db)} dB{told}."
    )


def _answer(answer: Answer, choice: Choice, custom: frozenset[str]) -> Answer:
    layers = listed(choice.layers, MOST_LAYERS)
    layer = "a custom layer's" if custom.intersection(choice.layers) else "a layer's"
    held = len(choice.held_db)
    text = f"{sentence(choice)} {answer.text}"
    if tested(choice):
        first = next(iter(answer.findings), None)
        if first and first.kind is Kind.INCONCLUSIVE:
            # What the builds of one cell cannot decide, builds with the layer held did.
            text = sentence(choice)
        advice = f"Keep {layers} out of int8"
        sure = f"tested: held in floating point, {count(held, 'build')} of {held} recovered"
    else:
        advice = f"Keep {layers} out of int8, then build again"
        sure = f"so in all {choice.builds} builds that can tell; by chance up to 1 time in {round(1 / choice.chance)}"
    return replace(
        answer,
        fault=f"{layer}: {layers} in int8",
        text=text,
        advice=f"{advice}: fp32_layers in the options of its environment, or Q/DQ nodes.",
        confidence=sure,
    )
