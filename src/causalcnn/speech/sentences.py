"""Sentences to synthesize: plain English, made from own word lists, so that no text is anybody else's."""

from __future__ import annotations

import numpy as np

READ_SENTENCES = (
    "The train leaves at seven, and we are still looking for the keys.",
    "She put the old lamp on the table and opened every window.",
    "Nobody in the village knew why the bells rang that morning.",
    "A small boat crossed the river while the fog was lifting.",
    "He asked for three eggs, some butter and a very sharp knife.",
    "We could hear the children laugh long before we saw the house.",
    "Please call me back when the letter from your sister has arrived.",
    "The teacher drew a thin line and said that this was now.",
    "Thirty years ago there was a cinema at the end of this street.",
    "My father keeps his tools in a box that he built himself.",
    "If the weather stays dry, they will cut the grass on Thursday.",
    "The dog sleeps beside the stove and dreams of rabbits.",
    "Take the second road on the left and drive towards the church.",
    "Her voice was so quiet that I had to stop the clock.",
    "The judge smiled, closed the thick book and went to lunch.",
    "Fresh snow had covered the measures we took the day before.",
)
"""A few fixed sentences for chapters that always want the same one."""

BACK_CHANNELS = ("Yeah.", "Right.", "Okay.", "Oh, really?", "I see.", "Sure.", "That is true.", "Of course.")
"""What a listener says without taking the turn."""

_PEOPLE = (
    "my brother", "her mother", "the doctor", "a young woman", "the old man", "our neighbour", "the driver",
    "his cousin", "the baker", "the captain", "a stranger", "the nurse", "your teacher", "the farmer", "my uncle",
    "the painter", "a tall boy", "the girl next door", "the lawyer", "the whole family", "the singer", "a friend",
    "the engineer", "their daughter", "the cook", "the guard", "a tired soldier", "the judge", "the postman",
)  # fmt: skip
_THINGS = (
    "the yellow jacket", "a heavy suitcase", "the broken chair", "a cup of tea", "the green bicycle", "an old map",
    "the wooden spoon", "a box of matches", "the red umbrella", "a bunch of flowers", "the kitchen knife",
    "a thick blanket", "the newspaper", "a piece of cheese", "the garden hose", "a pair of shoes", "the silver ring",
    "an empty bottle", "the guitar", "a dozen oranges", "the radio", "a large mirror", "the birthday cake",
    "a leather glove", "the telephone", "an apple pie", "the measuring tape", "a bowl of soup", "the treasure",
    "a loaf of bread", "the fishing net", "a roll of paper", "the top shelf", "a bag of sugar", "the church key",
)  # fmt: skip
_PLACES = (
    "in the garden", "behind the station", "at the harbour", "near the bridge", "under the stairs", "on the roof",
    "beside the fire", "in a small hotel", "at the corner shop", "across the valley", "by the front door",
    "in the library", "outside the museum", "on the beach", "between two houses", "over the hill", "at school",
    "in the cellar", "along the canal", "above the bakery", "in the middle of the road", "on the ferry",
)  # fmt: skip
_TIMES = (
    "yesterday", "last winter", "on Monday", "this morning", "after dinner", "before sunrise", "every Friday",
    "two weeks ago", "at midnight", "in the evening", "during the storm", "once a month", "right after the show",
    "in early March", "on the first of June", "around noon", "for the third time", "all afternoon",
)  # fmt: skip
_DID_THING = (
    "found", "carried", "dropped", "washed", "painted", "borrowed", "bought", "sold", "fixed", "lost", "forgot",
    "brought back", "picked up", "threw away", "measured", "covered", "chose", "wrapped", "hid", "shook", "kept",
    "looked for", "asked about", "paid for", "pointed at",
)  # fmt: skip
_DID = (
    "laughed", "waited", "slept", "stood", "worked", "danced", "shouted", "whispered", "played chess", "sat down",
    "listened", "argued about money", "read aloud", "breathed slowly", "sang a short song", "joined the others",
    "walked home", "tried again", "stayed for an hour", "spoke French",
)  # fmt: skip
_QUALITIES = (
    "cold", "beautiful", "far too loud", "cheap", "rather strange", "nearly finished", "full of water", "thirsty",
    "quite useful", "as light as a feather", "hard to explain", "smooth", "worth a visit", "dangerous", "huge",
    "easy to miss", "bright blue", "pure gold", "just around the corner", "sour", "warm enough", "gone",
)  # fmt: skip
_SUBJECTS = (
    "the water", "the soup", "this road", "the music", "her answer", "the picture", "our plan", "the view",
    "that story", "the air", "his new job", "the bridge", "the price", "the wind", "the question", "the moon",
    "their house", "the bus", "the weather", "the wheel", "the voice on the phone", "the last chapter",
)  # fmt: skip
_OPENERS = ("I think that", "They say that", "We know that", "You told me that", "It turned out that", "Perhaps")
_WISHES = (
    "could you bring me", "have you ever seen", "would you like to sell", "do you remember", "who took",
    "where did they put", "why does she want", "shall we share",
)  # fmt: skip
_LINKS = (" because", " while", ", although", ", and", ", but", " until", ", so")


