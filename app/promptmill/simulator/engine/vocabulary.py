"""The 256 words of every simulated answer.

Exactly 256, because a byte of a hash selects a word.
"""

from __future__ import annotations

from promptmill.simulator.protocol.gojson import quote

_LIST = """
acorn amber anchor apple apron arrow autumn badge bakery bamboo banjo barley basil basket beacon
berry birch biscuit blanket blossom boat bonnet bottle branch bread breeze brick bridge brook
broom bucket butter button cabin cactus candle canoe canyon caravan carpet carrot castle cedar
cellar chalk cherry chestnut chimney cider cinder circle citrus clay cliff clock cloud clover
cobalt cocoa comet compass copper coral cottage cotton cradle crane creek cricket crown crystal
cup curtain daisy dawn delta desert dew dolphin domino donkey dove dragon drum dune eagle earth
echo elm ember engine falcon farm feather fern ferry fiddle field fig finch fire flag flame
flint flute fog forest forge fountain fox frost garden garlic gate ginger glacier glass globe
glove goat gold goose granite grape grass gravel guitar hammer harbor harp harvest hazel heather
hedge heron hill honey horizon horn house ice indigo inlet iris iron island ivory ivy jacket
jade jar jasmine jungle juniper kayak kettle key kite ladder lagoon lake lamp lantern lark
laurel lava leaf lemon lentil library lily lime linen lion lotus lynx magnet mango maple marble
market marsh meadow melon mesa mill mint mirror mist moon moss mountain mule nectar needle nest
north nutmeg oak oasis oat ocean olive onion opal orbit orchard otter owl paddle palm paper
parsley path peach pear pebble pepper petal pine planet plum pocket pond poplar prairie puffin
quail quarry quartz quill quilt rabbit raft rain raven reed reef ribbon rice ridge river robin
rocket rope rose ruby saddle saffron sage sail salt sand seal shell silver
"""

WORDS: tuple[str, ...] = tuple(_LIST.split())

TOKENS: tuple[str, ...] = tuple(f" {word}" for word in WORDS)
"""The words as tokens of an answer: each with the space before it."""

QUOTED: dict[str, str] = {token: quote(token) for token in TOKENS}
"""The tokens as JSON strings, which saves a fast server the quoting."""