def random_sentence(draw: np.random.Generator) -> str:
    """Draw a sentence from templates and word lists; the same state of the generator gives the same sentence.

    Args:
        draw: the generator of random numbers; its state moves on.

    Returns:
        An English sentence with its capital and its full stop or question mark.

    Example:
        >>> import numpy as np
        >>> from causalcnn.speech import random_sentence
        >>> random_sentence(np.random.default_rng(0)) == random_sentence(np.random.default_rng(0))
        True
    """
    kind = draw.integers(8)
    if kind == 0:
        text = f"{_act(draw)}{_pick(draw, _LINKS)} {_state(draw)}"
    elif kind == 1:
        text = f"{_pick(draw, _TIMES)}, {_act(draw)}"
    elif kind == 2:
        text = f"{_pick(draw, _OPENERS)} {_state(draw)}"
    elif kind == 3:
        return _written(f"{_pick(draw, _WISHES)} {_pick(draw, _THINGS)} {_pick(draw, _PLACES)}", "?")
    elif kind == 4:
        text = f"{_pick(draw, _PEOPLE)} {_pick(draw, _DID)} {_pick(draw, _PLACES)} {_pick(draw, _TIMES)}"
    elif kind == 5:
        first, second = _two(draw, _THINGS)
        text = f"{_pick(draw, _PEOPLE)} {_pick(draw, _DID_THING)} {first} and {second}"
    elif kind == 6:
        text = f"{_state(draw)}{_pick(draw, _LINKS)} {_act(draw)}"
    else:
        text = f"{_pick(draw, _OPENERS)} {_act(draw)} {_pick(draw, _PLACES)}"
    return _written(text, ".")


def vocabulary() -> set[str]:
    """List every word that :func:`random_sentence` can use, in lower case."""
    lists = (
        *(_PEOPLE, _THINGS, _PLACES, _TIMES, _DID_THING, _DID, _QUALITIES, _SUBJECTS, _OPENERS, _WISHES, _LINKS),
        ("was is", "and"),
    )
    return {word.strip(",") for words in lists for phrase in words for word in phrase.lower().split()} - {""}


def _act(draw: np.random.Generator) -> str:
    who = _pick(draw, _PEOPLE)
    if draw.random() < 0.3:
        return f"{who} {_pick(draw, _DID)}"
    return f"{who} {_pick(draw, _DID_THING)} {_pick(draw, _THINGS)}"


def _state(draw: np.random.Generator) -> str:
    return f"{_pick(draw, _SUBJECTS)} {_pick(draw, ('was', 'is'))} {_pick(draw, _QUALITIES)}"


def _pick(draw: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(draw.integers(len(choices)))]


def _two(draw: np.random.Generator, choices: tuple[str, ...]) -> tuple[str, str]:
    first, second = draw.choice(len(choices), 2, replace=False)
    return choices[int(first)], choices[int(second)]


def _written(text: str, end: str) -> str:
    return text[0].upper() + text[1:] + end
